"""The bitstream (`.spk`): events in about as few bytes as theory allows, readable from a pipe, damage reported.

    write("a.spk", events, entropy_model=model)          # model: the checkpoint's EntropyModel, or None
    read("a.spk", entropy_model=model)                   # -> EventMatrix, equal to events
    for chunk in Reader(sys.stdin.buffer): ...              # bounded memory
    Reader(open("a.spk", "rb")).window(1000, 1256)          # -> bool [units, 256], reads only what it needs

Layout, version 1, or 2 if the chunks carry levels. A varint is little-endian base 128; a CRC is CRC-32,
4 bytes, little-endian.

    header    magic 93 53 50 4B; version; length of the body; body; CRC of all before
      body    flags (1: loudness, 2: fingerprint is hexadecimal, 4: entropy model, 8: levels);
              varints sample rate, hop, units, steps a chunk; [4 bytes entropy model]; fingerprint, to the end
    chunk     varint length << 4 | format << 1 | short; [varint steps, if short]; [loudness]; [level];
              payload; CRC
    trailer   00; varints samples, chunks, bytes of every 16 chunks but the last; its length, 4 bytes; CRC

The formats are the paper's four (`snn_codec.storage.formats`) and the entropy coder with one of three models
(`snn_codec.storage.entropy`); all but dense and learned have the varint number of events before their bits.
Each chunk takes the shortest. Only the last chunk may be short, and its loudness and format stand before its bits, so
a writer on a pipe needs to know nothing but the next chunk, and learns the number of samples at the end. The
CRCs of chunks and trailer are combined by exclusive or with a hash (BLAKE2b, 4 bytes) of the header's CRC and the
chunk's number (8 bytes; of the trailer: how many chunks there are), so that chunks that were swapped or repeated,
or come from a file with another header, are found out, too.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import BinaryIO, NamedTuple

import numpy as np

from snn_codec.errors import UserError
from snn_codec.events import CHUNK_STEPS, EventMatrix, steps_for
from snn_codec.files import replacing
from snn_codec.storage import entropy, formats
from snn_codec.storage.entropy_model import EntropyModel
from snn_codec.storage.limits import check_cells, check_chunk

MAGIC = b"\x93SPK"
VERSIONS = 1, 2  # without and with levels
FORMATS = (*formats.FORMATS, "counted", "adaptive", "learned")  # a format's number is its place here
INDEX_CHUNKS = 16  # to an entry of the trailer's table
MAX_INTEGER = 2**40

_LOUDNESS, _HEXADECIMAL, _ENTROPY_MODEL, _LEVELS = 1, 2, 4, 8


@dataclass(frozen=True)
class Header:
    """What a bitstream says before its first chunk.

    `entropy_model` is the fingerprint of the entropy model that its `learned` chunks need, "" if it has none.
    """

    n_units: int
    sample_rate: int
    hop: int
    fingerprint: str = ""
    has_loudness: bool = False
    chunk_steps: int = CHUNK_STEPS
    entropy_model: str = ""
    has_levels: bool = False

    @property
    def side_bytes(self) -> int:
        """Bytes of a chunk for its levels."""
        return self.has_loudness + self.has_levels

    def seconds(self, step: int) -> float:
        """When a step begins."""
        return step * self.hop / self.sample_rate


class Chunk(NamedTuple):
    """One decoded chunk: its number, its first step, bool `[units, steps]`, and its loudness codes (None without)."""

    number: int
    start: int
    events: np.ndarray
    loudness: int | None
    level: int | None = None


@dataclass(frozen=True)
class Damage:
    """A chunk that could not be decoded, by number and by the seconds that it covers."""

    chunk: int
    start: float
    stop: float

    def __str__(self) -> str:
        return f"chunk {self.chunk} ({self.start:.2f} s to {self.stop:.2f} s) is damaged"


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
    )
    with nullcontext(path) if hasattr(path, "write") else _new_file(path, force) as file:
        writer = Writer(file, header, entropy_model=entropy_model, name=_name(path))
        for number in range(events.n_chunks):
            start = number * events.chunk_steps
            loudness = int(events.loudness[number]) if header.has_loudness else None
            level = int(events.levels[number]) if header.has_levels else None
            writer.write(events.events[:, start : start + events.chunk_steps], loudness, level)
        writer.finish(events.n_samples)


def read(
    path: str | os.PathLike | BinaryIO, *, entropy_model: EntropyModel | None = None, salvage: bool = False
) -> EventMatrix:
    """The recording in a file, or in a binary file object such as a pipe.

    Args:
        path: What to read.
        entropy_model: The entropy model, if the file needs one.
        salvage: Give what `salvaged` gives, damaged chunks as silence.

    Raises:
        UserError: The file is missing, damaged (without `salvage`), or needs another entropy model.
    """
    if salvage:
        return salvaged(path, entropy_model=entropy_model)[0]
    with _opened(path) as file:
        reader = Reader(file, entropy_model=entropy_model, name=_name(path))
        chunks = list(reader)
        return _joined(reader.header, chunks, reader.n_samples)


def salvaged(
    path: str | os.PathLike | BinaryIO, *, entropy_model: EntropyModel | None = None
) -> tuple[EventMatrix, list[Damage]]:
    """All of a damaged file that can be trusted, and what is lost: damaged chunks have no events and loudness 0.

    If the trailer is lost, the recording ends with the last whole chunk, and its last step counts as full.

    Raises:
        UserError: The file is missing or no bitstream, its header is damaged, nothing is left, or it needs
            another entropy model.
    """
    with _opened(path) as file:
        data = file.read()
    name = _name(path)
    reader = Reader(io.BytesIO(data), entropy_model=entropy_model, name=name)
    header, found = reader.header, _Salvage(reader, data).run()
    tail = reader._trailer_at_end()
    if not found and tail is None:
        raise UserError(f"{name}: no chunk of it is undamaged; nothing can be decoded")
    if tail is not None:
        n_samples, n_chunks = tail.n_samples, tail.n_chunks
    else:
        last = max(found)
        n_chunks = last + 1
        n_samples = (last * header.chunk_steps + found[last].events.shape[1]) * header.hop
    n_steps = steps_for(n_samples, header.hop)
    check_cells(name, n_steps * header.n_units, len(data))
    chunks, damages = [], []
    for number in range(n_chunks):
        start = number * header.chunk_steps
        steps = min(header.chunk_steps, n_steps - start)
        chunk = found.get(number)
        if chunk is None or chunk.events.shape[1] != steps:
            chunk = Chunk(number, start, np.zeros((header.n_units, steps), bool), 0, 0)
            damages.append(Damage(number, header.seconds(start), header.seconds(start + steps)))
        chunks.append(chunk)
    return _joined(header, chunks, n_samples), damages


def breakdown(path: str | os.PathLike | BinaryIO) -> dict[str, int | dict[str, int]]:
    """Where the bytes of a file are; needs no entropy model, and checks every CRC.

    Returns:
        `header`, `framing` (lengths, formats, short chunks), `levels`, `events` (payloads), `checksums` (of
        chunks), `trailer`, and `total` bytes; `chunks`, how many are in each format; `samples`.

    Raises:
        UserError: The file is missing or damaged.
    """
    with _opened(path) as file:
        reader = Reader(file, name=_name(path))
        parts = {"header": reader._position, "framing": 0, "levels": 0, "events": 0, "checksums": 0}
        counts = dict.fromkeys(FORMATS, 0)
        for frame in reader._frames():
            parts["levels"] += reader.header.side_bytes
            parts["framing"] += frame.size - len(frame.payload) - 4 - reader.header.side_bytes
            parts["events"] += len(frame.payload)
            parts["checksums"] += 4
            counts[frame.format] += 1
        parts["trailer"] = reader._position - sum(parts.values())
        chunks = {name: count for name, count in counts.items() if count}
        return {**parts, "total": reader._position, "chunks": chunks, "samples": reader.n_samples}


def pack_chunk(events: np.ndarray, entropy_model: EntropyModel | None = None) -> tuple[str, bytes]:
    """The cheapest of `FORMATS` for a chunk, bool `[units, steps]`, and its payload in a bitstream."""
    lists = formats.best(*events.shape, int(np.count_nonzero(events)))
    names = dict.fromkeys(("dense", lists, "counted", "adaptive", *(["learned"] if entropy_model else [])))
    payloads = {name: _payload(events, name, entropy_model) for name in names}
    shortest = min(payloads, key=lambda name: len(payloads[name]))
    return shortest, payloads[shortest]


def ideal_bits(events: np.ndarray, entropy_model: EntropyModel | None = None) -> float:
    """What the cheapest format of a chunk, bool `[units, steps]`, costs before it is rounded up to bytes."""
    n_events = int(np.count_nonzero(events))
    packed = min(formats.packed_bits(*events.shape, n_events).values())
    coded = entropy.bits(events) | ({"learned": entropy_model.bits(events)} if entropy_model else {})
    return min(packed, *coded.values())


class Writer:
    """Writes a bitstream chunk by chunk, in bounded memory: `write` for every chunk, then `finish`.

    Args:
        file: Binary file object; needs no seeking.
        header: What stands before the chunks; its `entropy_model` must be the model's.
        entropy_model: Entropy model to try on each chunk.
        name: What error messages call the file.

    Raises:
        UserError: The header holds what a bitstream cannot, or contradicts the entropy_model.
    """

    def __init__(
        self,
        file: BinaryIO,
        header: Header,
        *,
        entropy_model: EntropyModel | None = None,
        name: str = "bitstream",
    ) -> None:
        if header.entropy_model != (entropy_model.fingerprint if entropy_model else ""):
            raise ValueError("the header and the entropy model have different fingerprints")
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
        self._size = 0
        self._ended = False
        data = _pack_header(header, name)
        self._seed = data[-4:]
        self._put(data)

    def write(self, events: np.ndarray, loudness: int | None = None, level: int | None = None) -> None:
        """Add a chunk: bool `[units, steps]`, of the header's steps, or fewer if it is the last; and its levels.

        Raises:
            ValueError: Another shape, a chunk after a short one, or a loudness where the header has none.
        """
        header = self._header
        units, steps = events.shape
        if self._ended or units != header.n_units or not 1 <= steps <= header.chunk_steps:
            raise ValueError(f"chunk {self._chunks} has the wrong shape, or comes after the last one")
        if (loudness is not None, level is not None) != (header.has_loudness, header.has_levels):
            raise ValueError("a loudness is needed for every chunk if the header says so, and else for none")
        side = bytes(code for code in (loudness, level) if code is not None)
        name, payload = pack_chunk(events, self._entropy_model)
        short = steps < header.chunk_steps
        frame = _varint(len(payload) << 4 | FORMATS.index(name) << 1 | short)
        frame += (_varint(steps) if short else b"") + side + payload
        frame += _checksum(frame, self._seed, self._chunks)
        if self._chunks % INDEX_CHUNKS == 0:
            self._block_sizes.append(0)
        self._block_sizes[-1] += len(frame)
        self._steps += steps
        self._chunks += 1
        self._ended = short
        self._put(frame)

    def finish(self, n_samples: int) -> None:
        """End the bitstream of a recording of `n_samples` samples; the file stays open.

        Raises:
            ValueError: `n_samples` does not fit to the steps that were written.
            UserError: There is more silence than a reader would believe.
        """
        if n_samples < 1 or steps_for(n_samples, self._header.hop) != self._steps:
            raise ValueError(f"{n_samples} samples are not {self._steps} steps of {self._header.hop}")
        check_cells(self._name, self._steps * self._header.n_units, self._size)
        self._ended = True
        self._put(_pack_trailer(n_samples, self._chunks, self._block_sizes[:-1], self._seed))

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UserError(
                f"{self._name}: cannot be written ({error.strerror}); is the disk full?"
            ) from error
        self._size += len(data)


class Reader:
    """Reads a bitstream: iterate over its chunks in order (a pipe will do), or take windows of a seekable file.

    Args:
        file: Binary file object, at the beginning of the bitstream.
        entropy_model: Entropy model; may also be set as `.entropy_model` once the header has told which one is needed.
        name: What error messages call the file.

    Attributes:
        header: The `Header`.
        n_samples: Length of the recording; known after the last chunk, or to a seekable file by `window`.

    Raises:
        UserError: No bitstream, or its header is damaged; later: a chunk is damaged, the file ends early, or
            it needs another entropy model.
    """

    def __init__(
        self, file: BinaryIO, *, entropy_model: EntropyModel | None = None, name: str = "bitstream"
    ) -> None:
        self._file, self._name = file, name
        self.entropy_model = entropy_model
        self.n_samples: int | None = None
        self._position = 0
        self._blocks: list[int] | None = None
        with self._errors("header"):
            head = self._take(6)
            if head[:4] != MAGIC:
                raise UserError(f"{name}: is no .spk bitstream; give a file that `encode` wrote")
            if head[4] not in VERSIONS:
                raise UserError(
                    f"{name}: is version {head[4]} of the format, and this program reads "
                    f"{' and '.join(map(str, VERSIONS))}"
                )
            body = self._take(head[5])
            self._seed = self._take(4)
            if struct.pack("<I", zlib.crc32(head + body)) != self._seed:
                raise _Damaged("does not match its checksum")
            self.header = _unpack_header(body)
            if head[4] != VERSIONS[self.header.has_levels]:
                raise _Damaged("has another version than its content")
        check_chunk(name, self.header.n_units, self.header.chunk_steps)
        self._first = self._position

    def __iter__(self) -> Iterator[Chunk]:
        cells = 0
        for frame in self._frames():
            cells += frame.steps * self.header.n_units
            check_cells(self._name, cells, self._position)
            yield self._chunk(frame)

    def window(self, start: int, stop: int) -> np.ndarray:
        """The events of steps [start, stop): bool `[units, stop - start]`; reads only their chunks.

        Raises:
            ValueError: Not 0 <= start <= stop <= T.
            UserError: As the class; damage elsewhere in the file goes unnoticed.
        """
        if self._blocks is None:
            trailer = self._trailer_at_end()
            if trailer is None:
                raise UserError(f"{self._name}: its end is missing or damaged; decode it with --salvage")
            self.n_samples, self._blocks = trailer.n_samples, trailer.blocks
        size, n_steps = self.header.chunk_steps, steps_for(self.n_samples, self.header.hop)
        if not 0 <= start <= stop <= n_steps:
            raise ValueError(f"steps {start}..{stop} are not inside the recording (0..{n_steps})")
        first, last = start // size, max(steps_for(stop, size), start // size + 1)
        block = first // INDEX_CHUNKS
        self._position = self._first + sum(self._blocks[:block])
        self._file.seek(self._position)
        parts = [np.zeros((self.header.n_units, 0), bool)]
        for number in range(block * INDEX_CHUNKS, min(last, steps_for(n_steps, size))):
            with self._errors(number):
                frame = self._frame(number)
            if frame is None:
                raise UserError(f"{self._name}: ends before chunk {number}; decode it with --salvage")
            if number >= first:
                parts.append(self._chunk(frame).events)
        return np.concatenate(parts, 1)[:, start - first * size : stop - first * size]

    def _frames(self) -> Iterator[_Frame]:
        """All frames in order, then the trailer: sets `n_samples`."""
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
                raise _Damaged("does not fit to the chunks")
            if self._file.read(1):
                raise _Damaged("is followed by more bytes")
        self.n_samples = trailer.n_samples

    def _frame(self, number: int) -> _Frame | None:
        """The next frame, which must be chunk `number`; None if the trailer begins here."""
        head, raw = self._varint()
        if head == 0:
            return None
        frame, rest = _frame_shape(head, self.header)
        if head & 1:
            steps, more = self._varint()
            frame, raw = frame._replace(steps=steps), raw + more
        raw += self._take(rest)
        if not 1 <= frame.steps <= self.header.chunk_steps - (head & 1):
            raise _Damaged("has an impossible number of steps")
        if self._take(4) != _checksum(raw, self._seed, number):
            raise _Damaged("does not match its checksum")
        return _filled(frame, number, raw, self.header)

    def _chunk(self, frame: _Frame) -> Chunk:
        self._check_model(frame)
        with self._errors(frame.number):
            events = _unpack_events(frame, self.header.n_units, self.entropy_model)
        start = frame.number * self.header.chunk_steps
        return Chunk(frame.number, start, events, frame.loudness, frame.level)

    def _check_model(self, frame: _Frame) -> None:
        if frame.format == "learned" and (
            self.entropy_model is None or self.entropy_model.fingerprint != self.header.entropy_model
        ):
            ours = f"not {self.entropy_model.fingerprint}" if self.entropy_model else "and none is given"
            raise UserError(
                f"{self._name}: needs the entropy model {self.header.entropy_model} of checkpoint "
                f"{self.header.fingerprint or '(none)'}, {ours}; decode with the model that encoded"
            )

    def _trailer(self, n_chunks: int) -> _Trailer:
        """The trailer, whose first byte has been read."""
        raw = b"\0"
        n_samples, more = self._varint()
        raw += more
        count, more = self._varint()
        raw += more
        if count != n_chunks:
            raise _Damaged("has another number of chunks")
        blocks = []
        for _ in range(_table_size(n_chunks)):
            size, more = self._varint()
            blocks.append(size)
            raw += more
        raw += self._take(4)
        if raw[-4:] != struct.pack("<I", len(raw) + 4) or self._take(4) != _checksum(
            raw, self._seed, n_chunks
        ):
            raise _Damaged("does not match its checksum")
        return _Trailer(n_samples, n_chunks, blocks)

    def _trailer_at_end(self) -> _Trailer | None:
        """The trailer of a seekable file, or None if the file does not end with an undamaged one."""
        size = self._file.seek(0, os.SEEK_END)
        if size < self._first + 11:
            return None
        self._file.seek(size - 8)
        (length,) = struct.unpack("<I", self._file.read(4))
        if not 11 <= length <= size - self._first:
            return None
        self._file.seek(size - length)
        data = self._file.read(length)
        values, position = [], 1
        while position < length - 8:
            value, position = _parse_varint(data, position)
            if value is None:
                return None
            values.append(value)
        if data[0] or len(values) < 2 or len(values) - 2 != _table_size(values[1]):
            return None
        if _checksum(data[:-4], self._seed, values[1]) != data[-4:]:
            return None
        steps, chunks = steps_for(values[0], self.header.hop), values[1]
        if steps_for(steps, self.header.chunk_steps) != chunks or not steps:
            return None
        return _Trailer(values[0], chunks, values[2:])

    def _varint(self) -> tuple[int, bytes]:
        raw = b""
        while not raw or raw[-1] & 0x80:
            raw += self._take(1)
            if len(raw) > 6:
                raise _Damaged("has an impossible number")
        return _parse_varint(raw, 0)[0], raw

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:  # a pipe may give less than was asked for
            more = self._file.read(size - len(data))
            if not more:
                raise _Ended
            data += more
        self._position += size
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
        except (_Damaged, formats.FormatError, entropy.EntropyError) as error:
            raise UserError(f"{self._name}: {where} {error}; {advice}") from error
        except OSError as error:
            raise UserError(f"{self._name}: cannot be read ({error.strerror})") from error


class _Damaged(Exception):
    """What is wrong with the part that is being read."""


class _Ended(Exception):
    """The file ends within the part that is being read."""


class _Frame(NamedTuple):
    """A chunk as it is stored; `size` counts all of its bytes."""

    format: str
    length: int
    steps: int
    number: int = 0
    payload: bytes = b""
    loudness: int | None = None
    level: int | None = None
    size: int = 0


class _Trailer(NamedTuple):
    n_samples: int
    n_chunks: int
    blocks: list[int]


class _Salvage:
    """Finds the undamaged chunks of a file, wherever they are."""

    def __init__(self, reader: Reader, data: bytes) -> None:
        self.reader, self.data = reader, data
        self.budget = 2**28 + 256 * len(data)  # bytes to run checksums over, so that no file takes long
        self.masks: dict[int, int] = {}  # the numbers that the next chunk can have, by their masks

    def run(self) -> dict[int, Chunk]:
        """The undamaged chunks by number."""
        found: dict[int, Chunk] = {}
        reader, position, number, cells = self.reader, self.reader._first, 0, 0
        lost_from = position
        while position < len(self.data) and self.budget > 0:
            # the more numbers are thinkable, the likelier is garbage that matches one: no chunk has less than
            # 6 bytes, and bytes may also be missing
            for candidate in range(number + len(self.masks), number + 64 + (position - lost_from) // 6):
                self.masks[_mask(reader._seed, candidate)] = candidate
            frame = self._frame(position)
            if frame is None:
                position += 1
                continue
            reader._check_model(frame)
            position += frame.size
            lost_from, number = position, frame.number + 1
            self.masks = {}
            cells += frame.steps * reader.header.n_units
            check_cells(reader._name, cells, position)
            with suppress(UserError):
                found[frame.number] = reader._chunk(frame)
        return found

    def _frame(self, position: int) -> _Frame | None:
        """The frame at a position, if an undamaged one is there whose number is possible."""
        head, end = _parse_varint(self.data, position)
        if not head:
            return None
        try:
            frame, rest = _frame_shape(head, self.reader.header)
        except _Damaged:
            return None
        if head & 1:
            steps, end = _parse_varint(self.data, end)
            if steps is None or not 1 <= steps < self.reader.header.chunk_steps:
                return None
            frame = frame._replace(steps=steps)
        end += rest
        if end + 4 > len(self.data):
            return None
        self.budget -= end - position
        raw = self.data[position:end]
        number = self.masks.get(zlib.crc32(raw) ^ int.from_bytes(self.data[end : end + 4], "little"))
        return None if number is None else _filled(frame, number, raw, self.reader.header)


def _pack_header(header: Header, name: str) -> bytes:
    numbers = header.sample_rate, header.hop, header.n_units, header.chunk_steps
    if min(numbers) < 1 or max(numbers) >= MAX_INTEGER:
        raise UserError(f"{name}: sample rate, hop, units and steps a chunk must be 1 to 2^40, not {numbers}")
    try:
        fingerprint, hexadecimal = bytes.fromhex(header.fingerprint), True
    except ValueError:
        fingerprint, hexadecimal = b"", False
    if not hexadecimal or fingerprint.hex() != header.fingerprint:
        fingerprint, hexadecimal = header.fingerprint.encode(), False
    flags = (
        _LOUDNESS * header.has_loudness
        | _HEXADECIMAL * hexadecimal
        | _ENTROPY_MODEL * bool(header.entropy_model)
    )
    flags |= _LEVELS * header.has_levels
    body = (
        bytes([flags]) + b"".join(map(_varint, numbers)) + bytes.fromhex(header.entropy_model) + fingerprint
    )
    if len(body) > 255:
        raise UserError(f"{name}: the fingerprint is longer than a bitstream can hold")
    data = MAGIC + bytes([VERSIONS[header.has_levels], len(body)]) + body
    return data + struct.pack("<I", zlib.crc32(data))


def _unpack_header(body: bytes) -> Header:
    flags, position, numbers = body[0] if body else 255, 1, []
    for _ in range(4):
        value, position = _parse_varint(body, position)
        numbers.append(value)
    if flags >= 16 or None in numbers or min(numbers) < 1 or max(numbers) >= MAX_INTEGER:
        raise _Damaged("has an impossible number")
    sample_rate, hop, units, chunk_steps = numbers
    split = position + 4 * bool(flags & _ENTROPY_MODEL)
    entropy_model, rest = body[position:split].hex(), body[split:]
    try:
        fingerprint = rest.hex() if flags & _HEXADECIMAL else rest.decode()
    except UnicodeDecodeError as error:
        raise _Damaged("has an impossible fingerprint") from error
    loudness, levels = bool(flags & _LOUDNESS), bool(flags & _LEVELS)
    return Header(units, sample_rate, hop, fingerprint, loudness, chunk_steps, entropy_model, levels)


def _table_size(n_chunks: int) -> int:
    return max(0, steps_for(n_chunks, INDEX_CHUNKS) - 1)


def _pack_trailer(n_samples: int, n_chunks: int, blocks: list[int], seed: bytes) -> bytes:
    data = b"\0" + b"".join(map(_varint, (n_samples, n_chunks, *blocks)))
    data += struct.pack("<I", len(data) + 8)
    return data + _checksum(data, seed, n_chunks)


def _payload(events: np.ndarray, name: str, entropy_model: EntropyModel | None) -> bytes:
    """Bool `[units, steps]` in one of `FORMATS`."""
    if name == "dense":
        return formats.pack(events, name)
    if name == "learned":
        return entropy_model.encode(events)
    count = _varint(int(np.count_nonzero(events)))
    if name == "counted":
        return count + entropy.encode_counted(events)
    if name == "adaptive":
        return count + entropy.encode_adaptive(events)
    return count + formats.pack(events, name)


def _unpack_events(frame: _Frame, units: int, entropy_model: EntropyModel | None) -> np.ndarray:
    """Bool `[units, steps]` of a frame whose checksum was right."""
    data, steps = frame.payload, frame.steps
    if frame.format == "learned":
        return entropy_model.decode(data, steps)
    if frame.format == "dense":
        cells = np.unpackbits(np.frombuffer(data, np.uint8))
        return formats.unpack(data, "dense", units, steps, int(np.count_nonzero(cells)))
    n_events, position = _parse_varint(data, 0)
    if n_events is None:
        raise _Damaged("has no number of events")
    data = data[position:]
    if frame.format == "counted":
        return entropy.decode_counted(data, units, steps, n_events)
    if frame.format == "adaptive":
        return entropy.decode_adaptive(data, units, steps, n_events)
    return formats.unpack(data, frame.format, units, steps, n_events)


def _frame_shape(head: int, header: Header) -> tuple[_Frame, int]:
    """What a frame's first number says, and the bytes between it and the checksum, bar a short chunk's steps."""
    length, number = head >> 4, head >> 1 & 7
    longest = -(-header.n_units * header.chunk_steps // 8)  # dense, which no other may exceed
    if number >= len(FORMATS) or length > longest:
        raise _Damaged("has an impossible format or length")
    return _Frame(FORMATS[number], length, header.chunk_steps), header.side_bytes + length


def _filled(frame: _Frame, number: int, raw: bytes, header: Header) -> _Frame:
    """The frame with what its bytes before the checksum, `raw`, hold."""
    side = iter(raw[len(raw) - frame.length - header.side_bytes : len(raw) - frame.length])
    return frame._replace(
        number=number,
        payload=raw[len(raw) - frame.length :],
        loudness=next(side) if header.has_loudness else None,
        level=next(side) if header.has_levels else None,
        size=len(raw) + 4,
    )


def _mask(seed: bytes, number: int) -> int:
    """What the CRC of chunk `number` is combined with: no CRC itself, since CRCs are linear, and a flipped bit
    in a chunk would look like another number."""
    return int.from_bytes(blake2b(seed + struct.pack("<Q", number), digest_size=4).digest(), "little")


def _checksum(raw: bytes, seed: bytes, number: int) -> bytes:
    """CRC of a frame that is chunk `number` of the file whose header's CRC is `seed`."""
    return struct.pack("<I", zlib.crc32(raw) ^ _mask(seed, number))


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(data) + bytes([value])


