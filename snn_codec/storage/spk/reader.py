"""Reading a bitstream: in order from a file or a pipe, or windows of a seekable file."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from snn_codec.cells import Dense
from snn_codec.errors import UserError
from snn_codec.events import Builder, EventMatrix, steps_for
from snn_codec.storage import entropy, formats
from snn_codec.storage.entropy_model import EntropyModel
from snn_codec.storage.limits import check_chunk, check_memory, memory_of
from snn_codec.storage.spk.chunk import decode_several, unpack
from snn_codec.storage.spk.layout import (
    FORMATS,
    INDEX_CHUNKS,
    MAGIC,
    MIN_TRAILER,
    WITHOUT_MODEL,
    Damaged,
    Frame,
    Header,
    Trailer,
    checksum,
    filled,
    frame_shape,
    parse_varint,
    table_size,
    unpack_header,
    unpack_trailer,
    versions,
)

TOGETHER = 16  # chunks that are decoded side by side


class Chunk(NamedTuple):
    """One decoded chunk: number, first step, bool `[units, steps]`, codes of loudness, level and floor, or None."""

    number: int
    start: int
    events: Any
    loudness: int | None
    level: int | None = None
    floor: np.ndarray | None = None


def read(path: str | os.PathLike | BinaryIO, *, entropy_model: EntropyModel | None = None) -> EventMatrix:
    """The recording in a file, or in a binary file object such as a pipe.

    Args:
        path: What to read.
        entropy_model: The entropy model, if the file needs one.

    Raises:
        UserError: The file is missing, damaged, or needs another entropy model.
    """
    with opened(path) as (file, name):
        reader = Reader(file, entropy_model=entropy_model, name=name)
        return joined(reader, reader.several())


def breakdown(path: str | os.PathLike | BinaryIO) -> dict[str, Any]:
    """Where the bytes of a file are; needs no entropy model, and checks every CRC.

    Returns:
        `header`, `framing` (lengths, formats, short chunks), `side` (loudness, levels, floor), `events`
        (payloads), `checksums` (of chunks), `trailer`, and `total` bytes; `chunks`, how many are in each format;
        `samples`.

    Raises:
        UserError: The file is missing or damaged.
    """
    with opened(path) as (file, name):
        reader = Reader(file, name=name)
        parts = {"header": reader.position, "framing": 0, "side": 0, "events": 0, "checksums": 0}
        counts = dict.fromkeys(FORMATS, 0)
        for frame in reader.frames():
            parts["side"] += reader.header.side_bytes
            parts["framing"] += frame.size - len(frame.payload) - 4 - reader.header.side_bytes
            parts["events"] += len(frame.payload)
            parts["checksums"] += 4
            counts[frame.format] += 1
        parts["trailer"] = reader.position - sum(parts.values())
        chunks = {name: count for name, count in counts.items() if count}
        return {**parts, "total": reader.position, "chunks": chunks, "samples": reader.n_samples}


class Reader:
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

    def __init__(
        self, file: BinaryIO, *, entropy_model: EntropyModel | None = None, name: str = "bitstream"
    ) -> None:
        self._file, self._name = file, name
        self.entropy_model = entropy_model
        self.n_samples = 0
        self.position = 0
        self._blocks: list[int] | None = None
        with self._errors("header"):
            self.header, self.seed = self._read_header()
        check_chunk(name, self.header.n_units, self.header.chunk_steps)
        self.first = self.position

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
            except entropy.EntropyError:
                found = {}  # one by one, which says which it is
            for frame in batch:
                events = found.get(frame.number) or Dense(self.decode(frame).events)
                memory += memory_of(*events.shape, events.n_events)
                check_memory(self._name, memory, self.position)
                start = frame.number * self.header.chunk_steps
                yield Chunk(frame.number, start, events, frame.loudness, frame.level, frame.floor)

    def window(self, start: int, stop: int) -> np.ndarray:
        """The events of steps [start, stop): bool `[units, stop - start]`; reads only their chunks.

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

    def frames(self) -> Iterator[Frame]:
        """All chunks in order as they are stored, then the trailer: sets `n_samples`."""
        steps = number = 0
        blocks: list[int] = []
        while True:
            with self._errors(number):
                frame = self._frame(number)
            if frame is None:
                break
            if steps % self.header.chunk_steps:
                raise UserError(f"{self._name}: chunk {number} comes after the last one; the file is damaged")
            if number % INDEX_CHUNKS == 0:
                blocks.append(0)
            blocks[-1] += frame.size
            steps += frame.steps
            number += 1
            yield frame
        with self._errors("trailer"):
            trailer = self._trailer(number)
            if (trailer.blocks, steps_for(trailer.n_samples, self.header.hop)) != (blocks[:-1], steps):
                raise Damaged("does not fit to the chunks")
            if self._file.read(1):
                raise Damaged("is followed by more bytes")
        self.n_samples = trailer.n_samples

    def decode(self, frame: Frame) -> Chunk:
        """The events of a chunk whose checksum was right.

        Raises:
            UserError: Its payload is impossible, or it needs another entropy model.
        """
        self.check_entropy_model(frame)
        with self._errors(frame.number):
            events = unpack(frame, self.header.n_units, self.entropy_model)
        start = frame.number * self.header.chunk_steps
        return Chunk(frame.number, start, events, frame.loudness, frame.level, frame.floor)

    def check_entropy_model(self, frame: Frame) -> None:
        """The entropy model that a chunk needs is there.

        Raises:
            UserError: It is not.
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

    def trailer_at_end(self) -> Trailer | None:
        """The trailer of a seekable file, or None if the file does not end with an undamaged one."""
        size = self._file.seek(0, os.SEEK_END)
        if size < self.first + MIN_TRAILER:
            return None
        self._file.seek(size - 8)
        (length,) = struct.unpack("<I", self._file.read(4))
        if not MIN_TRAILER <= length <= size - self.first:
            return None
        self._file.seek(size - length)
        return unpack_trailer(self._file.read(length), self.header, self.seed)

    def _read_header(self) -> tuple[Header, bytes]:
        head = self._take(6)
        if head[:4] != MAGIC:
            raise UserError(f"{self._name}: is no .spk bitstream; give a file that `encode` wrote")
        if head[4] not in versions():
            known = ", ".join(map(str, versions()))
            raise UserError(
                f"{self._name}: is version {head[4]} of the format, and this program reads {known}; get a newer one"
            )
        body = self._take(head[5])
        seed = self._take(4)
        if struct.pack("<I", zlib.crc32(head + body)) != seed:
            raise Damaged("does not match its checksum")
        return unpack_header(head[4], body), seed

    def _frame(self, number: int) -> Frame | None:
        """The next frame, which must be chunk `number`; None if the trailer begins here."""
        head, raw = self._varint()
        if head == 0:
            return None
        frame, rest = frame_shape(head, self.header)
        if head & 1:
            steps, more = self._varint()
            frame, raw = frame._replace(steps=steps), raw + more
        raw += self._take(rest)
        if not 1 <= frame.steps <= self.header.chunk_steps - (head & 1):
            raise Damaged("has an impossible number of steps")
        if self._take(4) != checksum(raw, self.seed, number):
            raise Damaged("does not match its checksum")
        return filled(frame, number, raw, self.header)

    def _trailer(self, n_chunks: int) -> Trailer:
        """The trailer, whose first byte has been read."""
        n_samples, raw = self._varint()
        count, more = self._varint()
        raw = b"\0" + raw + more
        if count != n_chunks:
            raise Damaged("has another number of chunks")
        blocks = []
        for _ in range(table_size(n_chunks)):
            size, more = self._varint()
            blocks.append(size)
            raw += more
        raw += self._take(4)
        if raw[-4:] != struct.pack("<I", len(raw) + 4) or self._take(4) != checksum(raw, self.seed, n_chunks):
            raise Damaged("does not match its checksum")
        return Trailer(n_samples, n_chunks, blocks)

    def _varint(self) -> tuple[int, bytes]:
        raw = b""
        while not raw or raw[-1] & 0x80:
            raw += self._take(1)
            if len(raw) > 6:
                raise Damaged("has an impossible number")
        value, _ = parse_varint(raw, 0)
        if value is None:
            raise Damaged("has an impossible number")
        return value, raw

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:  # a pipe may give less than was asked for
            more = self._file.read(size - len(data))
            if not more:
                raise _Ended
            data += more
        self.position += size
        return data

    @contextmanager
    def _errors(self, where: int | str) -> Iterator[None]:
        """Turn what goes wrong while reading chunk `where`, or the part of that name, into one sentence."""
        if isinstance(where, int):
            start = where * self.header.chunk_steps
            times = (self.header.seconds(step) for step in (start, start + self.header.chunk_steps))
            where = "chunk {} ({:.2f} s to {:.2f} s)".format(where, *times)
            advice = "decode the rest with --salvage"
        else:
            where, advice = f"its {where}", "the file is damaged"
        try:
            yield
        except _Ended:
            raise UserError(f"{self._name}: ends within {where}; {advice}") from None
        except (Damaged, formats.FormatError, entropy.EntropyError) as error:
            raise UserError(f"{self._name}: {where} {error}; {advice}") from error
        except OSError as error:
            raise UserError(f"{self._name}: cannot be read ({error.strerror})") from error


class _Ended(Exception):
    """The file ends within the part that is being read."""


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


@contextmanager
def opened(path: str | os.PathLike | BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    """The file object to read from, and what messages call it.

    Raises:
        UserError: The file is missing or cannot be read.
    """
    if not isinstance(path, (str, os.PathLike)):
        yield path, str(getattr(path, "name", "bitstream"))
        return
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    with file:
        yield file, str(path)
