"""GAN training: a second phase for the decoder, against multi-scale STFT discriminators (EnCodec, section 3.4).

A step first trains the discriminators, then the decoder: the balanced gradient of all losses at its output is sent
back through it. The discriminators are trained in a step

- if it is before `start`, until which the decoder takes no gradient from them, or with `probability`, drawn by seed
  and step;
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
from snn_codec.training.frozen import VALIDATION_COLUMNS, DecoderPhase
from snn_codec.training.optim import clip_and_step, freeze_norms, schedule
from snn_codec.training.phase import Row, Setup

DRAW = 9  # what a step's random numbers are for
DISCRIMINATOR_CLIP = 10.0


class GanPhase(DecoderPhase):
    """The decoder, or the whole codec, against discriminators."""

    columns = (
        "si_snr", "stft", "mel", "waveform", "adversarial", "features", "residual", "discriminator",
        "discriminator_trained", "gradient", "learning_rate", *VALIDATION_COLUMNS,
    )  # fmt: skip

    def __init__(self, setup: Setup):
        super().__init__(setup)
        phase = self.settings
        if self.training.frozen_norms and not phase.frozen:
            freeze_norms(self.network)
        self.balancer = Balancer(phase.shares, phase.balance_decay).to(setup.fabric.device)
        self.discriminators = Discriminators(phase.discriminators)
        optimiser = torch.optim.AdamW(
            self.discriminators.parameters(), phase.learning_rate, phase.betas, weight_decay=0.0, foreach=True
        )
        self.discriminator_model, self.discriminator_optimiser = setup.fabric.setup(
            self.discriminators, optimiser
        )

    def build_network(self) -> nn.Module:
        part = self.source.decoder if self.settings.frozen else self.source
        return copy.deepcopy(part).train().requires_grad_()

    def modules(self) -> dict[str, nn.Module]:
        return super().modules() | {"discriminators": self.discriminators, "balancer": self.balancer}

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [*super().optimisers(), self.discriminator_optimiser]

    def trained_codec(self) -> Codec:
        return super().trained_codec() if self.settings.frozen else self.optimisation.ema

    def train_step(self, step: int, batch: Tensor, *, logged: bool) -> Row:
        learning_rate = self.optimisation.set_learning_rates(step)
        audio, residual = self._decoded(step, batch)
        discriminator, trained = self._train_discriminators(step, batch, audio.detach().float())
        leaf = audio.detach().float().requires_grad_()
        losses = reconstruction_terms(leaf, batch, self.source.settings.sample_rate)
        if step >= self.settings.start:
            with torch.no_grad():
                real = self.discriminators(batch)
            fake = self.discriminators(leaf)
            losses["adversarial"] = generator_loss(fake, self.settings.loss)
            losses["features"] = feature_loss(real, fake)
        gradient = self.balancer(losses, leaf, self.setup.everywhere)
        self.setup.fabric.backward(
            (audio * gradient.to(audio)).sum() + self.training.loss.residual * residual
        )
        norm = self.optimisation.step(step)
        if not logged:
            return {}
        terms = {name: value.item() for name, value in losses.items()}
        return terms | {
            "si_snr": -terms["si_snr"],
            "residual": float(residual.detach()),
            "discriminator": float(discriminator),
            "discriminator_trained": int(trained),
            "gradient": norm.item(),
            "learning_rate": learning_rate,
        }

    def _decoded(self, step: int, batch: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's audio `[batch, samples]`, and the bottleneck's residual if that is trained."""
        model = self.optimisation.model
        if self.settings.frozen:
            audio = model(self.features(step, batch), **self.decoder_level(step, batch))
            return audio[:, : batch.shape[-1]], batch.new_zeros(())
        output = model(batch, self.setup.level_prompts(step, batch))
        return output.audio, output.residual

    def _train_discriminators(self, step: int, real: Tensor, fake: Tensor) -> tuple[Tensor, bool]:
        """Train them by the rule above: their loss (NaN if none was computed), and whether they were trained."""
        phase = self.settings
        if step >= phase.start and self.setup.random(step, DRAW).random() >= phase.probability:
            return real.new_tensor(float("nan")), False
        both = self.discriminator_model(torch.cat([real, fake]))
        true, false = [
            [scale._replace(logits=scale.logits[part].float()) for scale in both]
            for part in (slice(len(real)), slice(len(real), None))
        ]
        loss = discriminator_loss(true, false, phase.loss)
        mean = self.setup.everywhere(loss.detach())
        if mean < phase.enough or not torch.isfinite(mean):
            return mean, False
        self.discriminator_optimiser.param_groups[0]["lr"] = phase.learning_rate * schedule(
            step, self.training
        )
        self.setup.fabric.backward(loss)
        clip_and_step(
            self.setup.fabric, self.discriminators, [self.discriminator_optimiser], DISCRIMINATOR_CLIP
        )
        return mean, True

    def note(self, row: Row) -> str:
        return f"mel {row['mel']:.2f} dB, SI-SNR {row['si_snr']:.2f} dB, D {row['discriminator']:.2f}"
