"""Where every byte of a bitstream stands, without reading or writing files.

Version 1, or 2 if the chunks carry levels, 4 if they carry a floor; a kind of entropy model that came later has a
version of its own (`SINCE`). A varint is little-endian base 128; a CRC is CRC-32, 4 bytes, little-endian.

    header    magic 93 53 50 4B; version; length of the body; body; CRC of all before
      body    flags (1: loudness, 2: fingerprint is hexadecimal, 4: entropy model, 8: levels, 16: floor; version 4:
              32: the entropy model is a thermometer's); varints sample rate, hop, units, steps a chunk;
              [varint bands of the floor]; [4 bytes entropy model]; fingerprint, to the end
    chunk     varint length << 4 | format << 1 | short; [varint steps, if short]; [loudness]; [level];
              [floor, 5 bits a band]; payload; CRC
    trailer   00; varints samples, chunks, bytes of every 16 chunks but the last; its length, 4 bytes; CRC

Only the last chunk may be short, and its side information and format stand before its payload, so a writer on a
pipe needs to know nothing but the next chunk, and learns the number of samples at the end. The CRCs of chunks and
trailer are combined by exclusive or with a hash (BLAKE2b, 4 bytes) of the header's CRC and the chunk's number
(8 bytes; of the trailer: the number of chunks), so that chunks that were swapped or repeated, or come from a file
with another header, are detected.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from snn_codec import floor as floors
from snn_codec.errors import UserError
from snn_codec.events import CHUNK_STEPS, steps_for
from snn_codec.storage import formats

MAGIC = b"\x93SPK"
FORMATS = (
    *formats.FORMATS,
    "counted",
    "adaptive",
    "learned",
    "thermometer",
)  # a format's number is its place here, at most 7
WITHOUT_MODEL = FORMATS[:6]  # the others are what entropy models call theirs (`EntropyModel.CHUNK_FORMAT`)
WITH_FLOOR = 4  # the version that brought the floor; its flags say which entropy model it has
SINCE = {"thermometer": 3}  # such a format that is newer than version 2, and the version that brought it
INDEX_CHUNKS = 16  # to an entry of the trailer's table
MAX_INTEGER = 2**40
MIN_TRAILER = 11  # bytes

_LOUDNESS, _HEXADECIMAL, _ENTROPY_MODEL, _LEVELS, _FLOOR, _THERMOMETER = 1, 2, 4, 8, 16, 32


class Damaged(Exception):
    """Raised where a part of a bitstream is damaged; the message says how."""


@dataclass(frozen=True)
class Header:
    """The header of a bitstream.

    `entropy_model` is the fingerprint of the entropy model that its chunks may need, "" if they need none, and
    `model_format` the format of the chunks that it has coded.
    """

    n_units: int
    sample_rate: int
    hop: int
    fingerprint: str = ""
    has_loudness: bool = False
    chunk_steps: int = CHUNK_STEPS
    entropy_model: str = ""
    has_levels: bool = False
    model_format: str = "learned"
    floor_bands: int = 0

    @property
    def side_bytes(self) -> int:
        """Bytes of a chunk for its loudness, level and floor."""
        return self.has_loudness + self.has_levels + floors.packed_bytes(self.floor_bands)

    def seconds(self, step: int) -> float:
        """When a step begins."""
        return step * self.hop / self.sample_rate


class Frame(NamedTuple):
    """A stored chunk; `size` is the number of all its bytes."""

    format: str
    length: int
    steps: int
    number: int = 0
    payload: bytes = b""
    loudness: int | None = None
    level: int | None = None
    floor: np.ndarray | None = None
    size: int = 0


class Trailer(NamedTuple):
    """The trailer of a bitstream; `blocks` are the bytes of every `INDEX_CHUNKS` chunks but the last."""

    n_samples: int
    n_chunks: int
    blocks: list[int]


def pack_header(header: Header, name: str) -> bytes:
    """Pack the header; the last 4 bytes, its CRC, are the seed of all later checksums.

    Raises:
        UserError: It holds what a bitstream cannot; `name` says of which file.
    """
    numbers: tuple[int, ...] = (header.sample_rate, header.hop, header.n_units, header.chunk_steps)
    if min(numbers) < 1 or max(numbers) >= MAX_INTEGER:
        raise UserError(f"{name}: sample rate, hop, units and steps a chunk must be 1 to 2^40, not {numbers}")
    try:
        fingerprint, hexadecimal = bytes.fromhex(header.fingerprint), True
    except ValueError:
        fingerprint, hexadecimal = b"", False
    if not hexadecimal or fingerprint.hex() != header.fingerprint:
        fingerprint, hexadecimal = header.fingerprint.encode(), False
    flags = _LOUDNESS * header.has_loudness | _HEXADECIMAL * hexadecimal
    flags |= _ENTROPY_MODEL * bool(header.entropy_model) | _LEVELS * header.has_levels
    if header.floor_bands:
        flags |= _FLOOR | _THERMOMETER * (header.model_format == "thermometer")
        numbers = (*numbers, header.floor_bands)
    body = bytes([flags]) + b"".join(map(varint, numbers))
    body += bytes.fromhex(header.entropy_model) + fingerprint
    if len(body) > 255:
        raise UserError(f"{name}: the fingerprint is longer than a bitstream can hold")
    data = MAGIC + bytes([version_of(header), len(body)]) + body
    return data + struct.pack("<I", zlib.crc32(data))


def unpack_header(version: int, body: bytes) -> Header:
    """Parse the body of a header.

    Raises:
        Damaged: The body is not one that `pack_header` makes.
    """
    flags, position = body[0] if body else 255, 1
    numbers: list[int] = []
    has_floor = bool(flags & _FLOOR)
    for _ in range(4 + has_floor):
        value, position = parse_varint(body, position)
        numbers.append(0 if value is None else value)
    if flags >= (64 if has_floor else 16) or min(numbers) < 1 or max(numbers) >= MAX_INTEGER:
        raise Damaged("has an impossible number")
    sample_rate, hop, units, chunk_steps, floor_bands = numbers if has_floor else (*numbers, 0)
    if floor_bands > floors.MAX_BANDS:
        raise Damaged("has an impossible number")
    split = position + 4 * bool(flags & _ENTROPY_MODEL)
    entropy_model, rest = body[position:split].hex(), body[split:]
    try:
        fingerprint = rest.hex() if flags & _HEXADECIMAL else rest.decode()
    except UnicodeDecodeError as error:
        raise Damaged("has an impossible fingerprint") from error
    loudness, levels = bool(flags & _LOUDNESS), bool(flags & _LEVELS)
    newer = {number: name for name, number in SINCE.items()}
    if flags & _THERMOMETER:
        newer[WITH_FLOOR] = "thermometer"
    header = Header(
        units,
        sample_rate,
        hop,
        fingerprint,
        loudness,
        chunk_steps,
        entropy_model,
        levels,
        newer.get(version, "learned"),
        floor_bands,
    )
    if version != version_of(header):
        raise Damaged("has another version than its content")
    return header


def version_of(header: Header) -> int:
    """The format version of a file with this header: the lowest that can represent it."""
    if header.floor_bands:
        return WITH_FLOOR
    return SINCE.get(header.model_format, 2 if header.has_levels else 1)


def versions() -> list[int]:
    """The format versions that this program reads."""
    return sorted({1, 2, *SINCE.values(), WITH_FLOOR})


def pack_frame(frame: Frame, header: Header, seed: bytes) -> bytes:
    """Pack a chunk: its number, format, steps, side information and payload."""
    short = frame.steps < header.chunk_steps
    data = varint(len(frame.payload) << 4 | FORMATS.index(frame.format) << 1 | short)
    data += varint(frame.steps) if short else b""
    data += bytes(code for code in (frame.loudness, frame.level) if code is not None)
    data += (b"" if frame.floor is None else floors.pack(frame.floor)) + frame.payload
    return data + checksum(data, seed, frame.number)


def frame_shape(head: int, header: Header) -> tuple[Frame, int]:
    """What a frame's first varint says, and the bytes between it and the checksum, bar a short chunk's steps.

    Raises:
        Damaged: No writer makes such a number.
    """
    length, number = head >> 4, head >> 1 & 7
    longest = -(-header.n_units * header.chunk_steps // 8)  # dense, which no other may exceed
    if number >= len(FORMATS) or length > longest:
        raise Damaged("has an impossible format or length")
    return Frame(FORMATS[number], length, header.chunk_steps), header.side_bytes + length


def filled(frame: Frame, number: int, raw: bytes, header: Header) -> Frame:
    """The frame with what its bytes before the checksum, `raw`, hold."""
    before = raw[len(raw) - frame.length - header.side_bytes : len(raw) - frame.length]
    side, bands = iter(before), header.floor_bands
    return frame._replace(
        number=number,
        payload=raw[len(raw) - frame.length :],
        loudness=next(side) if header.has_loudness else None,
        level=next(side) if header.has_levels else None,
        floor=floors.unpack(before[-floors.packed_bytes(bands) :], bands) if bands else None,
        size=len(raw) + 4,
    )


def pack_trailer(trailer: Trailer, seed: bytes) -> bytes:
    """The trailer's bytes."""
    data = b"\0" + b"".join(map(varint, (trailer.n_samples, trailer.n_chunks, *trailer.blocks)))
    data += struct.pack("<I", len(data) + 8)
    return data + checksum(data, seed, trailer.n_chunks)


