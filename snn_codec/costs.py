"""What a binary event matrix costs to store, in bits, by the formulas of the paper (section "Storage").

All functions take the number of units N, of steps T, and of events K, as integers, and return bits.
They count what the paper counts; `pointer_bits` says where a decodable file needs more.
"""

from __future__ import annotations

from math import lgamma, log


def bit_length(values: int) -> int:
    """Bits to tell `values` different values apart: ceil(log2 values), and 0 for one value or none."""
    return (values - 1).bit_length() if values > 1 else 0


def dense_bits(units: int, steps: int) -> int:
    """`C_dense = N T`: one bit a cell."""
    return units * steps


def coordinate_bits(units: int, steps: int, events: int) -> int:
    """`C_coo = K (ceil(log2 N) + ceil(log2 T))`: unit and step of every event."""
    return events * (bit_length(units) + bit_length(steps))


def compressed_time_bits(units: int, steps: int, events: int) -> int:
    """`C_time = K ceil(log2 T) + (N - 1) ceil(log2 K)`: for each unit, the steps of its events."""
    return events * bit_length(steps) + (units - 1) * bit_length(events)


def compressed_unit_bits(units: int, steps: int, events: int) -> int:
    """`C_unit = K ceil(log2 N) + (T - 1) ceil(log2 K)`: for each step, the units that fire in it."""
    return events * bit_length(units) + (steps - 1) * bit_length(events)


def pointer_bits(events: int) -> int:
    """Bits of one list pointer in a file that can be decoded: ceil(log2(K + 1)), as it takes the values 0..K.

    Departs: the paper counts ceil(log2 K), which cannot tell "no event before here" from "all of them"
    when K is a power of two.
    """
    return bit_length(events + 1)


def floor_bits(units: int, steps: int, events: int) -> float:
    """log2 C(NT, K): no code that treats all matrices of K events alike can be shorter on average."""
    cells = units * steps
    return (lgamma(cells + 1) - lgamma(events + 1) - lgamma(cells - events + 1)) / log(2)


def all_bits(units: int, steps: int, events: int) -> dict[str, int]:
    """The paper's four costs by name: `dense`, `coordinate`, `compressed_time`, `compressed_unit`."""
    return {
        "dense": dense_bits(units, steps),
        "coordinate": coordinate_bits(units, steps, events),
        "compressed_time": compressed_time_bits(units, steps, events),
        "compressed_unit": compressed_unit_bits(units, steps, events),
    }
