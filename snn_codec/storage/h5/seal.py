"""The seal behind the HDF5 file, by which a change is noticed before the HDF5 library sees it.

It is the 8 bytes `SNNSEAL1` and the CRC-32 of all before, 4 bytes, little-endian; HDF5 readers ignore it. It is
checked first, because the HDF5 library can crash on damaged metadata, and Fletcher-32 covers the data only. A file
that another program has changed has lost it.
"""

from __future__ import annotations

import os
import zlib
from typing import BinaryIO

from snn_codec.storage.h5.faults import Damaged, Foreign

SEAL = b"SNNSEAL1"
SEAL_BYTES = len(SEAL) + 4


def seal(path: str | os.PathLike) -> None:
    """Append the seal to a complete HDF5 file, or replace a wrong one."""
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - SEAL_BYTES))
        if file.read(len(SEAL)) == SEAL:
            size -= SEAL_BYTES
        checksum = _checksum(file, size)
        file.truncate(size)
        file.seek(size)
        file.write(SEAL + checksum)


def check_seal(file: BinaryIO) -> None:
    """Check that the file ends with the seal of its content.

    Raises:
        Foreign: It has no seal.
        Damaged: It has another seal.
    """
    size = file.seek(0, os.SEEK_END) - SEAL_BYTES
    file.seek(max(0, size))
    stored = file.read()
    if size < 0 or stored[: len(SEAL)] != SEAL:
        raise Foreign(
            "is not of this package, or is cut off or changed by another program (info tells which)"
        )
    if stored[len(SEAL) :] != _checksum(file, size):
        raise Damaged("does not match its checksum")


def _checksum(file: BinaryIO, size: int) -> bytes:
    """CRC-32 of the first `size` bytes of a file, after which it stands."""
    file.seek(0)
    checksum = 0
    while size > 0:
        block = file.read(min(size, 2**20))
        if not block:
            raise Damaged("is cut off")
        checksum = zlib.crc32(block, checksum)
        size -= len(block)
    return checksum.to_bytes(4, "little")
