"""Further decoders of a checkpoint: the same events, another sound.

Each kind is a class here or elsewhere, named by the settings of the phase that trains it (`decoder_class` of a
`snn_codec.settings.Phase`); the kind is the decoder's name, too. All take what the codec's own decoder takes, on the
same windows. `snn_codec.checkpoints` says what files they have.
"""

from __future__ import annotations

import copy as copying
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from snn_codec.checkpoints import PLAIN, Checkpoint, Weights, load_weights
from snn_codec.errors import UserError
from snn_codec.models.diffusion import DiffusionDecoder
from snn_codec.models.filling import FillingDecoder
from snn_codec.models.flow import FlowDecoder
from snn_codec.models.mdct import octaves_of
from snn_codec.models.network import Network, level_of
from snn_codec.models.samplers import step_noise
from snn_codec.settings import Mdct, Phase, to_dict
from snn_codec.settings.fields import imported
from snn_codec.weights import digest

FADE_STEPS = 4


@dataclass(frozen=True)
class Sampling:
    """How a decoder that samples does it: network evaluations (0: as many as it was made for), seed, guidance scale."""

    steps: int = 0
    seed: int = 0
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 0 or self.seed < 0 or not np.isfinite(self.guidance):
            raise UserError(
                f"sampling needs steps and a seed of 0 or more and a finite guidance scale, not {self.steps}, "
                f"{self.seed}, {self.guidance}"
            )

    def check(self, name: str, takes: Sequence[str] = ()) -> None:
        """See that a decoder of this name takes what was chosen; `takes` are the fields that change its sound.

        Raises:
            UserError: It would ignore a choice.
        """
        chosen = [each.name for each in fields(self) if getattr(self, each.name) != each.default]
        ignored = [each for each in chosen if each not in takes]
        if ignored:
            raise UserError(f"the decoder {name} has no {' and no '.join(ignored)} to choose; leave that out")


class Decoder:
    """A trained decoder besides the codec's own. A kind is a subclass with a `build` and a `__call__`.

    Args:
        settings: Of its kind and sizes.
        module: The network, as `build` makes it.
        part: Settings of the codec's own decoder.
        sampling: For those that sample.

    Attributes:
        takes_floor: Whether `__call__` also takes `floors`, the codes of the floor `[1, step, band]`, or None
            (`snn_codec.floor`).
        takes: Fields of its `Sampling` that change its sound.
        fade_steps: Steps over which a chunk is faded into the next; 0 if both agree to the sample.
    """

    takes_floor = False
    takes: tuple[str, ...] = ()
    fade_steps = 0

    def __init__(self, settings: Phase, module: nn.Module, part: Any, sampling: Sampling | None = None):
        self.settings, self.part = settings, part
        self.module: Any = module
        self.sampling = sampling or Sampling()

    @staticmethod
    def build(settings: Phase, codec: Network) -> nn.Module:
        """The network, before it is trained, for the events of a codec."""
        raise NotImplementedError

    def __call__(
        self, inputs: Tensor, first: int, plain: Callable[[Tensor], Tensor], level: Tensor | None = None
    ) -> Tensor:
        """Audio `[1, step * hop]`.

        Args:
            inputs: What the codec's own decoder takes, as features `[1, step, width]`.
            first: Which step of the recording the first one is.
            plain: The codec's own decoder.
            level: Levels `[1, step]` of a model that has them.
        """
        raise NotImplementedError

    @property
    def name(self) -> str:
        return self.settings.kind

    @property
    def margin_steps(self) -> int:
        """Steps of margin that it needs besides the codec's own."""
        return 0

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for everything that decides its sound: settings, weights, sampling."""
        sampling = {
            "steps": self.sampling.steps,
            "seed": self.sampling.seed,
            "guidance": self.sampling.guidance,
        }
        return digest([to_dict(self.settings), sampling], self.module.state_dict())


class Retrained(Decoder):
    """The codec's own decoder with other weights, as from training against discriminators."""

    @staticmethod
    def build(settings: Phase, codec: Network) -> nn.Module:
        return copying.deepcopy(codec.decoder)

    def __call__(
        self, inputs: Tensor, first: int, plain: Callable[[Tensor], Tensor], level: Tensor | None = None
    ) -> Tensor:
        return self.module(inputs, **level_of(self.part, level))


class Sampler(Decoder):
    """A decoder that samples.

    Its evaluations together see further than a window's margin, so its windows differ a little, and are faded.
    """

    takes: tuple[str, ...] = ("steps", "seed", "guidance")
    fade_steps = FADE_STEPS

    def noise(self, first: int, count: int, like: Tensor) -> Tensor:
        """Noise of the steps from `first` on, `[1, step, size]`, the same in every window that holds them."""
        noise = step_noise(self.sampling.seed, first, count, self.module.noise_size)
        return torch.from_numpy(noise)[None].to(like)


class FlowSampler(Sampler):
    """Flow matching on the plain decoder's magnitudes (`snn_codec.models.flow`)."""

    @staticmethod
    def build(settings: Any, codec: Network) -> nn.Module:
        hop = codec.settings.hop
        if settings.window % hop:
            raise UserError(
                f"a decoder of kind flow needs a window of whole steps of {hop} samples, not of {settings.window}; "
                f"use --set phase.window={2 * hop}"
            )
        return FlowDecoder(hop, _width(settings, codec), settings, codec.settings.sample_rate)

    def __call__(
        self, inputs: Tensor, first: int, plain: Callable[[Tensor], Tensor], level: Tensor | None = None
    ) -> Tensor:
        noise = self.noise(first, inputs.shape[1], inputs)
        sound = plain(inputs).float()
        return self.module.sample(inputs, sound, noise, self.sampling.steps, self.sampling.guidance)


