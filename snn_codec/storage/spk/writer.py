"""Writing a bitstream, chunk by chunk and without seeking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from snn_codec.cells import Cells, Dense, Sparse
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix, steps_for
from snn_codec.files import cannot_write, replacing
from snn_codec.storage.entropy_model import EntropyModel, Side
from snn_codec.storage.limits import check_chunk, check_memory, memory_of
from snn_codec.storage.spk.chunk import pack_chunk
from snn_codec.storage.spk.layout import (
    INDEX_CHUNKS,
    Frame,
    Header,
    Trailer,
    pack_frame,
    pack_header,
    pack_trailer,
)


def write(
    path: str | os.PathLike | BinaryIO,
    events: EventMatrix,
    *,
    entropy_model: EntropyModel | None = None,
    force: bool = False,
) -> None:
    """Write one recording to a file, or to a binary file object such as a pipe.

    Raises:
        UserError: `path` cannot be written (`snn_codec.files.replacing`), the entropy model is for another
            number of units, or the events are more than a bitstream can hold.
    """
    header = Header(
        events.n_units,
        events.sample_rate,
        events.hop,
        events.fingerprint,
        len(events.loudness) > 0,
        events.chunk_steps,
        entropy_model.fingerprint if entropy_model else "",
        len(events.levels) > 0,
        entropy_model.CHUNK_FORMAT if entropy_model else "learned",
        events.floor.shape[1],
    )
    with _open(path, force) as (file, name):
        writer = Writer(file, header, entropy_model=entropy_model, name=name)
        for number, chunk in enumerate(events.chunk_cells()):
            loudness = int(events.loudness[number]) if header.has_loudness else None
            level = int(events.levels[number]) if header.has_levels else None
            writer.write(chunk, loudness, level, events.floor[number] if header.floor_bands else None)
        writer.finish(events.n_samples)


class Writer:
    """Writes a bitstream chunk by chunk, in bounded memory: `write` for every chunk, then `finish`.

    Args:
        file: Binary file object; needs no seeking.
        header: The header; its `entropy_model` must be the fingerprint of the model.
        entropy_model: Entropy model to try on each chunk.
        name: What error messages call the file.

    Raises:
        UserError: The header's numbers are beyond those of a bitstream, or the entropy model has other units.
        ValueError: The header names another entropy model.
    """

    def __init__(
        self,
        file: BinaryIO,
        header: Header,
        *,
        entropy_model: EntropyModel | None = None,
        name: str = "bitstream",
    ) -> None:
        ours = (entropy_model.fingerprint, entropy_model.CHUNK_FORMAT) if entropy_model else ("", "learned")
        if (header.entropy_model, header.model_format) != ours:
            raise ValueError("the header is for another entropy model")
        if entropy_model and entropy_model.n_units != header.n_units:
            raise UserError(
                f"{name}: the entropy model is for {entropy_model.n_units} units, not {header.n_units}"
            )
        check_chunk(name, header.n_units, header.chunk_steps)
        self._file, self._entropy_model, self._name = file, entropy_model, name
        self._header = header
        self._steps = 0
        self._chunks = 0
        self._block_sizes: list[int] = []
        self._size = self._memory = 0
        self._ended = False
        data = pack_header(header, name)
        self._seed = data[-4:]
        self._put(data)

    def write(
        self,
        events: np.ndarray | Cells,
        loudness: int | None = None,
        level: int | None = None,
        floor: np.ndarray | None = None,
    ) -> None:
        """Add a chunk: bool `[units, steps]` or a list, of the header's steps, or fewer if it is the last.

        `loudness`, `level` and `floor`, uint8 `[band]`, are the chunk's codes; each is given if and only if the header
        says that chunks have it.

        Raises:
            ValueError: The shape is wrong, a short chunk came before, or the codes are not those of the header.
            UserError: The file cannot be written.
        """
        header = self._header
        if isinstance(events, Dense):
            events = events.matrix
        units, steps = events.shape
        if self._ended or units != header.n_units or not 1 <= steps <= header.chunk_steps:
            raise ValueError(f"chunk {self._chunks} has the wrong shape, or comes after the last one")
        given = loudness is not None, level is not None, 0 if floor is None else len(floor)
        if given != (header.has_loudness, header.has_levels, header.floor_bands):
            raise ValueError(
                "every chunk needs the codes (loudness, level, floor) that the header names, and no other"
            )
        name, payload = pack_chunk(events, self._entropy_model, Side(loudness, level))
        frame = Frame(name, len(payload), steps, self._chunks, payload, loudness, level, floor)
        data = pack_frame(frame, header, self._seed)
        if self._chunks % INDEX_CHUNKS == 0:
            self._block_sizes.append(0)
        self._block_sizes[-1] += len(data)
        self._steps += steps
        self._memory += memory_of(units, steps, _count(events))
        self._chunks += 1
        self._ended = steps < header.chunk_steps
        self._put(data)

    def finish(self, n_samples: int) -> None:
        """End the bitstream of a recording of `n_samples` samples; the file stays open.

        Raises:
            ValueError: `n_samples` does not fit to the steps that were written.
            UserError: The events take more memory than a reader accepts for so few bytes; or the file cannot be
                written.
        """
        if n_samples < 1 or steps_for(n_samples, self._header.hop) != self._steps:
            raise ValueError(f"{n_samples} samples are not {self._steps} steps of {self._header.hop}")
        check_memory(self._name, self._memory, self._size)
        self._ended = True
        self._put(pack_trailer(Trailer(n_samples, self._chunks, self._block_sizes[:-1]), self._seed))

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise cannot_write(self._name, error) from error
        self._size += len(data)


def _count(events: np.ndarray | Sparse) -> int:
    return events.n_events if isinstance(events, Sparse) else int(np.count_nonzero(events))


@contextmanager
def _open(path: str | os.PathLike | BinaryIO, force: bool) -> Iterator[tuple[BinaryIO, str]]:
    """The file object to write to, and what messages call it."""
    if not isinstance(path, (str, os.PathLike)):
        yield path, str(getattr(path, "name", "bitstream"))
        return
    with replacing(path, force=force) as temporary, open(temporary, "wb") as file:
        yield file, str(path)
