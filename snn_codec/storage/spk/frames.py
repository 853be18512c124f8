"""A bitstream as it is stored: header, frames and trailer, checked, with their events still packed."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

from snn_codec.errors import UserError
from snn_codec.events import steps_for
from snn_codec.storage.limits import check_chunk
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

_HDF5 = b"\x89HDF\r\n\x1a\n"  # how those files begin


def is_bitstream(path: Path) -> bool:
    """Whether a file begins as a bitstream does, or is called one and does not begin as HDF5 does.

    Raises:
        UserError: The file cannot be read, or is a sound file.
    """
    with opened(path) as (file, _):
        try:
            start = file.read(len(_HDF5))
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if start.startswith(MAGIC):
        return True
    if start == _HDF5:
        return False
    from snn_codec import audio

    if path.suffix.lower() in audio.SUFFIXES:
        raise UserError(f"{path}: is an audio file, not events; encode it first")
    return path.suffix.lower() == ".spk"


class Survey(NamedTuple):
    """What a bitstream says of itself without an entropy model.

    Attributes:
        header: Its header.
        parts: Bytes by what they are for: `header`, `framing` (lengths, formats, short chunks), `side` (loudness,
            levels, floor), `events` (payloads), `checksums` (of chunks), `trailer`, and their sum, `total`; `chunks`,
            how many are in each format; `samples`.
        n_samples: Length of the recording.
        n_events: Number of events; None if only an entropy model can count them.
        levels: The chunks' codes of levels, if they have any.
    """

    header: Header
    parts: dict[str, Any]
    n_samples: int
    n_events: int | None
    levels: list[int]


def survey(path: str | os.PathLike | BinaryIO) -> Survey:
    """Read all frames of a file, and check every CRC, without decoding events.

    Raises:
        UserError: The file is missing or damaged.
    """
    with opened(path) as (file, name):
        reader = FrameReader(file, name=name)
        header, counts, levels = reader.header, dict.fromkeys(FORMATS, 0), []
        parts = {"header": reader.position, "framing": 0, "side": 0, "events": 0, "checksums": 0}
        n_events: int | None = 0
        for frame in reader.frames():
            parts["side"] += header.side_bytes
            parts["framing"] += frame.size - len(frame.payload) - 4 - header.side_bytes
            parts["events"] += len(frame.payload)
            parts["checksums"] += 4
            counts[frame.format] += 1
            found = n_events_of(frame)
            n_events = None if n_events is None or found is None else n_events + found
            if frame.level is not None:
                levels.append(frame.level)
        parts["trailer"] = reader.position - sum(parts.values())
        chunks = {name: count for name, count in counts.items() if count}
        sizes = {**parts, "total": reader.position, "chunks": chunks, "samples": reader.n_samples}
        return Survey(header, sizes, reader.n_samples, n_events, levels)


def breakdown(path: str | os.PathLike | BinaryIO) -> dict[str, Any]:
    """`Survey.parts` of a file.

    Raises:
        UserError: The file is missing or damaged.
    """
    return survey(path).parts


def n_events_of(frame: Frame) -> int | None:
    """The number of events of a chunk; None if only an entropy model can count them."""
    if frame.format not in WITHOUT_MODEL:
        return None
    if frame.format == "dense":
        return int.from_bytes(frame.payload, "big").bit_count()
    return parse_varint(frame.payload, 0)[0]


class FrameReader:
    """Reads the frames of a bitstream: in order from a file or a pipe.

    Args:
        file: Binary file object, at the beginning of the bitstream.
        name: What error messages call the file.

    Attributes:
        header: The `Header`.
        seed: The header's CRC, which all later checksums are combined with.
        position: Bytes read so far; `first` of them stand before the first chunk.
        n_samples: Length of the recording, known after the last chunk; 0 before.

    Raises:
        UserError: No bitstream, or its header is damaged; later: a chunk is damaged, or the file ends early.
    """

    _DAMAGE: ClassVar[tuple[type[Exception], ...]] = (Damaged,)  # what reading a chunk may raise

    def __init__(self, file: BinaryIO, *, name: str = "bitstream") -> None:
        self._file, self._name = file, name
        self.n_samples = 0
        self.position = 0
        with self._errors("header"):
            self.header, self.seed = self._read_header()
        check_chunk(name, self.header.n_units, self.header.chunk_steps)
        self.first = self.position

    def frames(self) -> Iterator[Frame]:
        """Read all chunks in order, as they are stored, then the trailer, which sets `n_samples`."""
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
            if not number:
                raise Damaged("comes before any chunk")
            if (trailer.blocks, steps_for(trailer.n_samples, self.header.hop)) != (blocks[:-1], steps):
                raise Damaged("does not fit to the chunks")
            if self._file.read(1):
                raise Damaged("is followed by more bytes")
        self.n_samples = trailer.n_samples

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
        except self._DAMAGE as error:
            raise UserError(f"{self._name}: {where} {error}; {advice}") from error
        except OSError as error:
            raise UserError(f"{self._name}: cannot be read ({error.strerror})") from error


class _Ended(Exception):
    """The file ends within the part that is being read."""


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
