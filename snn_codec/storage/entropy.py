"""The fifth format: a range coder, and the probability models that it codes with.

A model gives the probability p of an event in each cell, from the cells before it; the range coder (`constriction`)
spends -log2 p bits on an event and -log2 (1 - p) on a cell without one. Encoder and decoder must compute the same
probabilities, so the models use integer arithmetic, and p is k / 65536. Cells are coded step by step, and by unit
within a step.

    counted     p = events left / cells left, so that a matrix of K events costs log2 C(N T, K)
                (`snn_codec.costs.floor_bits`)
    adaptive    p from the rate of each unit, its own last 3 steps and the number of units that fired in the last step,
                all estimated from the cells coded so far
    learned     p from an integer network that ships with a checkpoint (`snn_codec.storage.entropy_model`)

`counted` and `adaptive` need no checkpoint; the number of events K is stored in front of their code.

Departs: the paper has the four formats of `snn_codec.storage.formats` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import constriction
import numpy as np

if TYPE_CHECKING:  # constriction has no types
    RangeDecoder: TypeAlias = Any
    RangeEncoder: TypeAlias = Any
else:
    RangeDecoder = constriction.stream.queue.RangeDecoder
    RangeEncoder = constriction.stream.queue.RangeEncoder

Numbers: TypeAlias = Any  # an integer or an array of integers; what is computed from them is the same
Bernoulli = constriction.stream.model.Bernoulli

ONE = 1 << 16  # a probability of one; those that are coded with are 1 to ONE - 1

# Prior strengths, in cells: how much the rate common to all weighs against that of a unit, and of a context.
UNIT_PRIOR = 64
CONTEXT_PRIOR = 64
HISTORY = 3  # of a unit's own last steps that make a context
N_CONTEXTS = 3 << HISTORY

_CELLS = Bernoulli(perfect=False)  # its parameters are passed with each call


class EntropyError(ValueError):
    """Bytes that are not the code of a matrix of the given shape."""


def encode_cells(cells: np.ndarray, probabilities: np.ndarray) -> bytes:
    """Range-code bool `[n]`, each True with probability `probabilities / 65536` (int `[n]`, 1 to 65535).

    The code is at most a byte longer than `ideal_bits`.

    Examples:
        >>> cells = np.array([True, False, False])
        >>> code = encode_cells(cells, np.full(3, 20_000))
        >>> decode_cells(decoder(code), np.full(3, 20_000)).tolist()
        [True, False, False]
    """
    encoder = RangeEncoder()
    encoder.encode(cells.astype(np.int32), _CELLS, (probabilities / ONE).astype(np.float32))
    return shortest(encoder)


def ideal_bits(cells: np.ndarray, probabilities: np.ndarray) -> float:
    """The ideal code length in bits: the sum of -log2 of the probability of each cell's value."""
    happened = np.where(cells, probabilities, ONE - probabilities)
    return float(np.log2(ONE / happened).sum())


def decoder(data: bytes) -> RangeDecoder:
    """A range decoder for the bytes of `encode_cells`."""
    words = data + bytes(-len(data) % 4 + 8)
    return RangeDecoder(np.frombuffer(words, ">u4").astype(np.uint32))


def decode_cells(source: RangeDecoder, probabilities: np.ndarray) -> np.ndarray:
    """Decode the next cells, bool of the shape of `probabilities` (int, in 1/65536).

    Raises:
        EntropyError: The bytes are not the code of any cells.
    """
    return decode_shares(source, (probabilities / ONE).astype(np.float32))


def decode_shares(source: RangeDecoder, shares: np.ndarray) -> np.ndarray:
    """As `decode_cells`, of probabilities in units of one, float32."""
    try:
        return source.decode(_CELLS, shares).astype(bool)
    except AssertionError as error:
        raise EntropyError("the code is not one that an encoder makes") from error


def encode_counted(events: np.ndarray) -> bytes:
    """Code a bool matrix `[units, steps]` by the `counted` model; the decoder must be given K."""
    cells, probabilities = _counted(events)
    return encode_cells(cells, probabilities)


