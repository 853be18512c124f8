"""Events as sequences of integers, for language models: packed steps, or unit and time-shift tokens.

Packed steps (`integers`): integer g of a step is its units `bits` g to `bits` g + `bits` - 1, most significant bit
first; the last one is padded with zeros. 80 units at 10 bits are 8 integers below 1024: for a residual vector
quantiser of 8 codebooks, their indices.

Tokens: u < N is an event of unit u at the current step; N + s - 1 moves on by s steps, 1 <= s <= max_shift, as MIDI
language models have it. A gap is one token, or several if it is longer than max_shift; the units of a step ascend; the
last token moves to the end of the recording. The vocabulary has N + max_shift tokens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from snn_codec.cells import Cells, blocks, listed

BITS = 10
MAX_BITS = 62
MAX_SHIFT = 32

Integers = NDArray[np.int64]


def to_integers(cells: Cells, bits: int = BITS) -> Integers:
    """Packed steps: int64 `[steps, ceil(units / bits)]`, each from 0 to 2^bits - 1.

    Raises:
        ValueError: `bits` is not 1 to 62.
    """
    _check_bits(bits)
    units, steps = cells.shape
    values = 1 << _places(bits)
    packed = np.zeros((steps, -(-units // bits)), np.int64)
    for start, stop in blocks(units, steps):
        window = cells.window(start, stop).T
        padded = np.zeros((len(window), packed.shape[1] * bits), bool)
        padded[:, :units] = window
        packed[start:stop] = padded.reshape(len(window), -1, bits) @ values
    return packed


def from_integers(integers: NDArray[np.integer], n_units: int, bits: int = BITS) -> Cells:
    """The cells that `to_integers` packed.

    Raises:
        ValueError: Not integers, another shape, or a bit where there is no unit.
    """
    _check_bits(bits)
    integers, groups = np.asarray(integers), -(-n_units // bits)
    shaped = integers.ndim == 2 and len(integers) and integers.shape[1] == groups
    if not shaped or not np.issubdtype(integers.dtype, np.integer):
        raise ValueError(
            f"{n_units} units at {bits} bits must be integers [steps, {groups}], "
            f"not {integers.dtype} {integers.shape}"
        )
    if not 0 <= np.min(integers) <= np.max(integers) < 1 << bits:
        raise ValueError(f"an integer is not from 0 to {(1 << bits) - 1}, the range of {bits} bits")
    found = []
    for start, stop in blocks(n_units, len(integers)):
        block = integers[start:stop].astype(np.int64)
        steps, groups_at, bit = np.nonzero(block[..., None] >> _places(bits) & 1)
        found.append((start + steps, groups_at * bits + bit))
    steps, units = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if units.size and units.max() >= n_units:
        raise ValueError(f"a bit stands for unit {units.max()}, where there are {n_units}")
    return listed(steps, units, n_units, len(integers))


def to_tokens(cells: Cells, max_shift: int = MAX_SHIFT) -> Integers:
    """Unit and time-shift tokens: int64 `[tokens]`.

    Raises:
        ValueError: `max_shift` is less than 1.
    """
    _check_shift(max_shift)
    n_units, n_steps = cells.shape
    steps, units = cells.indices()
    moves = np.diff(np.concatenate([[0], steps, [n_steps]]))  # before each event, and to the end
    shifts = -(-moves // max_shift)
    places = np.cumsum(shifts) + np.arange(len(moves))  # of what follows each move
    tokens = np.full(places[-1], n_units + max_shift - 1, np.int64)
    tokens[places[:-1]] = units
    rest = moves - (shifts - 1) * max_shift  # the last shift of each move takes what is left
    tokens[places[shifts > 0] - 1] = n_units + rest[shifts > 0] - 1
    return tokens


def from_tokens(tokens: NDArray[np.integer], n_units: int, max_shift: int = MAX_SHIFT) -> Cells:
    """The cells that `to_tokens` wrote; the order within a step, and an event's repetition, do not matter.

    Raises:
        ValueError: A token outside the vocabulary, no step at all, or an event after the last shift.
    """
    _check_shift(max_shift)
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens must be a list of integers, not {tokens.dtype} {tokens.shape}")
    if tokens.size and not 0 <= np.min(tokens) <= np.max(tokens) < n_units + max_shift:
        raise ValueError(
            f"a token is not from 0 to {n_units + max_shift - 1}, the vocabulary of {n_units} units "
            f"and shifts up to {max_shift}"
        )
    tokens = tokens.astype(np.int64)  # in which nothing wraps around
    is_event = tokens < n_units
    now = np.cumsum(np.where(is_event, 0, tokens - n_units + 1))
    if not tokens.size or is_event[-1]:
        raise ValueError("the last token must be a shift, which says where the recording ends")
    places = np.unique(now[is_event] * n_units + tokens[is_event])
    return listed(*np.divmod(places, n_units), n_units, int(now[-1]))


def _places(bits: int) -> Integers:
    """Of the units of an integer."""
    return np.arange(bits - 1, -1, -1, dtype=np.int64)


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= MAX_BITS:
        raise ValueError(f"bits must be 1 to {MAX_BITS}, not {bits}")


def _check_shift(max_shift: int) -> None:
    if max_shift < 1:
        raise ValueError(f"max_shift must be at least 1, not {max_shift}")
