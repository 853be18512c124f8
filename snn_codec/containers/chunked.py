"""Containers that say how many bytes of sound follow: WAV, RF64, W64, AIFF, AU, CAF and SVX."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from snn_codec.containers.view import Finding

SLIGHT = 1024  # bytes; writers that count their own header, or round up, announce some bytes too many
# What programs announce that write to a pipe, and so cannot know: sox's 0x7f000000, near 2**31, near 2**32, -1
MADE_UP = ((0x7EFFF000, 0x7F001000), (0x7FFF0000, 0x8000FFFF), (0xFFFF0000, 0xFFFFFFFF), (1 << 62, 1 << 64))
MOST_CHUNKS = 10_000
LONGEST = 0xFFFFFFFF  # bytes of sound that a WAV file can announce
W64_RIFF, W64_DATA = (
    b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00",
    b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0",
)


class Sound(NamedTuple):
    """Where the sound of a container is, and how long its header says it is.

    Attributes:
        start: Position of the first byte of sound.
        announced: Bytes of sound according to the header.
        field: Position of the number that says so, which `struct` packs as `form`.
        extra: Bytes that this number counts in addition to the sound.
    """

    start: int
    announced: int
    field: int
    form: str
    extra: int = 0


class _Chunk(NamedTuple):
    name: bytes
    at: int  # of its first byte, the name's
    size: int  # of its content


def inspect(file: BinaryIO, head: bytes, size: int) -> Finding | None:
    """Inspect a file of `size` bytes that begins with `head`; None if it is no such container."""
    finder = _finder(head)
    if finder is None:
        return None
    sound = finder(file, size)
    if sound is None or sound.start > size:
        return Finding()  # libsndfile says what is wrong
    there = size - sound.start
    counted = sound.announced + sound.extra
    made_up = sound.announced == 0 or any(low <= counted <= high for low, high in MADE_UP)
    long = head[:4] == b"RIFF" and there > LONGEST
    if sound.announced < there and (made_up or long):
        stop = sound.start + sound.announced + sound.announced % 2
        if _chunk_follows(file, stop, size - stop):
            return Finding()
        return _as_rf64(file, sound, there, made_up) if long else _mended(sound, there)
    if sound.announced <= there:
        return Finding()
    if made_up:
        return _mended(sound, there)
    missing = f"{there} of {sound.announced} bytes of sound are there"
    return _mended(sound, there, missing, sound.announced - there <= SLIGHT)


def _as_rf64(file: BinaryIO, sound: Sound, there: int, made_up: bool) -> Finding:
    """A WAV file with more sound than its header can announce."""
    beyond = 0 if made_up else (there - sound.announced) % (LONGEST + 1)  # it was counted modulo 2^32
    length = there - beyond
    file.seek(12)
    before = file.read(sound.start - 20)  # the chunks between the file's header and the sound's
    head = (b"RF64", LONGEST, b"WAVE", b"ds64", 28, sound.start + length + 28, length, 0, 0)
    prefix = struct.pack("<4sI4s4sIQQQI", *head) + before + struct.pack("<4sI", b"data", LONGEST)
    return Finding(prefix=prefix, skip=sound.start)


def _mended(sound: Sound, there: int, missing: str = "", slight: bool = False) -> Finding:
    most = (1 << 8 * struct.calcsize(sound.form)) - 1
    patch = struct.pack(sound.form, min(there + sound.extra, most))
    return Finding(patches=((sound.field, patch),), missing=missing, slight=slight)


def _chunk_follows(file: BinaryIO, start: int, there: int) -> bool:
    """Whether what follows the sound that is announced is another chunk, not more sound."""
    file.seek(start)
    name, length = struct.unpack("<4s4s", file.read(8).ljust(8, b"\0"))
    sizes = (int.from_bytes(length, order) for order in ("little", "big"))
    return all(32 <= byte < 127 for byte in name) and any(value <= there - 8 for value in sizes)


def _finder(head: bytes) -> Callable[[BinaryIO, int], Sound | None] | None:
    form = head[8:12]
    if head[:4] in (b"RIFF", b"RIFX") and form == b"WAVE":
        return _wave
    if head[:4] in (b"RF64", b"BW64") and form == b"WAVE":
        return _rf64
    if head[:4] == b"FORM" and form in (b"AIFF", b"AIFC"):
        return _aiff
    if head[:4] == b"FORM" and form in (b"8SVX", b"16SV"):
        return _svx
    if head[:16] == W64_RIFF:
        return _w64
    return {b".snd": _au, b"dns.": _au, b"caff": _caf}.get(head[:4])


def _chunks(
    file: BinaryIO, size: int, at: int, form: str, *, even: bool = True, counted: int = 0
) -> Iterator[_Chunk]:
    """Chunks from position `at` on; `form` unpacks name and size, which counts `counted` bytes of header."""
    head = struct.calcsize(form)
    for _ in range(MOST_CHUNKS):
        if at + head > size:  # a damaged length may also be beyond what `seek` takes
            return
        file.seek(at)
        data = file.read(head)
        name, length = struct.unpack(form, data)
        length = max(0, length - counted)
        yield _Chunk(name, at, length)
        at += head + length
        if counted:
            at += -at % 8
        elif even:
            at += length % 2


def _wave(file: BinaryIO, size: int) -> Sound | None:
    file.seek(0)
    order = ">" if file.read(4) == b"RIFX" else "<"
    for chunk in _chunks(file, size, 12, f"{order}4sI"):
        if chunk.name == b"data":
            return Sound(chunk.at + 8, chunk.size, chunk.at + 4, f"{order}I")
    return None


def _rf64(file: BinaryIO, size: int) -> Sound | None:
    long = None
    for chunk in _chunks(file, size, 12, "<4sI"):
        if chunk.name == b"ds64":
            file.seek(chunk.at + 16)
            long = Sound(0, int.from_bytes(file.read(8), "little"), chunk.at + 16, "<Q")
        elif chunk.name == b"data":
            if long is None or chunk.size != 0xFFFFFFFF:
                return Sound(chunk.at + 8, chunk.size, chunk.at + 4, "<I")
            return long._replace(start=chunk.at + 8)
    return None


def _w64(file: BinaryIO, size: int) -> Sound | None:
    for chunk in _chunks(file, size, 40, "<16sQ", counted=24):
        if chunk.name.startswith(W64_DATA):
            return Sound(chunk.at + 24, chunk.size, chunk.at + 16, "<Q", extra=24)
    return None


def _aiff(file: BinaryIO, size: int) -> Sound | None:
    for chunk in _chunks(file, size, 12, ">4sI"):
        if chunk.name == b"SSND":  # begins with an offset, which libsndfile honours, and a block size
            file.seek(chunk.at + 8)
            offset = int.from_bytes(file.read(4), "big")
            extra = 8 + offset
            return Sound(chunk.at + 8 + extra, max(0, chunk.size - extra), chunk.at + 4, ">I", extra)
    return None


def _svx(file: BinaryIO, size: int) -> Sound | None:
    for chunk in _chunks(file, size, 12, ">4sI"):
        if chunk.name == b"BODY":
            return Sound(chunk.at + 8, chunk.size, chunk.at + 4, ">I")
    return None


def _au(file: BinaryIO, size: int) -> Sound | None:
    file.seek(0)
    order = ">" if file.read(4) == b".snd" else "<"
    start, announced = struct.unpack(f"{order}II", file.read(8).ljust(8, b"\0"))
    return Sound(start, announced, 8, f"{order}I")


def _caf(file: BinaryIO, size: int) -> Sound | None:
    for chunk in _chunks(file, size, 8, ">4sQ", even=False):
        if chunk.name == b"data":  # begins with a count of edits
            return Sound(chunk.at + 16, max(0, chunk.size - 4), chunk.at + 4, ">Q", 4)
    return None
