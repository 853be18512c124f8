"""Ogg (Vorbis, Opus, FLAC), whose last page says that it is the last one."""

from __future__ import annotations

from typing import BinaryIO

from snn_codec.containers.view import Finding

LONGEST_PAGE = 27 + 255 + 255 * 255
_END_OF_STREAM = 4


def inspect(file: BinaryIO, head: bytes, size: int) -> Finding | None:
    """Inspect a file of `size` bytes; None if it is no Ogg file."""
    if not head.startswith(b"OggS"):
        return None
    file.seek(max(0, size - 2 * LONGEST_PAGE))
    data = file.read()
    at = len(data)
    while (at := data.rfind(b"OggS\0", 0, at)) >= 0:
        lengths = data[at + 27 : at + 27 + data[at + 26]] if at + 26 < len(data) else b""
        whole = lengths and at + 27 + len(lengths) + sum(lengths) <= len(data)
        if whole and len(lengths) == data[at + 26] and data[at + 5] & _END_OF_STREAM:
            return Finding()
        break
    return Finding(missing="its last page is not there")
