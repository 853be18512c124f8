"""The paper's four formats (section "Storage") as bits that can be read back, and the choice among them.

    dense             N T cells, unit by unit
    coordinate        unit and step of every event
    compressed_time   N - 1 pointers, then the steps of every unit's events
    compressed_unit   T - 1 pointers, then the units of every step's events

Numbers have the fixed widths of `snn_codec.costs`, most significant bit first. Pointer i is the number of events
before list i + 1; lists are in ascending order. The last byte is padded with zeros. A decoder is given N, T and K, and
accepts exactly one packing of a matrix.

Departs: a pointer has ceil(log2(K + 1)) bits, where the paper counts ceil(log2 K), which cannot tell 0 from K
when K is a power of two.
"""

from __future__ import annotations

import numpy as np

from snn_codec.costs import bit_length, coordinate_bits, dense_bits, pointer_bits

FORMATS = ("dense", "coordinate", "compressed_time", "compressed_unit")


class FormatError(ValueError):
    """Bytes that are not the packing of a matrix of the given shape and number of events."""


def packed_bits(units: int, steps: int, events: int) -> dict[str, int]:
    """Size of `pack` in bits, by format: `costs.all_bits` with decodable pointers.

    Examples:
        >>> packed_bits(80, 256, 1000)["dense"]
        20480
    """
    pointer = pointer_bits(events)
    return {
        "dense": dense_bits(units, steps),
        "coordinate": coordinate_bits(units, steps, events),
        "compressed_time": events * bit_length(steps) + (units - 1) * pointer,
        "compressed_unit": events * bit_length(units) + (steps - 1) * pointer,
    }


def best(units: int, steps: int, events: int) -> str:
    """The format with the fewest packed bits; the earlier one in `FORMATS` on a tie."""
    bits = packed_bits(units, steps, events)
    return min(FORMATS, key=bits.__getitem__)


def pack(events: np.ndarray, format: str) -> bytes:
    """Pack a bool matrix `[units, steps]` into `packed_bits` bits, rounded up to a byte.

    The shape and the number of events are not in the bytes.

    Raises:
        KeyError: `format` is not one of `FORMATS`.

    Examples:
        >>> events = np.eye(3, dtype=bool)
        >>> bool((unpack(pack(events, "coordinate"), "coordinate", 3, 3, 3) == events).all())
        True
    """
    return np.packbits(_PACK[format](events)).tobytes()


def unpack(data: bytes, format: str, units: int, steps: int, n_events: int) -> np.ndarray:
    """Unpack `pack`: bool `[units, steps]` with `n_events` events.

    Raises:
        FormatError: `data` is not the packing of such a matrix.
        KeyError: `format` is not one of `FORMATS`.
    """
    if not 0 <= n_events <= units * steps:
        raise FormatError(f"{n_events} events do not fit into {units} x {steps} cells")
    length = packed_bits(units, steps, n_events)[format]
    if len(data) != -(-length // 8):
        raise FormatError(f"{format} of {n_events} events is {-(-length // 8)} bytes, not {len(data)}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if bits[length:].any():
        raise FormatError("the last byte is not padded with zeros")
    return _UNPACK[format](bits[:length], units, steps, n_events)


def _pack_dense(events: np.ndarray) -> np.ndarray:
    return events.reshape(-1).view(np.uint8) if events.flags.c_contiguous else events.ravel().view(np.uint8)


def _unpack_dense(bits: np.ndarray, units: int, steps: int, n_events: int) -> np.ndarray:
    if np.count_nonzero(bits) != n_events:
        raise FormatError(f"{np.count_nonzero(bits)} events, not {n_events}")
    return bits.view(bool).reshape(units, steps)


def _pack_coordinates(events: np.ndarray) -> np.ndarray:
    width = bit_length(events.shape[1])
    cells = np.flatnonzero(events)
    if events.shape[1] != 1 << width:  # else a cell's number is already unit and step, side by side
        unit, step = np.divmod(cells, events.shape[1])
        cells = (unit << width) | step
    return _to_bits(cells, bit_length(events.shape[0]) + width)


def _unpack_coordinates(bits: np.ndarray, units: int, steps: int, n_events: int) -> np.ndarray:
    width = bit_length(steps)
    values = _from_bits(bits, bit_length(units) + width, n_events)
    unit, step = values >> width, values & ((1 << width) - 1)
    if np.any(unit >= units) or np.any(step >= steps) or np.any(values[1:] <= values[:-1]):
        raise FormatError("an event is outside the matrix or out of order")
    events = np.zeros((units, steps), bool)
    events[unit, step] = True
    return events


def _pack_lists(events: np.ndarray) -> np.ndarray:
    """Pointers to the rows' lists, then each row's columns."""
    rows, columns = events.shape
    cells = np.flatnonzero(events)
    pointers = np.searchsorted(cells, np.arange(1, rows) * columns)
    column = cells & (columns - 1) if columns & (columns - 1) == 0 else cells % columns
    parts = (pointers, pointer_bits(len(cells))), (column, bit_length(columns))
    return np.concatenate([_to_bits(values, width) for values, width in parts])


def _unpack_lists(bits: np.ndarray, rows: int, columns: int, n_events: int) -> np.ndarray:
    width = pointer_bits(n_events)
    border = (rows - 1) * width
    pointers = np.empty(rows + 1, np.int64)
    pointers[0], pointers[-1] = 0, n_events
    pointers[1:-1] = _from_bits(bits[:border], width, rows - 1)
    column = _from_bits(bits[border:], bit_length(columns), n_events)
    counts = np.diff(pointers)
    if np.any(counts < 0) or np.any(column >= columns):
        raise FormatError("a pointer or an event is outside the matrix")
    cells = np.repeat(np.arange(rows) * columns, counts) + column
    if np.any(cells[1:] <= cells[:-1]):
        raise FormatError("the events of a list are out of order")
    events = np.zeros(rows * columns, bool)
    events[cells] = True
    return events.reshape(rows, columns)


def _pack_units(events: np.ndarray) -> np.ndarray:
    return _pack_lists(np.ascontiguousarray(events.T))


def _unpack_units(bits: np.ndarray, units: int, steps: int, n_events: int) -> np.ndarray:
    return np.ascontiguousarray(_unpack_lists(bits, steps, units, n_events).T)


_PACK = dict(zip(FORMATS, (_pack_dense, _pack_coordinates, _pack_lists, _pack_units), strict=True))
_UNPACK = dict(zip(FORMATS, (_unpack_dense, _unpack_coordinates, _unpack_lists, _unpack_units), strict=True))


def _container(width: int) -> str:
    """The narrowest big-endian unsigned type that holds `width` bits."""
    return next(f">u{size}" for size in (1, 2, 4, 8) if width <= 8 * size)


def _to_bits(values: np.ndarray, width: int) -> np.ndarray:
    """Non-negative integers as `width` bits each, in one uint8 array of zeros and ones."""
    if width == 0 or len(values) == 0:
        return np.zeros(0, np.uint8)
    whole = values.astype(_container(width))
    bits = np.unpackbits(whole.view(np.uint8)).reshape(len(values), 8 * whole.itemsize)
    return bits[:, -width:].reshape(-1)


def _from_bits(bits: np.ndarray, width: int, count: int = 1) -> np.ndarray:
    """`count` integers, int64, from `count * width` bits."""
    if width == 0 or count == 0:
        return np.zeros(count, np.int64)
    container = np.dtype(_container(width))
    whole = np.zeros((count, 8 * container.itemsize), np.uint8)
    whole[:, -width:] = bits.reshape(count, width)
    return np.packbits(whole).view(container).astype(np.int64)