def _parse_varint(data: bytes, position: int) -> tuple[int | None, int]:
    """The number at a position and the position after it; None if the bytes end or it is longer than 7 bytes."""
    value = 0
    for shift, byte in enumerate(data[position : position + 7]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, position + shift + 1
    return None, position


def _joined(header: Header, chunks: list[Chunk], n_samples: int) -> EventMatrix:
    return EventMatrix(
        np.concatenate([chunk.events for chunk in chunks], 1),
        header.sample_rate,
        header.hop,
        n_samples,
        header.fingerprint,
        np.array([chunk.loudness for chunk in chunks] if header.has_loudness else [], np.uint8),
        header.chunk_steps,
        np.array([chunk.level for chunk in chunks] if header.has_levels else [], np.uint8),
    )


def _name(path: object) -> str:
    return (
        str(getattr(path, "name", "bitstream"))
        if hasattr(path, "read") or hasattr(path, "write")
        else str(path)
    )


@contextmanager
def _new_file(path: str | os.PathLike, force: bool) -> Iterator[BinaryIO]:
    with replacing(path, force=force) as temporary, open(temporary, "wb") as file:
        yield file


@contextmanager
def _opened(path: str | os.PathLike | BinaryIO) -> Iterator[BinaryIO]:
    if hasattr(path, "read"):
        yield path
        return
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    with file:
        yield file