def decode_counted(data: bytes, units: int, steps: int, n_events: int) -> np.ndarray:
    """Decode `encode_counted`: bool `[units, steps]` with `n_events` events.

    Raises:
        EntropyError: `data` is not the code of such a matrix.
    """
    source = decoder(data)
    events = np.zeros((steps, units), bool)
    left = _check_count(n_events, units, steps)
    for step in range(steps):
        if left == (steps - step) * units:
            events[step:] = True
            left = 0
        if left == 0:
            break
        probability = _share(left, (steps - step) * units)
        events[step] = decode_cells(source, np.full(units, probability))
        left -= int(np.count_nonzero(events[step]))
        if not 0 <= left <= (steps - step - 1) * units:
            raise EntropyError("the code has another number of events")
    return events.T


def encode_adaptive(events: np.ndarray) -> bytes:
    """Code a bool matrix `[units, steps]` by the `adaptive` model; the decoder must be given K."""
    return encode_cells(events.T.ravel(), _adaptive_probabilities(events).ravel())


def decode_adaptive(data: bytes, units: int, steps: int, n_events: int) -> np.ndarray:
    """Decode `encode_adaptive`: bool `[units, steps]` with `n_events` events.

    Raises:
        EntropyError: `data` is not the code of such a matrix.
    """
    source = decoder(data)
    events = np.zeros((steps, units), bool)
    model = _Adaptive(units, steps, _check_count(n_events, units, steps))
    for step in range(steps):
        events[step] = decode_cells(source, model.probabilities())
        model.update(events[step])
    if np.count_nonzero(events) != n_events:
        raise EntropyError("the code has another number of events")
    return events.T


def bits(events: np.ndarray) -> dict[str, float]:
    """Ideal code length in bits of a bool matrix `[units, steps]`, by model; without that of K."""
    cells = events.T.ravel()
    return {
        "counted": ideal_bits(*_counted(events)),
        "adaptive": ideal_bits(cells, _adaptive_probabilities(events).ravel()),
    }


def shortest(encoder: RangeEncoder) -> bytes:
    """The fewest bytes that, with zeros after them, lie in the encoder's final interval."""
    n_words, (lower, width) = encoder.pos()  # the interval, bar the words already written
    sealed = encoder.get_compressed().astype(">u4").tobytes().ljust(4 * n_words + 8, b"\0")
    point = int.from_bytes(sealed, "big")  # constriction's choice in the interval
    lower = point - (point - lower) % (1 << 64)
    for shift in range(64, -1, -8):
        point = -(-lower >> shift) << shift
        if point < lower + width:
            break
    return point.to_bytes(len(sealed), "big").rstrip(b"\0")


def _check_count(n_events: int, units: int, steps: int) -> int:
    if not 0 <= n_events <= units * steps:
        raise EntropyError(f"{n_events} events do not fit into {units} x {steps} cells")
    return n_events


