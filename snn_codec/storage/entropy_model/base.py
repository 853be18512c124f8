"""What a bitstream asks of an entropy model, and its file."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from snn_codec.cells import Cells, Dense, Sparse
from snn_codec.errors import UserError
from snn_codec.files import replacing

FILE_NAME = "context.safetensors"  # beside a checkpoint's weights


class Side(NamedTuple):
    """What a reader knows of a chunk before its events: the codes of its loudness and level, None without."""

    loudness: int | None = None
    level: int | None = None


NO_SIDE = Side()


class Coded(NamedTuple):
    """A chunk's code, its number of steps, and what a reader knows of it."""

    data: bytes
    steps: int
    side: Side = NO_SIDE


class EntropyModel(ABC):
    """Probabilities of the events of one checkpoint, the same bits on every machine.

    A kind is a subclass with the three names below; `EntropyModel.load` finds it by the file's metadata.

    Attributes:
        KIND: `format` in the metadata of its files.
        VERSION: `version` there.
        CHUNK_FORMAT: What a bitstream calls chunks that it has coded (`snn_codec.storage.spk.layout.FORMATS`).
        checkpoint: Fingerprint of the checkpoint whose events it was trained on; "" if not known.
    """

    KIND: ClassVar[str]
    VERSION: ClassVar[str]
    CHUNK_FORMAT: ClassVar[str]
    kinds: ClassVar[dict[str, type[EntropyModel]]] = {}

    checkpoint: str

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        EntropyModel.kinds[cls.KIND] = cls

    @property
    @abstractmethod
    def n_units(self) -> int:
        """N, the number of units."""

    @abstractmethod
    def encode(self, events: np.ndarray, side: Side = NO_SIDE) -> bytes | None:
        """Code of a bool matrix `[N, steps]`; None if its checkpoint makes no such events."""

    @abstractmethod
    def decode(self, data: bytes, steps: int, side: Side = NO_SIDE) -> np.ndarray:
        """The bool matrix `[N, steps]` that `encode` made `data` of, with the same `side`.

        Raises:
            snn_codec.storage.entropy.EntropyError: There is none.
        """

    def encode_sparse(self, events: Sparse, side: Side = NO_SIDE) -> bytes | None:
        """As `encode`, of a list of events."""
        return self.encode(events.window(0, events.shape[1]), side)

    def decode_several(self, chunks: Sequence[Coded]) -> list[Cells]:
        """The events of several chunks, as `decode` has those of one.

        Raises:
            snn_codec.storage.entropy.EntropyError: One of them has none.
        """
        return [Dense(self.decode(*chunk)) for chunk in chunks]

    @abstractmethod
    def bits(self, events: np.ndarray, side: Side = NO_SIDE) -> float:
        """Ideal bits of a bool matrix `[N, steps]`: the sum of -log2 of the probabilities."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """All but the tensors, by name in the metadata of its file."""

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """Integer tensors by name in its file."""

    @classmethod
    @abstractmethod
    def from_parts(
        cls, settings: Mapping[str, str], tensors: Mapping[str, np.ndarray], checkpoint: str
    ) -> EntropyModel:
        """The model with these `settings` and `tensors`.

        Raises:
            LookupError, ValueError, TypeError, AttributeError: They are those of no model.
        """

    @cached_property
    def fingerprint(self) -> str:
        """8 hexadecimal digits that stand for the weights; a bitstream carries them."""
        digest = hashlib.sha256("\n".join(self.settings().values()).encode())
        for name, array in sorted(self.tensors().items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()[:8]

    def save(self, path: str | os.PathLike, *, force: bool = False) -> None:
        """Write the model as safetensors.

        Raises:
            UserError: `path` cannot be written (`snn_codec.files.replacing`).
        """
        tensors = {name: np.ascontiguousarray(array) for name, array in self.tensors().items()}
        metadata = {"format": self.KIND, "version": self.VERSION, **self.settings()}
        metadata |= {"checkpoint": self.checkpoint, "fingerprint": self.fingerprint}
        with replacing(path, force=force) as temporary:
            temporary.write_bytes(
                save(tensors, metadata)
            )  # save_file has an error of its own for a full disk

    @staticmethod
    def load(path: str | os.PathLike) -> EntropyModel:
        """Read a model of any kind.

        Raises:
            UserError: The file is missing, damaged, or no such model.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such file; give an entropy model, or train one")
        try:
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            raise UserError(f"{path}: is damaged or no safetensors file ({error})") from error
        kind = EntropyModel.kinds.get(metadata.get("format", ""))
        if kind is None or metadata.get("version") != kind.VERSION:
            named = f"{metadata.get('format')}, version {metadata.get('version')}"
            raise UserError(f"{path}: is no entropy model that this program knows ({named}); train one")
        try:
            model = kind.from_parts(metadata, tensors, metadata.get("checkpoint", ""))
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: is a damaged entropy model ({error})") from error
        if metadata.get("fingerprint", model.fingerprint) != model.fingerprint:
            raise UserError(f"{path}: does not match its fingerprint; the file is damaged, get it again")
        return model

    @staticmethod
    def of(folder: str | os.PathLike, checkpoint: str | None = None) -> EntropyModel | None:
        """The model in a checkpoint folder, or None if it has none, or (if given) that of another `checkpoint`.

        Raises:
            UserError: As `load`.
        """
        path = Path(folder) / FILE_NAME
        model = EntropyModel.load(path) if path.exists() else None
        return model if model is None or checkpoint in (None, model.checkpoint) else None
