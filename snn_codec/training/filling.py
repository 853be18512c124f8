"""Training of the decoder that fills in the spectrum (`snn_codec.models.filling`), on any level of a codec.

    loss = stft STFT distance + mel mel distance / 10 dB - si_snr SI-SNR / 10 dB

The noise of a step depends on the seed, the step and the device's rank alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snn_codec import decoders
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
        hop = self.source.settings.hop
        batch = batch[..., : batch.shape[-1] // hop * hop]
        plain, read, octaves = self._plain(step, batch)
        random = self.setup.random(step, DRAW, self.setup.fabric.global_rank)
        noise = random.standard_normal((len(batch), batch.shape[-1] // hop, hop), "float32")
        filled = self.optimisation.model(plain, read, octaves, torch.from_numpy(noise).to(batch.device))
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
    def _plain(self, step: int, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The plain decoder's sound of a batch at random levels, what it was read out of, and the quantiser's step."""
        codec, level = self.source, self.setup.level_prompts(step, batch)
        features = codec.analyse(batch, level)
        read = codec.bottleneck.quantise(features)
        return codec.synthesise(read, level), read, octaves_of(codec.settings.decoder, level, read)[..., 0]

    def note(self, row: Row) -> str:
        return f"STFT {row['stft']:.3f}, mel {row['mel']:.2f} dB"
