"""What later training phases share: a codec that stays as it is, another decoder for its events, their validation.

A run folder is that of `snn_codec.training.trainer`. Its `best` is a checkpoint of the codec, with all decoders that it
had, and the new one: of all validations whose mean SI-SNR is at most `margin_db` below the plain decoder's, the one
with the smallest mel distance (or, while there is none, the one with the highest SI-SNR).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from snn_codec import checkpoints, decoders
from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.metrics import si_snr
from snn_codec.training.adversarial import mel_distance
from snn_codec.training.trainer import Trainer

if TYPE_CHECKING:
    from snn_codec.training.trainer import Run

UNFIT = 1e6  # mel distances are some dB


def with_model_of_checkpoint(settings: config.Config, run: Run) -> config.Config:
    """The settings, with the model that a later phase starts from.

    Raises:
        UserError: No model is named, or the settings are of another one.
    """
    if not run.init_from:
        raise UserError(
            f"the phase {settings.phase.kind} trains a decoder for a model that exists; name it with --init-from"
        )
    model = Codec.load(run.init_from).settings
    if settings.model not in (model, config.Model()):
        raise UserError(
            f"the phase {settings.phase.kind} takes its model from {run.init_from}; leave out model settings"
        )
    return dataclasses.replace(settings, model=model)


class PhaseTrainer(Trainer):
    """A decoder `self.network` and its average `self.ema`, trained on features of the codec `self.source`."""

    def _build(self) -> None:
        self.phase = self.settings.phase
        self.source = Codec.load(self.where.init_from).requires_grad_(False).to(self.fabric.device)
        self.plain: tuple[float, float] | None = None
        self._build_networks()

    def _facts(self) -> dict[str, str]:
        return {"codec": self.source.fingerprint}

    def _build_networks(self) -> None:
        raise NotImplementedError

    @torch.no_grad()
    def _features(self, batch: Tensor) -> Tensor:
        """What the codec's decoder would see of audio `[batch, samples]`: `[batch, step, width]`."""
        level, codec = self._levels(batch), self.source
        spikes = codec.bottleneck.encode(codec.before(codec.encoder(batch), level))
        return codec.after(codec.bottleneck.decode(spikes), level)

    def _decoding_codec(self) -> Codec:
        """The codec as it decodes now."""
        self.source.active_decoder = decoders.Decoder(self.phase, self.ema)
        return self.source

    def _scores(self, codec: Codec) -> tuple[float, float]:
        """Mean SI-SNR and mel distance of the validation clips, both in dB."""
        rate, found = self.source.settings.sample_rate, []
        levels = (
            np.linspace(0, codec.settings.levels - 1, len(self.clips))
            if codec.settings.levels
            else [None] * len(self.clips)
        )
        for clip, level in zip(self.clips, levels, strict=True):
            decoded = codec.decode(codec.encode(clip, rate, level=level))
            scale = max(float(np.sqrt(np.square(clip).mean())), 1e-9)
            pair = (torch.from_numpy(np.asarray(x, np.float32) / scale)[None] for x in (decoded, clip))
            found.append((si_snr(decoded, clip), float(mel_distance(*pair, rate))))
        return tuple(np.nanmean(found, 0).tolist())

    def _validate(self) -> dict[str, float]:
        if not self.fabric.is_global_zero:
            return {}
        if self.plain is None:
            self.source.active_decoder = None
            self.plain = self._scores(self.source)
        codec = self._decoding_codec()
        snr, mel = self._scores(codec)
        below = self.plain[0] - snr
        self.console.print(
            f"step {self.step}: validation SI-SNR {snr:.2f} dB (plain {self.plain[0]:.2f}), "
            f"mel distance {mel:.3f} dB (plain {self.plain[1]:.3f})"
        )
        score = -mel if below <= self.phase.margin_db else -UNFIT - below
        if score > self.best:
            self.best = score
            self._save_best(codec)
        return {
            "validation_si_snr": snr,
            "validation_mel": mel,
            "plain_si_snr": self.plain[0],
            "plain_mel": self.plain[1],
        }

    def _save_best(self, codec: Codec) -> None:
        folder = self.folder / "best"
        codec.save(folder, force=True)
        if codec is self.source:
            decoders.copy(checkpoints.find(self.where.init_from), folder, codec, force=True)
            decoders.save(folder, self.phase, self.ema, codec.fingerprint, force=True)

    def _random(self, purpose: int) -> np.random.Generator:
        """Random numbers of this step, for one purpose; the same on all devices and after a resume."""
        return np.random.default_rng([self.training.seed, purpose, self.step])

    def _step(self, network: nn.Module) -> Tensor:
        """Clip the gradients of `network` and move it; a gradient that is not finite is skipped. Its norm."""
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.training.clip)
        if torch.isfinite(norm):
            for optimizer in self.optimizers:
                optimizer.step()
            self.bad = 0
        else:
            self._skipped()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        return norm
