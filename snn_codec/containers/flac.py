"""FLAC whose header does not say how long it is, as written to a pipe: the last frame says it."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

from snn_codec.containers.view import Finding

LONGEST_FRAME = 1 << 20  # bytes at the end of the file that are searched for a frame
_TOTAL = 21  # where STREAMINFO has the 36 bits of the length, in the low half of this byte and the 4 after it


class _Frame(NamedTuple):
    number: int  # of the frame, or of its first sample
    in_samples: bool
    samples: int
    header_bytes: int

    @property
    def end(self) -> int:
        return self.number + self.samples


def inspect(file: BinaryIO, head: bytes, size: int) -> Finding | None:
    """Inspect a file of `size` bytes; None if it is no FLAC file."""
    if not head.startswith(b"fLaC") or len(head) < 42 or head[4] & 0x7F != 0:
        return None
    total = int.from_bytes(head[_TOTAL : _TOTAL + 5], "big")
    if total & ((1 << 36) - 1):
        return Finding()
    found = _length(file, size, int.from_bytes(head[8:10], "big"))
    if found is None:
        return Finding()
    return Finding(patches=((_TOTAL, (total | found).to_bytes(5, "big")),))


def _length(file: BinaryIO, size: int, block: int) -> int | None:
    """Samples up to the end of the last frame; a frame that the end of the file cuts counts as whole."""
    file.seek(max(0, size - LONGEST_FRAME))
    data = file.read()
    if data[-128:-125] == b"TAG":
        data = data[:-128]
    cut = None
    at = len(data)
    while (at := data.rfind(b"\xff", 0, at)) >= 0:
        frame = _frame(data, at)
        if frame is None:
            continue
        end = frame.end if frame.in_samples else frame.number * block + frame.samples
        if _crc16(data[at:]) == 0:  # of a frame with its checksum
            return end
        if cut is None:
            cut = end
    return cut


def _frame(data: bytes, at: int) -> _Frame | None:
    """The header of a frame that begins here, if its checksum says that it is one."""
    header = data[at : at + 16]
    if len(header) < 6 or header[1] & 0xFE != 0xF8 or header[3] & 1:
        return None
    number, length = _coded_number(header[4:])
    if not length:
        return None
    at = 4 + length
    code, rate = header[2] >> 4, header[2] & 15
    if code in (6, 7):
        samples = int.from_bytes(header[at : at + code - 5], "big") + 1
        at += code - 5
    else:
        samples = {0: 0, 1: 192}.get(code) or (576 << (code - 2) if code < 6 else 256 << (code - 8))
    at += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if code == 0 or rate == 15 or at >= len(header) or _crc8(header[:at]) != header[at]:
        return None
    return _Frame(number, bool(header[1] & 1), samples, at + 1)


def _coded_number(data: bytes) -> tuple[int, int]:
    """A number in UTF-8's way of up to 7 bytes, and how many bytes it has (0: it is none)."""
    first = data[0]
    if first < 0x80:
        return first, 1
    length = 8 - (first ^ 0xFF).bit_length()
    if not 2 <= length <= 7 or len(data) < length:
        return 0, 0
    number = first & ((1 << (7 - length)) - 1)
    for byte in data[1:length]:
        if byte & 0xC0 != 0x80:
            return 0, 0
        number = number << 6 | byte & 0x3F
    return number, length


def _table(polynomial: int, bits: int) -> list[int]:
    table = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1) ^ (polynomial if value >> (bits - 1) & 1 else 0)
            value &= (1 << bits) - 1
        table.append(value)
    return table


_CRC8, _CRC16 = _table(0x07, 8), _table(0x8005, 16)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


def _crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ _CRC16[value >> 8 ^ byte]
    return value
