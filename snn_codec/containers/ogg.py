"""Ogg (Vorbis, Opus, FLAC), whose pages are numbered and have checksums, and whose last one says that it is."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from snn_codec.containers.view import Finding

_FIRST, _LAST = 2, 4  # flags of a page: of its stream
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class _Page(NamedTuple):
    start: int  # of its first byte in the file
    stop: int
    stream: bytes
    number: int
    is_header: bool
    is_first: bool
    is_last: bool


def inspect(file: BinaryIO, head: bytes, size: int) -> Finding | None:
    """Inspect a file of `size` bytes; None if it is no Ogg file.

    Readers pass over a page that is damaged, and then play what follows it too early; so the file ends before it. Of
    several recordings in a chain, as of a broadcast, libsndfile reads the first alone.
    """
    if not head.startswith(b"OggS"):
        return None
    before: dict[bytes, _Page] = {}  # by stream
    last = None
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for page in _pages(data):
            if last and page.is_first and not last.is_first:
                missing = f"what follows the first, from byte {page.start} on, is not read"
                return Finding(missing=missing, stop=page.start, chained=True)
            previous = before.get(page.stream)
            if previous and _is_gap(previous, page, after=last.stop if last else 0):
                stop = previous.stop
                return Finding(missing=f"a page is damaged or missing at byte {stop}", stop=stop)
            before[page.stream] = last = page
    if last and last.is_last:
        return Finding()
    return Finding(missing="its last page is not there")


def _is_gap(previous: _Page, page: _Page, after: int) -> bool:
    """Whether a page is missing before this one, where `after` is the end of whatever is before it.

    A recording of a running broadcast has other numbers behind its headers, and nothing is missing.
    """
    joins_broadcast = previous.is_header and page.start == after
    return page.number != previous.number + 1 and not joins_broadcast


def _pages(data: mmap.mmap) -> Iterator[_Page]:
    """The pages that are whole, in their order."""
    at = 0
    while (at := data.find(b"OggS\0", at)) >= 0:
        page = _page(data, at)
        if page:
            yield page
        at = page.stop if page else at + 1


def _page(data: mmap.mmap, at: int) -> _Page | None:
    """The page that begins here, if its checksum is right."""
    head = data[at : at + 27]
    lengths = data[at + 27 : at + 27 + head[26]] if len(head) == 27 else b""
    stop = at + 27 + len(lengths) + sum(lengths)
    if len(head) < 27 or len(lengths) < head[26] or stop > len(data):
        return None
    if _checksum(head[:22] + bytes(4) + data[at + 26 : stop]) != head[22:26]:
        return None
    return _Page(
        start=at,
        stop=stop,
        stream=head[14:18],
        number=int.from_bytes(head[18:22], "little"),
        is_header=head[6:14] in (bytes(8), b"\xff" * 8),  # no sample is complete
        is_first=bool(head[5] & _FIRST),
        is_last=bool(head[5] & _LAST),
    )


def _checksum(page: bytes) -> bytes:
    """CRC-32 of Ogg, little-endian: that of zlib with the bits of each byte mirrored, and without its inversions."""
    value = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return value.to_bytes(4, "big").translate(_MIRRORED)
