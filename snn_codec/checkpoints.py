"""Checkpoints: folders of a codec's settings and weights, its entropy model, and further decoders for its events.

    config.json                 settings and fingerprint
    model.safetensors           weights
    context.safetensors         entropy model of the codec's events, if one was trained
    decoders.json               further decoders: their settings, and the fingerprint of the codec that they belong to
    decoder-KIND.safetensors    weights of each

What is in one can be asked without torch; only weights need it. Nothing is ever unpickled.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from snn_codec.errors import UserError
from snn_codec.files import check_writable, make_folder, replacing
from snn_codec.settings import Model, Phase, from_dict, to_dict

FOLDERS = tuple(map(Path, importlib.import_module("snn_codec.pretrained").__path__))
DEFAULT = "free"
PLAIN = "plain"  # the codec's own decoder
DAMAGED = "get the checkpoint again"

Weights = Literal["float32", "float16", "int8"]


def find(name: str | Path = DEFAULT) -> Path:
    """The checkpoint folder `name`, or the shipped one of that name.

    Raises:
        UserError: There is none.
    """
    for folder in (Path(name), *(place / name for place in FOLDERS)):
        if (folder / "config.json").is_file():
            return folder
    raise UserError(
        f"{name}: no such model; give a checkpoint folder or one of: {', '.join(names()) or '(none shipped)'}"
    )


def names() -> list[str]:
    """Of the shipped models, sorted."""
    return sorted({path.parent.name for place in FOLDERS for path in place.glob("*/config.json")})


def shipped(fingerprint: str) -> str | None:
    """The name of the shipped model with this fingerprint; None if none has it."""
    for place in FOLDERS:
        for path in sorted(place.glob("*/config.json")):
            if fingerprint and json.loads(path.read_text()).get("fingerprint") == fingerprint:
                return path.parent.name
    return None


@lru_cache
def shipped_entropy_model(fingerprint: str) -> Any:
    """The entropy model of the shipped model with this fingerprint; None if there is no such model, or it has none."""
    name = shipped(fingerprint)
    return Checkpoint(find(name)).entropy_model if name else None


def check_spikes(path: object, fingerprint: str, model: str | Path | None = None) -> None:
    """Events of a file are spikes, as far as can be known: made by a shipped model, or by `model`.

    Args:
        path: What the message calls the file.
        fingerprint: That of the events.
        model: A checkpoint that may have made them.

    Raises:
        UserError: They are bits of a quantiser's indices.
    """
    folders = ([find(model)] if model is not None else []) + [
        find(name) for name in (shipped(fingerprint),) if name
    ]
    for checkpoint in map(Checkpoint, folders):
        if checkpoint.fingerprint == fingerprint and not checkpoint.settings.bottleneck.has_spikes:
            kind = checkpoint.settings.bottleneck.kind
            raise UserError(
                f"{path}: its model ({checkpoint.folder.name}, {kind}) has index bits, not spikes; "
                "choose a spiking model, or say --as-bits to write them all the same"
            )


class Entry(NamedTuple):
    """A further decoder: the fingerprint of its codec, its settings as JSON has them, and the file of its weights."""

    codec: str
    settings: dict[str, Any]
    file: Path

    def parsed(self) -> Phase:
        """Its settings.

        Raises:
            UserError: They are none of this version.
        """
        place = self.file.parent / "decoders.json"
        return from_dict(Phase, self.settings, f"{place}: {self.settings['kind']}.settings")


@dataclass(frozen=True)
class Checkpoint:
    """What is in a checkpoint's folder; read when it is asked for.

    Raises:
        UserError: A file that is asked for is missing or damaged; the message names it.
    """

    folder: Path

    @classmethod
    def find(cls, name: str | Path = DEFAULT) -> Checkpoint:
        """The checkpoint in the folder `name`, or the shipped one of that name."""
        return cls(find(name))

    @cached_property
    def settings(self) -> Model:
        """Of the codec."""
        return self._config[0]

    @cached_property
    def fingerprint(self) -> str | None:
        """That of the codec, as `config.json` has it."""
        return self._config[1]

    @cached_property
    def _config(self) -> tuple[Model, str | None]:
        file = self.folder / "config.json"
        try:
            content = json.loads(file.read_text())
            settings, fingerprint = content["model"], content.get("fingerprint")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: is damaged ({error}); {DAMAGED}") from error
        return from_dict(Model, settings, f"{file}: model"), fingerprint

    @cached_property
    def entropy_model(self) -> Any:
        """The entropy model (`snn_codec.storage.entropy_model`) of this codec's events; None if there is none."""
        from snn_codec.storage.entropy_model import EntropyModel

        return EntropyModel.of(self.folder, self.fingerprint)

    @cached_property
    def decoders(self) -> dict[str, Entry]:
        """The further decoders by name, which is the kind of their settings.

        Earlier versions had the flow-matching decoder under the name `diffusion`.
        """
        file = self.folder / "decoders.json"
        if not file.is_file():
            return {}
        found = {}
        try:
            for key, entry in json.loads(file.read_text()).items():
                kind = entry["settings"]["kind"]
                if not isinstance(entry["codec"], str) or not isinstance(kind, str):
                    raise TypeError("an entry has no codec or no kind")
                if (key, kind) not in ((kind, kind), ("diffusion", "flow")):
                    raise TypeError(f"{key}.settings.kind is {kind!r}, which is no {key} decoder")
                files = [self.folder / f"decoder-{name}.safetensors" for name in (kind, key)]
                file_there = next((path for path in files if path.is_file()), files[0])
                found[kind] = Entry(entry["codec"], entry["settings"], file_there)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{file}: is damaged ({error}); {DAMAGED}") from error
        return found

    def decoder_name(self, asked: str) -> str:
        """The name of the further decoder that is asked for, perhaps by the name of an earlier version.

        Raises:
            UserError: There is no such decoder.
        """
        if asked == "diffusion" and asked not in self.decoders and "flow" in self.decoders:
            return "flow"
        if asked not in self.decoders:
            known = asked in Phase.kinds and Phase.kinds[asked].decoder_class
            raise UserError(
                f"{self.folder}: has no decoder {asked!r}; it has {', '.join([PLAIN, *self.decoders])}. Train one with "
                f"snn-codec train --phase {asked if known else 'gan'} --init-from {self.folder}"
            )
        return asked

    @property
    def floor_bands(self) -> int:
        """Bands of the floor (`snn_codec.floor`) that its decoders take; 0 if none takes any."""
        bands = [getattr(entry.parsed(), "floor_bands", 0) for entry in self.decoders.values()]
        return max(bands, default=0)

    def load_codec(self, network: Any) -> None:
        """Put the codec's weights into a network made of `settings`.

        Raises:
            UserError: They are missing, damaged, of other sizes, or not those that the fingerprint stands for.
        """
        file = self.folder / "model.safetensors"
        load_weights(file, network)
        if self.fingerprint not in (None, network.fingerprint):
            raise UserError(
                f"{file}: its weights are those of {network.fingerprint}, but {self.folder / 'config.json'} is of "
                f"{self.fingerprint}; {DAMAGED}"
            )

    def save_codec(
        self,
        settings: Model,
        state: Mapping[str, Any],
        entropy_model: Any = None,
        *,
        weights: Weights = "float32",
        force: bool = False,
    ) -> None:
        """Write a codec of these settings and state dict, and its entropy model if there is one.

        Raises:
            UserError: The files exist (without `force`) or cannot be written, or there is no such kind of weights.
        """
        from safetensors.torch import save

        from snn_codec.settings import identity
        from snn_codec.storage.entropy_model import FILE_NAME
        from snn_codec.weights import digest, unpack

        tensors = _packed(state, weights)
        make_folder(self.folder)
        for name in ("model.safetensors", "config.json", FILE_NAME)[: 2 + (entropy_model is not None)]:
            check_writable(self.folder / name, force=force)  # all, before one is written
        content = {"fingerprint": digest(identity(settings), unpack(tensors)), "model": to_dict(settings)}
        with replacing(self.folder / "model.safetensors", force=force) as temporary:
            temporary.write_bytes(save(tensors))  # save_file has an error of its own for a full disk
        with replacing(self.folder / "config.json", force=force) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")
        if entropy_model is not None:
            entropy_model.save(self.folder / FILE_NAME, force=force)

    def save_decoder(
        self,
        settings: Phase,
        state: Mapping[str, Any],
        codec: str,
        *,
        weights: Weights = "float32",
        force: bool = False,
    ) -> None:
        """Add a decoder for the codec with this fingerprint.

        Raises:
            UserError: It exists (without `force`) or cannot be written, or there is no such kind of weights.
        """
        from safetensors.torch import save

        tensors = _packed(state, weights)
        entries = {}
        for name, entry in Checkpoint(self.folder).decoders.items():
            entries[name] = {"codec": entry.codec, "settings": entry.settings}
            file = self.folder / f"decoder-{name}.safetensors"
            if entry.file != file and entry.file.is_file():
                os.replace(entry.file, file)  # an earlier version's name may be another decoder's now
        with replacing(self.folder / f"decoder-{settings.kind}.safetensors", force=force) as temporary:
            temporary.write_bytes(save(tensors))
        entries[settings.kind] = {"codec": codec, "settings": to_dict(settings)}
        with replacing(self.folder / "decoders.json", force=True) as temporary:
            temporary.write_text(json.dumps(entries, indent=2) + "\n")


def _packed(state: Mapping[str, Any], weights: Weights) -> dict[str, Any]:
    from snn_codec.weights import pack

    if weights not in get_args(Weights):
        raise UserError(f"weights must be one of {', '.join(get_args(Weights))}, not {weights!r}")
    return pack(state, weights)


def load_weights(file: Path, module: Any) -> None:
    """Put the weights of a file into a module.

    Raises:
        UserError: The file is missing or damaged, or of a module with other sizes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from snn_codec.weights import unpack

    try:
        module.load_state_dict(unpack(load_file(file)))
    except (SafetensorError, OSError, RuntimeError, LookupError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: is missing or damaged ({reason}); {DAMAGED}") from error
