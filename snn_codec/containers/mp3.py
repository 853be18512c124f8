"""MP3, whose length only its frames tell: counted, and set against what a Xing or VBRI header says."""

from __future__ import annotations

import mmap
from functools import lru_cache
from typing import BinaryIO, NamedTuple

from snn_codec.containers.view import Finding

_BIT_RATES = {  # kbps by the header's four bits; of MPEG-1 or not, and layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_SAME = 0xFFFE0C00  # bits of the header that all frames of a stream share: sync, version, layer, rate
LONGEST_JUNK = 1 << 16  # bytes between frames that are skipped
_INFO_RATE = 11  # bit rate of the header that is put in front: frames of more than 150 bytes


class _Header(NamedTuple):
    bits: int
    bytes: int  # of the whole frame
    first: bool  # MPEG-1
    layer: int
    mono: bool

    @property
    def side_bytes(self) -> int:
        """Bytes of header and side information, after which a Xing header stands."""
        return (
            4
            + {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}[
                self.first, self.mono
            ]
        )


def inspect(file: BinaryIO, head: bytes, size: int) -> Finding | None:
    """Inspect a file of `size` bytes; None if it is no MP3 file."""
    if not head.startswith(b"ID3") and int.from_bytes(head[:2], "big") >> 5 != 0x7FF:
        return None
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _inspected(data)


def _inspected(data: mmap.mmap) -> Finding:
    after = _after_tags(data, 0)
    start = after if _header(data[after : after + 4]) else _next(data, after, None)
    first = None if start is None else _header(data[start : start + 4])
    if start is None or first is None or first.layer != 3:
        return Finding()  # libsndfile says what is wrong
    field = _field(data, start, first)
    count, cut, gap = _frames(data, start if field is None else start + first.bytes, first)
    ends = "its last frame is cut" if cut else ""
    if field is None:
        return Finding(prefix=_info(first, count), skip=start, missing=ends, slight=True)
    announced = int.from_bytes(data[field : field + 4], "big")
    if announced - count > 1:
        return Finding(missing=f"{count} of {announced} frames are there", stop=gap)
    if count - announced > 1:  # several files, one after the other
        return Finding(patches=((field, count.to_bytes(4, "big")),), missing=ends, slight=True)
    return Finding(missing=ends, slight=True)


def _header(data: bytes) -> _Header | None:
    """What the four bytes at the beginning of a frame say; None if they are of no frame."""
    return _read(int.from_bytes(data, "big")) if len(data) == 4 and data[0] == 0xFF else None


@lru_cache(1024)
def _read(bits: int) -> _Header | None:
    version, layer = bits >> 19 & 3, 4 - (bits >> 17 & 3)
    rate, bit_rate, padding = bits >> 10 & 3, bits >> 12 & 15, bits >> 9 & 1
    if bits >> 21 != 0x7FF or version == 1 or layer == 4 or rate == 3 or bit_rate in (0, 15):
        return None
    first = version == 3
    kbps, hertz = _BIT_RATES[first, layer][bit_rate], _RATES[version][rate]
    if layer == 1:
        size = (12_000 * kbps // hertz + padding) * 4
    else:
        size = (144_000 if first or layer == 2 else 72_000) * kbps // hertz + padding
    return _Header(bits, size, first, layer, bits >> 6 & 3 == 3)


def _after_tags(data: mmap.mmap, at: int) -> int:
    """Behind the ID3v2 tags that begin here."""
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        size = 0
        for byte in data[at + 6 : at + 10]:
            size = size << 7 | byte & 0x7F
        at += 10 + size + (10 if data[at + 5] & 0x10 else 0)
    return at


def _next(data: mmap.mmap, at: int, like: _Header | None) -> int | None:
    """The next frame that is followed by another or by the end of the file, if it is not far."""
    end = min(len(data), at + LONGEST_JUNK)
    while 0 <= (at := data.find(b"\xff", at, end)):
        found = _header(data[at : at + 4])
        if found and _alike(found, like or found):
            follower = _header(data[at + found.bytes : at + found.bytes + 4])
            if at + found.bytes == len(data) or (follower and _alike(follower, found)):
                return at
        at += 1
    return None


def _alike(one: _Header, other: _Header) -> bool:
    return (one.bits ^ other.bits) & _SAME == 0


def _field(data: mmap.mmap, start: int, first: _Header) -> int | None:
    """Where the first frame says how many follow, if it is there for that."""
    at = start + first.side_bytes
    if data[at : at + 4] in (b"Xing", b"Info") and int.from_bytes(data[at + 4 : at + 8], "big") & 1:
        return at + 8
    return start + 50 if data[start + 36 : start + 40] == b"VBRI" else None


def _frames(data: mmap.mmap, at: int, like: _Header) -> tuple[int, bool, int | None]:
    """How many whole frames there are from here on, whether the file ends within one, and where others are missing."""
    count, gap = 0, None
    while at + 4 <= len(data):
        frame = _header(data[at : at + 4])
        if frame is None or not _alike(frame, like):
            found = None if data[at : at + 3] == b"TAG" else _next(data, _after_tags(data, at), like)
            if found is None:
                return count, False, gap
            gap = at if gap is None else gap
            at = found
        elif at + frame.bytes > len(data):
            return count, True, gap
        else:
            count += 1
            at += frame.bytes
    return count, False, gap


def _info(like: _Header, count: int) -> bytes:
    """A frame without sound that says how many follow."""
    bits = like.bits & ~0xF200 | 0x10000 | _INFO_RATE << 12
    header = _read(bits)
    assert header is not None  # as `like` is one
    start = bits.to_bytes(4, "big").ljust(header.side_bytes, b"\0")
    return (start + b"Info" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")).ljust(header.bytes, b"\0")
