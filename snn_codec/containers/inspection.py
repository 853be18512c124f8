"""All containers, told apart by their first bytes."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from snn_codec.containers import chunked, flac, mp3, ogg, rare
from snn_codec.containers.view import Finding

_KINDS = (chunked.inspect, flac.inspect, ogg.inspect, rare.inspect, mp3.inspect)
_HEAD = 64


def inspect(path: Path) -> Finding:
    """Inspect an audio file: how to open it, and whether part of it is missing.

    Raises:
        OSError: The file cannot be read.
    """
    status = os.stat(path)
    return _inspected(path, status.st_size, status.st_mtime_ns)


@lru_cache(4096)  # training opens the same files thousands of times
def _inspected(path: Path, size: int, modified: int) -> Finding:
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        for inspect_kind in _KINDS:
            found = inspect_kind(file, head, size)
            if found is not None:
                return found
    return Finding()
