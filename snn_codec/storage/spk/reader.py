"""Reading the events of a bitstream: in order from a file or a pipe, or windows of a seekable file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np

from snn_codec.cells import Dense
from snn_codec.errors import UserError
from snn_codec.events import Builder, EventMatrix, steps_for
from snn_codec.storage.entropy import EntropyError
from snn_codec.storage.entropy_model import EntropyModel
from snn_codec.storage.formats import FormatError
from snn_codec.storage.limits import check_memory, memory_of
from snn_codec.storage.spk.chunk import decode_several, unpack
from snn_codec.storage.spk.frames import FrameReader, opened
from snn_codec.storage.spk.layout import INDEX_CHUNKS, WITHOUT_MODEL, Damaged, Frame

TOGETHER = 64  # chunks that are decoded side by side


class Chunk(NamedTuple):
    """One decoded chunk: number, first step, bool `[units, steps]`, codes of loudness, level and floor, or None."""

    number: int
    start: int
    events: Any
    loudness: int | None
    level: int | None = None
    floor: np.ndarray | None = None


def read(path: str | os.PathLike | BinaryIO, *, entropy_model: EntropyModel | None = None) -> EventMatrix:
    """Read the recording in a file, or in a binary file object such as a pipe.

    Args:
        path: A file's name, or a binary file object.
        entropy_model: The entropy model, if the file needs one.

    Raises:
        UserError: The file is missing, damaged, or needs another entropy model.

    Examples:
        >>> read("bach.spk", entropy_model=codec.entropy_model)  # doctest: +SKIP
        EventMatrix(80 units x 1704 steps, 68018 events, 39.550 s, model de03cb1e0a6d9978)
    """
    with opened(path) as (file, name):
        reader = Reader(file, entropy_model=entropy_model, name=name)
        return joined(reader, reader.several())


class Reader(FrameReader):
    """Reads a bitstream: iterate over its chunks in order (a pipe will do), or take windows of a seekable file.

    Args:
        file: Binary file object, at the beginning of the bitstream.
        entropy_model: Entropy model; may also be set as `.entropy_model` once the header has told which one is needed.
        name: What error messages call the file.

    Attributes:
        header: The `Header`.
        seed: The header's CRC, which all later checksums are combined with.
        position: Bytes read so far; `first` of them stand before the first chunk.
        n_samples: Length of the recording, known after the last chunk, or to a seekable file by `window`; 0 before.

    Raises:
        UserError: No bitstream, or its header is damaged; later: a chunk is damaged, the file ends early, or
            it needs another entropy model.
    """

    _DAMAGE: ClassVar[tuple[type[Exception], ...]] = (Damaged, FormatError, EntropyError)

    def __init__(
        self, file: BinaryIO, *, entropy_model: EntropyModel | None = None, name: str = "bitstream"
    ) -> None:
        super().__init__(file, name=name)
        self.entropy_model = entropy_model
        self._blocks: list[int] | None = None

    def __iter__(self) -> Iterator[Chunk]:
        memory = 0
        for frame in self.frames():
            chunk = self.decode(frame)
            units, steps = chunk.events.shape
            memory += memory_of(units, steps, int(np.count_nonzero(chunk.events)))
            check_memory(self._name, memory, self.position)
            yield chunk

    def several(self) -> Iterator[Chunk]:
        """As iteration, but up to `TOGETHER` chunks are read before the first is decoded, and events are `Cells`.

        An entropy model decodes chunks side by side many times as quickly as one by one.
        """
        memory, frames = 0, self.frames()
        while batch := list(islice(frames, TOGETHER)):
            for frame in batch:
                self.check_entropy_model(frame)
            try:
                found = decode_several(batch, self.entropy_model)
            except EntropyError:
                found = {}  # one by one, which says which it is
            for frame in batch:
                events = found.get(frame.number) or Dense(self.decode(frame).events)
                memory += memory_of(*events.shape, events.n_events)
                check_memory(self._name, memory, self.position)
                start = frame.number * self.header.chunk_steps
                yield Chunk(frame.number, start, events, frame.loudness, frame.level, frame.floor)

    def window(self, start: int, stop: int) -> np.ndarray:
        """Read the events of steps [start, stop), bool `[units, stop - start]`, from their chunks alone.

        Raises:
            ValueError: Not 0 <= start <= stop <= T.
            UserError: As the class; damage elsewhere in the file goes unnoticed.
        """
        if self._blocks is None:
            trailer = self.trailer_at_end()
            if trailer is None:
                raise UserError(f"{self._name}: its end is missing or damaged; decode it with --salvage")
            self.n_samples, self._blocks = trailer.n_samples, trailer.blocks
        size, n_steps = self.header.chunk_steps, steps_for(self.n_samples, self.header.hop)
        if not 0 <= start <= stop <= n_steps:
            raise ValueError(f"steps {start}..{stop} are not inside the recording (0..{n_steps})")
        first, last = start // size, max(steps_for(stop, size), start // size + 1)
        block = first // INDEX_CHUNKS
        self.position = self.first + sum(self._blocks[:block])
        self._file.seek(self.position)
        parts = [np.zeros((self.header.n_units, 0), bool)]
        for number in range(block * INDEX_CHUNKS, min(last, steps_for(n_steps, size))):
            with self._errors(number):
                frame = self._frame(number)
            if frame is None:
                raise UserError(f"{self._name}: ends before chunk {number}; decode it with --salvage")
            if number >= first:
                parts.append(self.decode(frame).events)
        return np.concatenate(parts, 1)[:, start - first * size : stop - first * size]

    def decode(self, frame: Frame) -> Chunk:
        """Decode the events of a chunk whose checksum was right.

        Raises:
            UserError: Its payload is impossible, or it needs another entropy model.
        """
        self.check_entropy_model(frame)
        with self._errors(frame.number):
            events = unpack(frame, self.header.n_units, self.entropy_model)
        start = frame.number * self.header.chunk_steps
        return Chunk(frame.number, start, events, frame.loudness, frame.level, frame.floor)

    def check_entropy_model(self, frame: Frame) -> None:
        """Check that the entropy model that a chunk needs is there.

        Raises:
            UserError: It is not, or the chunk cannot be of it.
        """
        model = self.entropy_model
        if frame.format in WITHOUT_MODEL:
            return
        if model is None or model.fingerprint != self.header.entropy_model:
            ours = f"not {model.fingerprint}" if model else "and none is given"
            raise UserError(
                f"{self._name}: needs the entropy model {self.header.entropy_model} of checkpoint "
                f"{self.header.fingerprint or '(none)'}, {ours}; decode with the model that encoded"
            )
        if (frame.format, self.header.n_units) != (model.CHUNK_FORMAT, model.n_units):
            raise UserError(
                f"{self._name}: chunk {frame.number} is not coded as by its entropy model; the file is damaged"
            )


def joined(reader: Reader, chunks: Iterable[Chunk]) -> EventMatrix:
    """A recording of its decoded chunks, whose events may be `Cells`, after which the reader knows its length."""
    header, builder = reader.header, Builder(reader.header.n_units)
    loudness, levels, floor = [], [], []
    for chunk in chunks:
        builder.append(chunk.events)
        loudness.append(chunk.loudness)
        levels.append(chunk.level)
        floor.append(chunk.floor)
    return EventMatrix(
        builder.build(),
        header.sample_rate,
        header.hop,
        reader.n_samples,
        header.fingerprint,
        np.array(loudness if header.has_loudness else [], np.uint8),
        header.chunk_steps,
        np.array(levels if header.has_levels else [], np.uint8),
        np.array(floor, np.uint8) if header.floor_bands else None,
    )
