"""GAN training: a second phase for the decoder, against multi-scale STFT discriminators (EnCodec, section 3.4).

A step first trains the discriminators, then the decoder: the balanced gradient of all losses at its output is sent
back through it. The discriminators are trained in a step

- if it is before `start`, when the decoder does not yet listen to them, or with `probability`, drawn by seed and step;
- and only if they are not too good already: their loss on this batch is at least `enough` (2 is chance).

Departs: EnCodec trains everything from the start; here encoder and bottleneck are frozen (unless `frozen` is off), so
that the plain and the GAN-trained decoder take the same events. EnCodec has no SI-SNR in its loss. Its rule is the
probability alone, 2/3 for its 24 kHz model.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from snn_codec.codec import Codec
from snn_codec.models.discriminators import Discriminators
from snn_codec.training.adversarial import (
    Balancer,
    discriminator_loss,
    feature_loss,
    generator_loss,
    reconstruction_terms,
)
from snn_codec.training.phases import PhaseTrainer
from snn_codec.training.trainer import average, freeze_norms, optimizers

DRAW = 9  # what a step's random numbers are for


class GanTrainer(PhaseTrainer):
    columns = (
        "step", "seconds", "si_snr", "stft", "mel", "waveform", "adversarial", "features", "residual", "discriminator",
        "discriminator_trained", "gradient", "learning_rate", "validation_si_snr", "validation_mel", "plain_si_snr",
        "plain_mel",
    )  # fmt: skip

    def _build_networks(self) -> None:
        fabric, phase = self.fabric, self.phase
        self.network = (
            copy.deepcopy(self.source.decoder if phase.frozen else self.source).train().requires_grad_()
        )
        self.ema = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.discriminators = Discriminators(phase.discriminators)
        self.balancer = Balancer(phase.shares, phase.balance_decay).to(fabric.device)
        chosen = optimizers(self.network, self.training)
        self.rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in chosen]
        self.model, *self.optimizers = fabric.setup(self.network, *chosen)
        if self.training.frozen_norms and not phase.frozen:
            freeze_norms(self.network)
        adam = torch.optim.AdamW(
            self.discriminators.parameters(), phase.learning_rate, phase.betas, weight_decay=0.0, foreach=True
        )
        self.judge, self.teacher = fabric.setup(self.discriminators, adam)

    def _modules(self) -> dict[str, nn.Module]:
        return {
            "model": self.network,
            "ema": self.ema,
            "discriminators": self.discriminators,
            "balancer": self.balancer,
        }

    def _all_optimizers(self) -> list[torch.optim.Optimizer]:
        return [*self.optimizers, self.teacher]

    def _decoding_codec(self) -> Codec:
        return super()._decoding_codec() if self.phase.frozen else self.ema

    def _train_step(self, batch: Tensor) -> dict[str, float]:
        factor = self._set_rates()
        for group in self.teacher.param_groups:
            group["lr"] = self.phase.learning_rate * factor
        audio, residual = self._decoded(batch)
        judged, trained = self._teach(batch, audio.detach().float())
        leaf = audio.detach().float().requires_grad_()
        losses = reconstruction_terms(leaf, batch, self.settings.model.sample_rate)
        if self.step >= self.phase.start:
            with torch.no_grad():
                real = self.discriminators(batch)
            fake = self.discriminators(leaf)
            losses["adversarial"] = generator_loss(fake, self.phase.loss)
            losses["features"] = feature_loss(real, fake)
        gradient = self.balancer(losses, leaf, self._mean)
        self.fabric.backward((audio * gradient.to(audio)).sum() + self.training.loss.residual * residual)
        norm = self._step(self.network)
        average(self.ema, self.network, min(self.training.ema, (1 + self.step) / (10 + self.step)))
        if not self._logs(self.step + 1):
            return {}
        terms = {name: value.item() for name, value in losses.items()}
        return terms | {
            "si_snr": -terms["si_snr"],
            "residual": float(residual.detach()),
            "discriminator": float(judged),
            "discriminator_trained": int(trained),
            "gradient": norm.item(),
            "learning_rate": self.training.learning_rate * factor,
        }

    def _decoded(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's audio `[batch, samples]` and the bottleneck's residual, if that is trained."""
        if self.phase.frozen:
            return self.model(self._features(batch))[:, : batch.shape[-1]], batch.new_zeros(())
        output = self.model(batch, self._levels(batch))
        return output.audio, output.residual

    def _teach(self, real: Tensor, fake: Tensor) -> tuple[Tensor, bool]:
        """Train the discriminators by the rule above: their loss (NaN if none was computed), and if they were."""
        phase = self.phase
        if self.step >= phase.start and self._random(DRAW).random() >= phase.probability:
            return real.new_tensor(float("nan")), False
        both = self.judge(torch.cat([real, fake]))
        halves = [
            [scale._replace(logits=scale.logits[part].float()) for scale in both]
            for part in (slice(len(real)), slice(len(real), None))
        ]
        loss = discriminator_loss(*halves, phase.loss)
        known = self._mean(loss.detach())
        if known < phase.enough or not torch.isfinite(known):
            return known, False
        self.fabric.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.discriminators.parameters(), 10.0)
        if torch.isfinite(norm):
            self.teacher.step()
        self.teacher.zero_grad(set_to_none=True)
        return known, True

    def _mean(self, value: Tensor) -> Tensor:
        """Over all devices."""
        return self.fabric.all_reduce(value, reduce_op="mean") if self.fabric.world_size > 1 else value

    def _note(self, row: dict[str, float]) -> str:
        return f"mel {row['mel']:.2f} dB, SI-SNR {row['si_snr']:.2f} dB, D {row['discriminator']:.2f}"
