"""Training of decoders that sample: the paper's diffusion decoder (v-objective) and the flow-matching one.

    loss = mean |v' - v|^2 + spectral mean (certainty of t)^2 stft_distance(audio that v' aims at, recording)

Times are uniform, spread evenly over a batch; noise, times and dropped conditions depend on the seed, the step and the
device's rank alone.

Departs: the paper's loss is the first term.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from snn_codec import decoders
from snn_codec.training.losses import stft_distance
from snn_codec.training.phases import PhaseTrainer
from snn_codec.training.trainer import average, optimizers

DRAW = 10  # what a step's random numbers are for
CALIBRATION = 16  # crops


class DiffusionTrainer(PhaseTrainer):
    columns = (
        "step", "seconds", "loss", "velocity", "spectral", "gradient", "learning_rate", "validation_si_snr",
        "validation_mel", "plain_si_snr", "plain_mel",
    )  # fmt: skip

    def _build_networks(self) -> None:
        fabric = self.fabric
        self.network = decoders.build(self.phase, self.source).to(fabric.device)
        if self.phase.kind == "flow":
            crops = torch.stack([self._whole_steps(self.crops[i]) for i in range(CALIBRATION)]).to(
                fabric.device
            )
            self.network.calibrate(self._plain(self._features(crops)), crops)
        self.ema = copy.deepcopy(self.network).eval().requires_grad_(False)
        chosen = optimizers(self.network, self.training)
        self.rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in chosen]
        self.model, *self.optimizers = fabric.setup(self.network, *chosen)

    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.network, "ema": self.ema}

    def _train_step(self, batch: Tensor) -> dict[str, float]:
        factor = self._set_rates()
        batch = self._whole_steps(batch)
        features = self._features(batch)
        noise, time, kept = self._drawn(batch)
        plain = self._plain(features) if self.phase.kind == "flow" else batch
        velocity, aimed = self.model(features, plain, batch, noise, time, kept)
        loss, terms = velocity, {"velocity": velocity}
        if self.phase.spectral:
            certainty = time if self.phase.kind == "flow" else 1 - time
            distances = [stft_distance(x[None], y[None]) for x, y in zip(aimed, batch, strict=True)]
            terms["spectral"] = (certainty.square() * torch.stack(distances)).mean()
            loss = loss + self.phase.spectral * terms["spectral"]
        self.fabric.backward(loss)
        norm = self._step(self.network)
        average(self.ema, self.network, min(self.training.ema, (1 + self.step) / (10 + self.step)))
        if not self._logs(self.step + 1):
            return {}
        return {name: value.item() for name, value in terms.items()} | {
            "loss": loss.item(),
            "gradient": norm.item(),
            "learning_rate": self.training.learning_rate * factor,
        }

    def _drawn(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Noise, times `[batch]`, and which conditions are kept `[batch]`, of this step."""
        random = np.random.default_rng([self.training.seed, DRAW, self.step, self.fabric.global_rank])
        size, steps = len(batch), batch.shape[-1] // self.settings.model.hop
        noise = random.standard_normal((size, steps, self.network.noise_size), np.float32)
        time = (random.permutation(size) + random.random(size)).astype(np.float32) / size
        kept = random.random(size) >= self.phase.dropped
        return tuple(torch.from_numpy(x).to(batch.device) for x in (noise, time, kept))

    @torch.no_grad()
    def _plain(self, features: Tensor) -> Tensor:
        """The plain decoder's audio."""
        return self.source.decoder(features).float()

    def _whole_steps(self, audio: Tensor) -> Tensor:
        """Audio cut to whole steps, as decoders give it."""
        hop = self.settings.model.hop
        return audio[..., : max(1, audio.shape[-1] // hop) * hop]

    def _note(self, row: dict[str, float]) -> str:
        return f"v {row['velocity']:.3f}"