class DiffusionSampler(Sampler):
    """The paper's diffusion decoder, a U-Net on the waveform (`snn_codec.models.diffusion`)."""

    @staticmethod
    def build(settings: Any, codec: Network) -> nn.Module:
        return DiffusionDecoder(codec.settings.hop, _width(settings, codec), settings)

    def __call__(
        self, inputs: Tensor, first: int, plain: Callable[[Tensor], Tensor], level: Tensor | None = None
    ) -> Tensor:
        # the slower blocks stand on the same samples in every window, and so do their sounds
        before = first % self.module.quantum
        noise = self.noise(first - before, inputs.shape[1] + before, inputs)
        padded = pad(inputs, (0, 0, before, 0))
        audio = self.module.sample(padded, noise, self.sampling.steps, self.sampling.guidance)
        return audio[:, before * self.module.hop :]


class Filler(Sampler):
    """The plain decoder's sound with its spectrum filled in (`snn_codec.models.filling`)."""

    takes_floor = True
    takes = ("seed",)
    fade_steps = 0

    @property
    def margin_steps(self) -> int:
        return self.module.reach

    @staticmethod
    def build(settings: Any, codec: Network) -> nn.Module:
        part = codec.settings.decoder
        if not isinstance(part, Mdct):
            raise UserError(
                f"a decoder of kind filling needs a codec of kind mdct, and this one is {part.kind}"
            )
        return FillingDecoder(codec.settings.hop, codec.settings.sample_rate, settings)

    def __call__(
        self,
        inputs: Tensor,
        first: int,
        plain: Callable[[Tensor], Tensor],
        level: Tensor | None = None,
        floors: Tensor | None = None,
    ) -> Tensor:
        part: Any = self.part  # `build` has seen to it
        noise = self.noise(first, inputs.shape[1], inputs)
        return self.module(plain(inputs), inputs, octaves_of(part, level, inputs)[..., 0], noise, floors)


def _width(settings: Phase, codec: Network) -> int:
    """Size of the features that the codec's decoder takes."""
    if codec.takes_spikes:
        raise UserError(
            f"a decoder of kind {settings.kind} needs features, and this model's decoder takes events"
        )
    return codec.settings.decoder.width


def names() -> tuple[str, ...]:
    """Of all kinds of decoders, the codec's own first."""
    return (PLAIN, *(kind for kind, phase in Phase.kinds.items() if phase.decoder_class))


def build(settings: Phase, codec: Network) -> nn.Module:
    """The network of a decoder of these settings for a codec, before it is trained."""
    return imported(settings.decoder_class).build(settings, codec)


def decoder(settings: Phase, module: nn.Module, codec: Network, sampling: Sampling | None = None) -> Decoder:
    """The decoder of these settings with this network, for this codec."""
    return imported(settings.decoder_class)(settings, module, codec.settings.decoder, sampling)


def faded(tail: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    """A chunk of audio whose start the `tail` that the window before it had there fades into, linearly."""
    length = min(len(tail), len(chunk))
    if not length:
        return chunk
    weight = (np.arange(length, dtype=np.float32) + 0.5) / length
    return np.concatenate([tail[:length] * (1 - weight) + chunk[:length] * weight, chunk[length:]])


def load(folder: Path, name: str, codec: Network, sampling: Sampling | None = None) -> Decoder:
    """The decoder `name` in a checkpoint's folder, for the codec of this folder.

    Raises:
        UserError: There is no such decoder, it is damaged, it belongs to another codec, or samples otherwise.
    """
    asked, name = name, Checkpoint(folder).decoder_name(name)
    if asked != name:
        warnings.warn(
            f"{folder}: the decoder {asked!r} is called {name!r} now; ask for that",
            FutureWarning,
            stacklevel=3,
        )
    entry = Checkpoint(folder).decoders[name]
    if entry.codec != codec.fingerprint:
        raise UserError(
            f"{entry.file}: was trained for the model {entry.codec}, but the model there is {codec.fingerprint}; "
            "put it beside that model, or train it again"
        )
    settings = entry.parsed()
    module = build(settings, codec)
    load_weights(entry.file, module)
    found = decoder(settings, module.to(codec.device).eval(), codec, sampling)
    found.sampling.check(name, found.takes)
    return found


def save(
    folder: Path,
    settings: Phase,
    module: nn.Module,
    fingerprint: str,
    *,
    weights: Weights = "float32",
    force: bool = False,
) -> None:
    """Add a decoder to the checkpoint `folder`, whose codec has this fingerprint; `weights` as in `snn_codec.weights`.

    Raises:
        UserError: It exists (without `force`) or cannot be written.
    """
    state = module.state_dict()
    Checkpoint(folder).save_decoder(settings, state, fingerprint, weights=weights, force=force)


def copy(
    source: Path, target: Path, codec: Network, *, weights: Weights = "float32", force: bool = False
) -> list[str]:
    """Copy the decoders of one checkpoint to another of the same codec; their names.

    Raises:
        UserError: As `load` and `save`.
    """
    found = list(Checkpoint(source).decoders)
    for name in found:
        one = load(source, name, codec)
        save(target, one.settings, one.module, codec.fingerprint, weights=weights, force=force)
    return found
