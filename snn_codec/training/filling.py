"""Training of the decoder that fills in the spectrum (`snn_codec.models.filling`), at any level of a codec.

    loss = stft STFT distance + mel mel distance / 10 dB - si_snr SI-SNR / 10 dB

The floor (`snn_codec.floor`) is measured on whole crops, of a chunk's length at best, and some steps of them are filled
in. What is random in a step depends on the seed, the step and the device's rank alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from snn_codec import decoders, floor
from snn_codec.metrics import batch_mel_distance, batch_si_snr, batch_stft_distance
from snn_codec.models.mdct import octaves_of
from snn_codec.training.frozen import VALIDATION_COLUMNS, DecoderPhase
from snn_codec.training.phase import Row

DRAW = 11  # what a step's random numbers are for


class FillingPhase(DecoderPhase):
    """A network that gives bands their gains."""

    columns = ("loss", "stft", "mel", "si_snr", "gradient", "learning_rate", *VALIDATION_COLUMNS)

    def build_network(self) -> nn.Module:
        return decoders.build(self.settings, self.source).to(self.setup.fabric.device)

    def train_step(self, step: int, batch: Tensor, *, logged: bool) -> Row:
        learning_rate = self.optimisation.set_learning_rates(step)
        random = self.setup.random(step, DRAW, self.setup.fabric.global_rank)
        inputs, batch = self._inputs(step, batch, random)
        filled = self.optimisation.model(*inputs)
        stft = batch_stft_distance(filled, batch)
        mel = batch_mel_distance(filled, batch, self.source.settings.sample_rate)
        snr = batch_si_snr(filled, batch).mean()
        loss = self.settings.stft * stft + self.settings.mel * mel / 10 - self.settings.si_snr * snr / 10
        self.setup.fabric.backward(loss)
        norm = self.optimisation.step(step)
        if not logged:
            return {}
        return {
            "loss": loss.item(),
            "stft": stft.item(),
            "mel": mel.item(),
            "si_snr": snr.item(),
            "gradient": norm.item(),
            "learning_rate": learning_rate,
        }

    @torch.no_grad()
    def _inputs(
        self, step: int, batch: Tensor, random: np.random.Generator
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """What the network sees of some steps of a batch, at random levels, and their audio."""
        codec, level = self.source, self.setup.level_prompts(step, batch)
        hop, margin = codec.settings.hop, codec.settings.margin_steps
        total = batch.shape[-1] // hop
        batch = batch[..., : total * hop]
        read = codec.bottleneck.quantise(codec.analyse(batch, level))
        floors = self._floors(batch - codec.decoder.read_out(read, level))
        floors[random.random(len(batch)) < self.settings.without] = torch.nan
        count = min(self.settings.steps, total)
        start = int(random.integers(total - count + 1))
        before = min(margin, start)
        sound = codec.synthesise(read[:, start - before : start + count + margin], level)
        read = read[:, start : start + count]
        noise = torch.from_numpy(random.standard_normal((len(batch), count, hop), "float32"))
        inputs = (
            sound[:, before * hop : (before + count) * hop],
            read,
            octaves_of(codec.settings.decoder, level, read)[..., 0],
            noise.to(batch.device),
            floors[:, None].expand(-1, count, -1),
        )
        return inputs, batch[:, start * hop : (start + count) * hop]

    def _floors(self, residual: Tensor) -> Tensor:
        """Codes of the floor of what is left out, `[batch, band]`."""
        half, rate = self.source.settings.hop // 2, self.source.settings.sample_rate
        each = residual.cpu().numpy()
        codes = np.stack([floor.measure(one, self.settings.floor_bands, rate, edge=half) for one in each])
        return torch.from_numpy(codes).float().to(residual.device)

    def note(self, row: Row) -> str:
        return f"STFT {row['stft']:.3f}, mel {row['mel']:.2f} dB"
