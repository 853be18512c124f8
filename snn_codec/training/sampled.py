"""Training of decoders that sample: the paper's diffusion decoder (v-objective) and the flow-matching one.

    loss = mean |v' - v|^2 + spectral mean (certainty of t)^2 stft_distance(audio that v' aims at, recording)

Times are uniform, spread evenly over a batch; noise, times and dropped conditions depend on the seed, the step and the
device's rank alone.

Departs: the paper's loss is the first term.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from snn_codec import decoders
from snn_codec.metrics import batch_stft_distance
from snn_codec.training.frozen import VALIDATION_COLUMNS, DecoderPhase
from snn_codec.training.phase import Row

DRAW = 10  # what a step's random numbers are for
CALIBRATION = 16  # crops


class SampledPhase(DecoderPhase):
    """A decoder that turns noise and features into audio by following a velocity."""

    columns = ("loss", "velocity", "spectral", "gradient", "learning_rate", *VALIDATION_COLUMNS)

    def build_network(self) -> nn.Module:
        device = self.setup.fabric.device
        network = decoders.build(self.settings, self.source).to(device)
        if self.settings.kind == "flow":
            crops = torch.stack([self._whole_steps(self.setup.crops[i]) for i in range(CALIBRATION)])
            crops = crops.to(device)
            network.calibrate(self._plain(0, crops, self.features(0, crops)), crops)
        return network

    def train_step(self, step: int, batch: Tensor, *, logged: bool) -> Row:
        learning_rate = self.optimisation.set_learning_rates(step)
        batch = self._whole_steps(batch)
        features = self.features(step, batch)
        noise, time, kept = self._drawn(step, batch)
        plain = self._plain(step, batch, features) if self.settings.kind == "flow" else batch
        velocity, audio = self.optimisation.model(features, plain, batch, noise, time, kept)
        loss, terms = velocity, {"velocity": velocity}
        if self.settings.spectral:
            certainty = time if self.settings.kind == "flow" else 1 - time
            distances = [batch_stft_distance(x[None], y[None]) for x, y in zip(audio, batch, strict=True)]
            terms["spectral"] = (certainty.square() * torch.stack(distances)).mean()
            loss = loss + self.settings.spectral * terms["spectral"]
        self.setup.fabric.backward(loss)
        norm = self.optimisation.step(step)
        if not logged:
            return {}
        return {name: value.item() for name, value in terms.items()} | {
            "loss": loss.item(),
            "gradient": norm.item(),
            "learning_rate": learning_rate,
        }

    def note(self, row: Row) -> str:
        return f"v {row['velocity']:.3f}"

    def _drawn(self, step: int, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Noise, times `[batch]`, and which conditions are kept `[batch]`, of a step."""
        random = self.setup.random(step, DRAW, self.setup.fabric.global_rank)
        size, steps = len(batch), batch.shape[-1] // self.source.settings.hop
        noise = random.standard_normal((size, steps, self.network.noise_size), np.float32)
        time = (random.permutation(size) + random.random(size)).astype(np.float32) / size
        kept = random.random(size) >= self.settings.dropped
        return tuple(torch.from_numpy(x).to(batch.device) for x in (noise, time, kept))

    @torch.no_grad()
    def _plain(self, step: int, batch: Tensor, features: Tensor) -> Tensor:
        """The plain decoder's audio of the features of a step."""
        return self.source.decoder(features, **self.decoder_level(step, batch)).float()

    def _whole_steps(self, audio: Tensor) -> Tensor:
        """Audio cut to whole steps, as decoders give it."""
        hop = self.source.settings.hop
        return audio[..., : max(1, audio.shape[-1] // hop) * hop]