def _counted(events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells that `counted` has to code, and their probabilities."""
    units, steps = events.shape
    fired = np.count_nonzero(events, axis=0)
    left = fired.sum() - np.cumsum(fired) + fired
    room = units * np.arange(steps, 0, -1)
    open_steps = (left > 0) & (left < room)
    probabilities = np.repeat(_share(left[open_steps], room[open_steps]), units)
    return events.T[open_steps].ravel(), probabilities


class _Adaptive:
    """The `adaptive` model between two steps, as a decoder needs it; `_adaptive_probabilities` is the same at once."""

    def __init__(self, units: int, steps: int, n_events: int) -> None:
        self.units, self.steps, self.left = units, steps, n_events
        self.mean = n_events // steps
        self.step = 0
        self.own = np.zeros(units, np.int64)  # the last HISTORY steps of each unit, as bits
        self.context = self.own
        self.fired = np.zeros(units, np.int64)
        self.seen = np.zeros(N_CONTEXTS, np.int64)  # events by context
        self.expected = np.zeros(N_CONTEXTS, np.int64)  # what the units' rates alone made of them, in 1 / ONE

    def probabilities(self) -> np.ndarray:
        """Of an event, of each unit in the next step: int64 `[units]`, in 1 / ONE."""
        common = _share(self.left, (self.steps - self.step) * self.units)
        self.rate = _rate(self.fired, self.step, common)
        return _likelier(self.rate, self.seen[self.context], self.expected[self.context], common)

    def update(self, events: np.ndarray) -> None:
        """Take in what the step was: bool `[units]`."""
        n_events = int(np.count_nonzero(events))
        self.seen += np.bincount(self.context[events], minlength=N_CONTEXTS)
        self.expected += _sums(self.context, self.rate, N_CONTEXTS)
        self.fired += events
        self.own = ((self.own << 1) | events) & ((1 << HISTORY) - 1)
        self.context = self.own + (_activity(n_events, self.mean) << HISTORY)
        self.left = max(0, self.left - n_events)
        self.step += 1


def _adaptive_probabilities(events: np.ndarray) -> np.ndarray:
    """Of every cell by the `adaptive` model, int64 `[steps, units]`."""
    units, steps = events.shape
    cells = np.ascontiguousarray(events.T)
    per_step = np.count_nonzero(cells, axis=1)
    left = per_step.sum() - np.cumsum(per_step) + per_step
    common = _share(left, units * np.arange(steps, 0, -1))[:, None]
    fired = _before(cells.astype(np.int64))
    rate = _rate(fired, np.arange(steps)[:, None], common)
    context = np.zeros((steps, units), np.int64)
    for back in range(1, min(HISTORY, steps - 1) + 1):
        context[back:] |= cells[:-back].astype(np.int64) << (back - 1)
    context[1:] += (_activity(per_step[:-1], int(per_step.sum()) // steps) << HISTORY)[:, None]
    place = context + N_CONTEXTS * np.arange(steps)[:, None]
    seen = np.bincount(place[cells], minlength=steps * N_CONTEXTS).reshape(steps, N_CONTEXTS)
    expected = _sums(place.ravel(), rate.ravel(), steps * N_CONTEXTS).reshape(steps, N_CONTEXTS)
    seen, expected = _before(seen).ravel()[place], _before(expected).ravel()[place]
    return _likelier(rate, seen, expected, common)


def _rate(fired: np.ndarray, steps: int | np.ndarray, common: Numbers) -> Any:
    """A unit's own probability after `fired` events in `steps` steps, where all units together have `common`."""
    return _coded((fired * ONE + UNIT_PRIOR * common) // (steps + UNIT_PRIOR))


def _likelier(
    rate: np.ndarray, seen: np.ndarray, expected: np.ndarray, common: int | np.ndarray
) -> np.ndarray:
    """`rate` with its odds multiplied by seen / expected of the cell's context."""
    prior = CONTEXT_PRIOR * common
    odds = rate * (seen * ONE + prior)
    against = (ONE - rate) * (expected + prior)
    return _coded(odds // np.maximum((odds + against) >> 16, 1))


def _activity(n_events: Numbers, mean: int) -> Any:
    """0, 1 or 2: a step with few, with about as many, or with many more events than the mean."""
    return (2 * n_events > mean) + (2 * n_events > 3 * mean + 2) * np.int64(1)


def _share(part: Numbers, whole: Numbers) -> Any:
    """part / whole as a probability that can be coded with."""
    return _coded(part * ONE // whole)


def _coded(probability: Numbers) -> Any:
    return np.minimum(np.maximum(probability, 1), ONE - 1)


def _before(values: np.ndarray) -> np.ndarray:
    """Sums over all earlier rows."""
    return np.cumsum(values, axis=0) - values


def _sums(places: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Of the values of each place; float64 adds integers of this size exactly."""
    return np.bincount(places, values, size).astype(np.int64)
