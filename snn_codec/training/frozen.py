"""What the phases after the first share: a frozen codec, a further decoder for its events, and their validation.

The `best` of such a phase is a checkpoint of the codec with all decoders that it had, and the new one: of all
validations whose mean SI-SNR is at most `margin_db` below the plain decoder's, the one with the smallest mel distance
(or, while there is none, the one with the highest SI-SNR).
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snn_codec import checkpoints, decoders
from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.metrics import mel_distance, si_snr
from snn_codec.models.network import level_of
from snn_codec.training.optim import Optimisation
from snn_codec.training.phase import Phase, Setup, Validation, spread_levels

OUTSIDE_MARGIN = 1e6  # mel distances are some dB
VALIDATION_COLUMNS = ("validation_si_snr", "validation_mel", "plain_si_snr", "plain_mel")


def with_model_of(settings: config.Config, init_from: str | None) -> config.Config:
    """The settings of a later phase, with the model of the checkpoint that it starts from.

    Raises:
        UserError: No checkpoint is named, or the settings are of another model.
    """
    if not init_from:
        raise UserError(
            f"the phase {settings.phase.kind} trains a decoder for a model that exists; name it with --init-from"
        )
    model = Codec.load(init_from).settings
    if settings.model not in (model, config.Model()):
        raise UserError(
            f"the phase {settings.phase.kind} takes its model from {init_from}; leave out model settings"
        )
    return dataclasses.replace(settings, model=model)


class DecoderPhase(Phase):
    """A decoder `network`, trained on features of the codec `source`."""

    def __init__(self, setup: Setup):
        self.setup, self.training = setup, setup.settings.training
        self.settings: Any = setup.settings.phase  # of the kind that the phase is for
        assert setup.init_from is not None  # `with_model_of` has seen to it
        self.init_from = setup.init_from
        self.source = Codec.load(self.init_from).requires_grad_(False).to(setup.fabric.device)
        self.plain_scores: tuple[float, float] | None = None
        self.network = self.build_network()
        self.optimisation = Optimisation(self.network, self.training, setup.fabric, setup.report)

    @abstractmethod
    def build_network(self) -> nn.Module:
        """The network to train, on the device of the codec."""

    def identity(self) -> dict[str, str]:
        return {"codec": self.source.fingerprint}

    @torch.no_grad()
    def features(self, step: int, batch: Tensor) -> Tensor:
        """What the codec's decoder gets for audio `[batch, samples]`: `[batch, step, width]`."""
        level, codec = self.setup.level_prompts(step, batch), self.source
        return codec.dequantise(codec.quantise(codec.analyse(batch, level), level), level)

    def decoder_level(self, step: int, batch: Tensor) -> dict[str, Tensor]:
        """The levels of `features`, as arguments for the codec's decoder: none, if it does not take them."""
        return level_of(self.source.settings.decoder, self.setup.level_prompts(step, batch))

    def trained_codec(self) -> Codec:
        """The codec as it decodes with the averaged network."""
        self.source.active_decoder = decoders.decoder(self.settings, self.optimisation.ema, self.source)
        self.source.floor_bands = getattr(self.settings, "floor_bands", 0)
        return self.source

    def validate(self, step: int, clips: Sequence[np.ndarray]) -> Validation:
        if self.plain_scores is None:
            self.source.active_decoder, self.source.floor_bands = None, 0
            self.plain_scores = _scores(self.source, clips)
        snr, mel = _scores(self.trained_codec(), clips)
        plain_snr, plain_mel = self.plain_scores
        loss_db = plain_snr - snr
        message = (
            f"SI-SNR {snr:.2f} dB (plain {plain_snr:.2f}), mel distance {mel:.3f} dB (plain {plain_mel:.3f})"
        )
        row = dict(zip(VALIDATION_COLUMNS, (snr, mel, plain_snr, plain_mel), strict=True))
        return Validation(
            row, -mel if loss_db <= self.settings.margin_db else -OUTSIDE_MARGIN - loss_db, message
        )

    def save_best(self, folder: Path) -> None:
        codec = self.trained_codec()
        codec.save(folder, force=True)
        if codec is self.source:
            decoders.copy(checkpoints.find(self.init_from), folder, codec, force=True)
            decoders.save(folder, self.settings, self.optimisation.ema, codec.fingerprint, force=True)


def _scores(codec: Codec, clips: Sequence[np.ndarray]) -> tuple[float, float]:
    """Mean SI-SNR and mel distance of clips as a codec decodes them, both in dB."""
    rate, scores = codec.settings.sample_rate, []
    for clip, level in zip(clips, spread_levels(codec.settings.levels, len(clips)), strict=True):
        decoded = codec.decode(codec.encode(clip, rate, level=level))
        scores.append((si_snr(decoded, clip), mel_distance(decoded, clip, rate)))
    return tuple(np.nanmean(scores, 0).tolist())
