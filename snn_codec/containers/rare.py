"""Containers that few programs write today but libsndfile reads: NIST, VOC, AVR, MPC 2000, WVE and MATLAB.

libsndfile reads what is there of all of them as if it were whole. Those that are in no module here say nothing of their
length (PAF, PVF, IRCAM, and XI as libsndfile writes it), or libsndfile itself refuses them when cut off (HTK, SDS).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from snn_codec.containers.chunked import SLIGHT
from snn_codec.containers.view import Finding

MOST_PARTS = 1000
_NIST_FIELDS = ("sample_count", "channel_count", "sample_n_bytes")
_VOC_SOUND = (1, 9)  # kinds of blocks; 0 is the end
# bytes of a number by the digit of a MATLAB 4 matrix that says of which type it is
_MATLAB_WIDTHS = (8, 4, 4, 2, 2, 1)
_MATLAB_4 = (0, 10, 20, 30, 40, 50, 1000, 1010, 1020, 1030, 1040, 1050)


def inspect(file: BinaryIO, head: bytes, size: int) -> Finding | None:
    """What is found in a file of `size` bytes that begins with `head`; None if it is no such container."""
    for begins, end in _ENDS:
        if re.match(begins, head, re.DOTALL):
            file.seek(0)
            try:
                announced = end(file, size)
            except (struct.error, IndexError, ValueError):
                return Finding()  # libsndfile says what is wrong
            short = announced - size
            if short <= 0:
                return Finding()
            return Finding(missing=f"{size} of {announced} bytes are there", slight=short <= SLIGHT)
    return None


def _nist(file: BinaryIO, size: int) -> int:
    text = file.read(1024).decode("latin-1")
    start = int(text[8:16]) if text[8:16].strip().isdigit() else 0
    counts = [re.search(rf"^{name} -\w+ (\d+)", text, re.M) for name in _NIST_FIELDS]
    if "shorten" in text:  # compressed
        return 0
    return start + math.prod(int(count[1]) if count else 0 for count in counts)


def _voc(file: BinaryIO, size: int) -> int:
    file.seek(20)
    (at,) = struct.unpack("<H", file.read(2))
    for _ in range(MOST_PARTS):
        file.seek(at)
        kind, *length = struct.unpack("4B", file.read(4))
        at += 4 + int.from_bytes(bytes(length), "little")
        if kind in _VOC_SOUND:  # a block's length has three bytes: what follows a longer one is no block
            break
    return at


def _avr(file: BinaryIO, size: int) -> int:
    stereo, bits, frames = struct.unpack(">12xHH10xI", file.read(30))
    return 128 + frames * (bits // 8) * (2 if stereo else 1)


def _mpc(file: BinaryIO, size: int) -> int:
    stereo, frames = struct.unpack("<21xB8xI", file.read(34))
    return 42 + 2 * frames * (1 + stereo)


def _wve(file: BinaryIO, size: int) -> int:
    (length,) = struct.unpack(">18xI", file.read(22))
    return 32 + length


def _matlab_4(file: BinaryIO, size: int) -> int:
    at = 0
    for _ in range(MOST_PARTS):
        if at >= size:
            break
        file.seek(at)
        header = file.read(20)
        order = "<" if struct.unpack("<I", header[:4])[0] in _MATLAB_4 else ">"
        kind, rows, columns, imaginary, name = struct.unpack(f"{order}5I", header)
        width = _MATLAB_WIDTHS[kind % 100 // 10]
        at += 20 + name + rows * columns * width * (1 + imaginary)
    return at


def _matlab_5(file: BinaryIO, size: int) -> int:
    file.seek(126)
    order = "<" if file.read(2) == b"IM" else ">"
    at = 128
    for _ in range(MOST_PARTS):
        if at >= size:
            break
        file.seek(at)
        (length,) = struct.unpack(f"{order}4xI", file.read(8))
        at += 8 + length
    return at - 8  # libsndfile announces so much too much


_ENDS: tuple[tuple[bytes, Callable[[BinaryIO, int], int]], ...] = (
    (rb"NIST_1A\n", _nist),
    (rb"Creative Voice File\x1a", _voc),
    (rb"2BIT", _avr),
    (rb"\x01\x04.{15,17}\x00?\x64", _mpc),
    (rb"ALawSoundFile\*\*\x00", _wve),
    (rb"MATLAB 5\.0 MAT-file", _matlab_5),
    (rb"(.\0\0\0|\0\0..)\x01\0\0\0\x01\0\0\0\0\0\0\0|\0\0..\0\0\0\x01\0\0\0\x01\0\0\0\0", _matlab_4),
)
