"""Training of a codec of kind `mdct` with its thresholds as they are: the read-out and the decoder's refinement.

The transform is orthogonal, so the error of the coefficients is that of the sound, and no inverse transform is
needed. The loss is the mean over crops, each at a level of its own, of the error in dB relative to the crop: the
negative SI-SNR, but for the gain that SI-SNR allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.metrics import si_snr
from snn_codec.models.mdct import MdctDecoder, octaves_of
from snn_codec.models.thermometer import Thermometer
from snn_codec.training.optim import Optimisation
from snn_codec.training.phase import Phase, Row, Setup, Validation, mean_of_numbers, spread_levels
from snn_codec.training.plain import copy_weights

TINY = 1e-6  # of a crop's energy: what is silent has no error in dB


class CoefficientsPhase(Phase):
    """Training of read-out and refinement; the best checkpoint has the highest SI-SNR over all levels."""

    columns = ("loss", "read_out", "gradient", "learning_rate", "validation_si_snr")

    def __init__(self, setup: Setup):
        self.setup = setup
        codec = Codec(setup.settings.model)
        if not isinstance(codec.decoder, MdctDecoder) or not isinstance(codec.bottleneck, Thermometer):
            raise UserError(
                "phase.kind=coefficients is for models with a decoder of kind mdct and a bottleneck of kind "
                "thermometer; use the preset cpu-wide"
            )
        if setup.init_from and not setup.resumed:
            copy_weights(Codec.load(setup.init_from), codec, setup.init_from)
        for fixed in (codec.bottleneck.thresholds, codec.bottleneck.log_scale):
            fixed.requires_grad_(False)  # else several devices would wait for their gradients
        self.optimisation = Optimisation(
            _Coefficients(codec), setup.settings.training, setup.fabric, setup.report
        )

    def train_step(self, step: int, batch: Tensor, *, logged: bool) -> Row:
        learning_rate = self.optimisation.set_learning_rates(step)
        wanted, read, found = self.optimisation.model(batch, self.setup.level_prompts(step, batch))
        loss = error_db(found, wanted)
        self.setup.fabric.backward(loss)
        norm = self.optimisation.step(step)
        if not logged:
            return {}
        return {
            "loss": loss.item(),
            "read_out": error_db(read.detach(), wanted).item(),
            "gradient": norm.item(),
            "learning_rate": learning_rate,
        }

    def validate(self, step: int, clips: Sequence[np.ndarray]) -> Validation:
        codec = self.optimisation.ema.codec
        grid = codec.settings
        levels = spread_levels(grid.levels, len(clips))
        score = mean_of_numbers(
            [
                si_snr(codec.decode(codec.encode(clip, grid.sample_rate, level=level)), clip)
                for clip, level in zip(clips, levels, strict=True)
            ]
        )
        return Validation({"validation_si_snr": score}, score, f"SI-SNR {score:.2f} dB, over all levels")

    def save_best(self, folder: Path) -> None:
        self.optimisation.ema.codec.save(folder, force=True)

    def note(self, row: Row) -> str:
        return f"error {row['loss']:.2f} dB, without refinement {row['read_out']:.2f} dB"


class _Coefficients(nn.Module):
    """A codec from audio to coefficients: those of the audio, those read out, and those refined."""

    def __init__(self, codec: Codec):
        super().__init__()
        self.codec = codec

    def forward(self, audio: Tensor, level: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        decoder: Any = self.codec.settings.decoder
        features = self.codec.analyse(audio, level)
        read = self.codec.bottleneck.quantise(features)
        step = torch.exp2(octaves_of(decoder, level, features))
        return features * step, read * step, self.codec.decoder.coefficients(read, level)


def error_db(found: Tensor, wanted: Tensor) -> Tensor:
    """Energy of the error in dB relative to what was wanted, `[batch, step, bin]` both, mean over the batch."""
    energy = wanted.square().sum((1, 2)) + TINY
    error = (found - wanted).square().sum((1, 2)) + TINY
    return 10 * torch.log10(error / energy).mean()
