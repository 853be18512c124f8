"""A checkpoint's further decoders: the same events, another sound.

Beside `config.json` and `model.safetensors`, the plain codec whose fingerprint the events carry, a checkpoint's folder
may have `decoder-gan.safetensors` and `decoder-diffusion.safetensors`. `decoders.json` says what they are and to which
codec they belong. All take the dequantised features of the codec, on the same windows as its own decoder.
"""

from __future__ import annotations

import copy as copying
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import pad

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.files import replacing
from snn_codec.models.diffusion import DiffusionDecoder
from snn_codec.models.flow import FlowDecoder
from snn_codec.models.samplers import step_noise
from snn_codec.weights import digest, pack, unpack

FILE_NAME = "decoders.json"
PLAIN = "plain"
NAMES = (PLAIN, "gan", "diffusion")


@dataclass(frozen=True)
class Sampling:
    """How a diffusion decoder samples: network evaluations (0: as many as it was made for), seed, guidance scale."""

    steps: int = 0
    seed: int = 0
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 0 or self.seed < 0 or not np.isfinite(self.guidance):
            raise UserError(
                f"sampling needs steps and a seed of 0 or more and a finite guidance scale, not {self.steps}, "
                f"{self.seed}, {self.guidance}"
            )


@dataclass(frozen=True)
class Decoder:
    """A trained decoder besides the codec's own.

    Attributes:
        settings: Of its kind and sizes.
        module: The network.
        sampling: For those that sample.
    """

    settings: config.Phase
    module: nn.Module
    sampling: Sampling = Sampling()

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for everything that decides its sound: settings, weights, sampling."""
        facts = [config.to_dict(self.settings), config.to_dict(self.sampling)]
        return digest(facts, self.module.state_dict())

    @property
    def fade_steps(self) -> int:
        """Steps over which a chunk is faded into the next; 0 if both agree to the sample.

        A sampler's evaluations together see further than a window's context, so its windows differ a little.
        """
        return 0 if self.settings.kind == "gan" else 4

    def __call__(self, features: Tensor, first: int, plain: nn.Module) -> Tensor:
        """Audio `[1, step * hop]` of features `[1, step, width]` whose first step is step `first` of a recording."""
        steps, seed, guidance = self.sampling.steps, self.sampling.seed, self.sampling.guidance
        kind, count = self.settings.kind, features.shape[1]
        if kind == "gan":
            return self.module(features)
        if kind == "flow":
            noise = self._noise(seed, first, count).to(features)
            return self.module.sample(features, plain(features).float(), noise, steps, guidance)
        # the U-Net's slower blocks stand on the same samples in every window, and so do its sounds
        before = first % self.module.quantum
        noise = self._noise(seed, first - before, count + before).to(features)
        audio = self.module.sample(pad(features, (0, 0, before, 0)), noise, steps, guidance)
        return audio[:, before * self.module.hop :]

    def _noise(self, seed: int, first: int, count: int) -> Tensor:
        return torch.from_numpy(step_noise(seed, first, count, self.module.noise_size))[None]


def build(settings: config.Phase, codec: Any) -> nn.Module:
    """The network of a decoder of these settings for a codec; a GAN-trained one starts as the codec's own."""
    hop, width = codec.settings.hop, codec.settings.decoder.width
    if settings.kind == "flow":
        return FlowDecoder(hop, width, settings, codec.settings.sample_rate)
    if settings.kind == "diffusion":
        return DiffusionDecoder(hop, width, settings)
    return copying.deepcopy(codec.decoder)


def faded(tail: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    """A chunk of audio whose start the `tail` that the window before it had there fades into, linearly."""
    length = min(len(tail), len(chunk))
    if not length:
        return chunk
    weight = (np.arange(length, dtype=np.float32) + 0.5) / length
    return np.concatenate([tail[:length] * (1 - weight) + chunk[:length] * weight, chunk[length:]])


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """What `decoders.json` of a checkpoint says, by name of the decoder: `codec` (fingerprint) and `settings`.

    Raises:
        UserError: The file is damaged.
    """
    file = folder / FILE_NAME
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text())
        for entry in found.values():
            if not isinstance(entry["codec"], str) or not isinstance(entry["settings"]["kind"], str):
                raise TypeError("an entry has no codec or no kind")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: is damaged ({error}); get the checkpoint again") from error
    return found


def load(folder: Path, name: str, codec: Any, sampling: Sampling | None = None) -> Decoder:
    """The decoder `name` in a checkpoint's folder, for the codec of this folder.

    Raises:
        UserError: There is no such decoder, it is damaged, or it belongs to another codec.
    """
    entries = listed(folder)
    if name not in entries:
        raise UserError(
            f"{folder}: has no decoder {name!r}; it has {', '.join([PLAIN, *entries])}. Train one with "
            f"snn-codec train --phase {name if name in NAMES else 'gan'} --init-from {folder}"
        )
    entry, file = entries[name], folder / f"decoder-{name}.safetensors"
    if entry["codec"] != codec.fingerprint:
        raise UserError(
            f"{file}: was trained for the model {entry['codec']}, but the model there is {codec.fingerprint}; "
            "put it beside that model, or train it again"
        )
    place = f"{folder / FILE_NAME}: {name}.settings"
    kind = entry["settings"]["kind"]
    if config.PHASE_OF.get(kind) != name:
        raise UserError(f"{place}.kind: is {kind!r}, which is no {name} decoder; get the checkpoint again")
    settings = config.from_dict(config.Phase, entry["settings"], place)
    module = build(settings, codec)
    try:
        module.load_state_dict(unpack(load_file(file)))
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: is missing or damaged ({reason}); get the checkpoint again") from error
    return Decoder(settings, module.to(codec.device).eval(), sampling or Sampling())


def save(
    folder: Path,
    settings: config.Phase,
    module: nn.Module,
    fingerprint: str,
    *,
    weights: Literal["float32", "float16", "int8"] = "float32",
    force: bool = False,
) -> None:
    """Add a decoder to the checkpoint `folder`, whose codec has this fingerprint; `weights` as in `snn_codec.weights`.

    Raises:
        UserError: It exists (without `force`) or cannot be written.
    """
    name = config.PHASE_OF[settings.kind]
    with replacing(folder / f"decoder-{name}.safetensors", force=force) as temporary:
        save_file(pack(module.state_dict(), weights), temporary)
    entries = listed(folder) | {name: {"codec": fingerprint, "settings": config.to_dict(settings)}}
    with replacing(folder / FILE_NAME, force=True) as temporary:
        temporary.write_text(json.dumps(entries, indent=2) + "\n")


def copy(
    source: Path,
    target: Path,
    codec: Any,
    *,
    weights: Literal["float32", "float16", "int8"] = "float32",
    force: bool = False,
) -> list[str]:
    """Copy the decoders of one checkpoint to another of the same codec; their names.

    Raises:
        UserError: As `load` and `save`.
    """
    names = list(listed(source))
    for name in names:
        decoder = load(source, name, codec)
        save(target, decoder.settings, decoder.module, codec.fingerprint, weights=weights, force=force)
    return names