def unpack_trailer(data: bytes, header: Header, seed: bytes) -> Trailer | None:
    """The trailer of a file that ends with these bytes; None if they are none, or one of other chunks."""
    values, position = [], 1
    while position < len(data) - 8:
        value, position = parse_varint(data, position)
        if value is None:
            return None
        values.append(value)
    if data[0] or len(values) < 2 or len(values) - 2 != table_size(values[1]):
        return None
    if checksum(data[:-4], seed, values[1]) != data[-4:]:
        return None
    steps, chunks = steps_for(values[0], header.hop), values[1]
    if steps_for(steps, header.chunk_steps) != chunks or not steps:
        return None
    return Trailer(values[0], chunks, values[2:])


def table_size(n_chunks: int) -> int:
    """Entries of the trailer's table."""
    return max(0, steps_for(n_chunks, INDEX_CHUNKS) - 1)


def mask(seed: bytes, number: int) -> int:
    """What the CRC of chunk `number` is combined with.

    It is no CRC itself: CRCs are linear, and a flipped bit in a chunk would look like another number.
    """
    return int.from_bytes(blake2b(seed + struct.pack("<Q", number), digest_size=4).digest(), "little")


def checksum(raw: bytes, seed: bytes, number: int) -> bytes:
    """CRC of a frame that is chunk `number` of the file whose header's CRC is `seed`."""
    return struct.pack("<I", zlib.crc32(raw) ^ mask(seed, number))


def varint(value: int) -> bytes:
    """A non-negative number in as few groups of 7 bits as it needs."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(data) + bytes([value])


def parse_varint(data: bytes, position: int) -> tuple[int | None, int]:
    """The number at a position and the position after it; None if the bytes end or it is longer than 7 bytes."""
    value = 0
    for shift, byte in enumerate(data[position : position + 7]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, position + shift + 1
    return None, position
