"""The codec on batches of tensors, differentiably: for those who train on top of its events.

`snn_codec.codec.Codec` derives from it and adds recordings of any length.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snn_codec import decoders, loudness
from snn_codec.chunks import Grid
from snn_codec.errors import UserError
from snn_codec.levels import Prompts
from snn_codec.models.network import Network
from snn_codec.settings import Model


class Spikes(NamedTuple):
    """A batch of events: spikes, float32 0 or 1 `[batch, unit, step]`, and loudness, uint8 `[batch, chunk]`."""

    spikes: Tensor
    loudness: Tensor


class TensorCodec(Network):
    """Encoder, bottleneck and decoder on batches of audio, each of which is one recording, at any loudness.

    Args:
        model: The settings of the three parts, and of the grid of steps and chunks that they share.

    Attributes:
        active_decoder: A further decoder (`snn_codec.decoders`) that replaces the codec's own; None if there is none.

    Raises:
        UserError: The settings contradict each other.
    """

    def __init__(self, model: Model):
        super().__init__(model)
        self.active_decoder: decoders.Decoder | None = None

    def spikes(self, audio: Tensor, *, level: float | Tensor | None = None) -> Spikes:
        """Encode a batch of audio, differentiably, on the audio's device.

        Gradients pass the networks and the surrogate gradient of the neurons. Loudness is measured and quantised chunk
        by chunk as in `encode`, and has no gradient. All steps are computed at once, so memory grows with the length.

        Args:
            audio: float `[batch, samples]` or `[batch, channel, samples]` at the codec's rate; the mean of the channels
                is coded.
            level: The level, for a model that has levels: one, or `[batch]`. Default: a quarter of the way up.

        Returns:
            Spikes, float32 0 or 1 `[batch, unit, step]`, and loudness, uint8 `[batch, chunk]`.

        Raises:
            UserError: The audio has another shape or type or is not finite, the model has no such level, or `level`
                another length than the batch.

        Examples:
            >>> spikes, loudness = codec.spikes(audio)  # doctest: +SKIP
            >>> sound = codec.audio(spikes, loudness, samples=audio.shape[-1])  # doctest: +SKIP
        """
        if not isinstance(audio, Tensor):
            raise TypeError(f"audio must be a tensor, not {type(audio).__name__}; encode takes arrays")
        if audio.ndim not in (2, 3) or not audio.numel() or not audio.is_floating_point():
            raise UserError(
                f"audio must be float [batch, channel, samples], not {audio.dtype} {list(audio.shape)}"
            )
        mono = audio.mean(1) if audio.ndim == 3 else audio
        grid, samples = Grid.of(self.settings), mono.shape[-1]
        whole = mono.detach().cpu().float().numpy()
        if not np.isfinite(whole).all():
            raise UserError(
                "the audio holds values that are not numbers (NaN or infinity); see what made them"
            )
        size = grid.chunk_steps * grid.hop
        codes = torch.tensor(
            [
                [loudness.measure(x[at : at + size], grid.hop) for at in range(0, samples, size)]
                for x in whole
            ],
            dtype=torch.uint8,
        )
        normal = mono / self._gain(codes, samples).to(mono)
        normal = torch.nn.functional.pad(normal, (0, -samples % grid.hop))
        chosen = self._levels(level, len(mono))
        return Spikes(self.quantise(self.analyse(normal, chosen), chosen), codes.to(mono.device))

    def audio(
        self,
        spikes: Tensor,
        loudness: Tensor,
        *,
        level: float | Tensor | None = None,
        samples: int | None = None,
    ) -> Tensor:
        """Decode what `spikes` returned, differentiably, on the spikes' device.

        Args:
            spikes: float `[batch, unit, step]`.
            loudness: uint8 `[batch, chunk]`.
            level: As in `spikes`.
            samples: Length of the audio; default: all samples of the steps.

        Returns:
            float `[batch, 1, samples]` at the codec's rate.

        Raises:
            UserError: The shapes do not fit together, that of `level` included, the model has no such level, or the
                steps have not so many samples.
        """
        grid = Grid.of(self.settings)
        steps = spikes.shape[-1] if spikes.ndim == 3 else 0
        expected = (len(spikes), -(-steps // grid.chunk_steps))
        if not steps or spikes.shape[1] != self.settings.units or tuple(loudness.shape) != expected:
            raise UserError(
                f"spikes must be [batch, {self.settings.units}, steps] with a loudness for each chunk of "
                f"{grid.chunk_steps} steps, not {list(spikes.shape)} with {list(loudness.shape)}"
            )
        if samples is not None and not 0 < samples <= steps * grid.hop:
            raise UserError(f"samples must be 1 to {steps * grid.hop}, those of the steps, not {samples}")
        chosen = self._levels(level, len(spikes))
        sound = self._sound(self.dequantise(spikes, chosen), chosen)[:, :samples]
        return (sound * self._gain(loudness.cpu(), sound.shape[-1]).to(sound)).unsqueeze(1)

    def _gain(self, codes: Tensor, samples: int) -> Tensor:
        """The gain of loudness codes `[batch, chunk]`, `[batch, samples]`."""
        size = self.settings.chunk_steps * self.settings.hop
        return torch.from_numpy(np.stack([loudness.gain(row, size, 0, samples) for row in codes.numpy()]))

    def _levels(self, level: float | Tensor | None, batch: int) -> Tensor | None:
        """Levels as the networks want them, `[batch, 1]`, in eighths."""
        given = torch.as_tensor(np.nan if level is None else level)
        if given.shape not in ((), (1,), (batch,)):
            raise UserError(
                f"level must be one, or one for each of {batch} recordings, not {list(given.shape)}"
            )
        values = given.expand(batch).tolist()
        codes = [self.prompts(None if np.isnan(value) else value).codes(1) for value in values]
        return self.level_tensor(np.stack(codes))

    def prompts(self, level: float | np.ndarray | None) -> Prompts:
        """The level of each chunk, as `encode` takes it.

        Raises:
            UserError: The model has no such level.
        """
        return Prompts(self.settings.levels, level)

    def _sound(
        self, inputs: Tensor, level: Tensor | None, first: int = 0, floors: Tensor | None = None
    ) -> Tensor:
        """Audio `[batch, step * hop]`, by the decoder that is active.

        `first` is the first step's number; `floors`, `[batch, step, band]`, are each step's codes of the floor, if any.
        """
        plain = partial(self.synthesise, level=level)
        if not self.active_decoder:
            return plain(inputs)
        more = {"floors": floors} if self.active_decoder.takes_floor else {}
        return self.active_decoder(inputs, first, plain, level, **more)
