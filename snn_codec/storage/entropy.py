"""The fifth format: a range coder and what it expects of each cell.

A probability model says, cell by cell, how likely an event is, from the cells before it; the coder
(`constriction`) spends -log2 of the probability of what happens. Reader and writer must compute the very same
probabilities, so all of this is integer arithmetic, and a probability is one of k / 65536. Cells go step by
step, and by unit within a step.

    counted     every cell is as likely as the events still to come among the cells still to come, so that any
                matrix of K events costs log2 C(N T, K) (`snn_codec.costs.floor_bits`)
    adaptive    learns, within the matrix, each unit's rate, and how much likelier than its rate a unit fires
                after what it did in the last steps and after how many units fired in the last one
    learned     an integer network that ships with a checkpoint (`snn_codec.storage.context`)

`counted` and `adaptive` need no checkpoint; the number of events K stands before them.
"""

from __future__ import annotations

from collections.abc import Iterator

import constriction
import numpy as np

RangeDecoder = constriction.stream.queue.RangeDecoder
RangeEncoder = constriction.stream.queue.RangeEncoder
Bernoulli = constriction.stream.model.Bernoulli

ONE = 1 << 16  # a probability of one; what is coded with stays inside 1..ONE - 1

# Prior strengths, in cells: so long a unit, and a context, counts as being like all others.
UNIT_PRIOR = 64
CONTEXT_PRIOR = 64
HISTORY = 3  # of a unit's own last steps that are told apart

_CELLS = Bernoulli(perfect=False)  # its parameters are passed with each call


class EntropyError(ValueError):
    """Bytes that are not the code of a matrix of the given shape."""


def encode_cells(cells: np.ndarray, probabilities: np.ndarray) -> bytes:
    """Code of bool `[n]`, each an event with probability `probabilities / 65536`, within a byte of the ideal."""
    encoder = RangeEncoder()
    encoder.encode(cells.astype(np.int32), _CELLS, (probabilities / ONE).astype(np.float32))
    return _shortest(encoder)


def ideal_bits(cells: np.ndarray, probabilities: np.ndarray) -> float:
    """Bits that no coder can beat with these probabilities: the sum of -log2 of what happened."""
    happened = np.where(cells, probabilities, ONE - probabilities)
    return float(np.log2(ONE / happened).sum())


def decoder(data: bytes) -> RangeDecoder:
    """A range decoder of `encode_cells`."""
    words = data + bytes(-len(data) % 4 + 8)
    return RangeDecoder(np.frombuffer(words, ">u4").astype(np.uint32))


def decode_cells(source: RangeDecoder, probabilities: np.ndarray) -> np.ndarray:
    """The next cells of a code, bool as `probabilities`.

    Raises:
        EntropyError: No encoder makes such a code.
    """
    try:
        return source.decode(_CELLS, (probabilities / ONE).astype(np.float32)).astype(bool)
    except AssertionError as error:
        raise EntropyError("the code is not one that an encoder makes") from error


def encode_counted(events: np.ndarray) -> bytes:
    """A bool matrix `[units, steps]` by the `counted` model; the reader must know K."""
    cells, probabilities = _counted(events)
    return encode_cells(cells, probabilities)


def decode_counted(data: bytes, units: int, steps: int, n_events: int) -> np.ndarray:
    """The bool matrix `[units, steps]` of `n_events` events that `encode_counted` made `data` of.

    Raises:
        EntropyError: There is none.
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
    """A bool matrix `[units, steps]` by the `adaptive` model; the reader must know K."""
    return encode_cells(events.T.ravel(), _adaptive_probabilities(events).ravel())


def decode_adaptive(data: bytes, units: int, steps: int, n_events: int) -> np.ndarray:
    """The bool matrix `[units, steps]` of `n_events` events that `encode_adaptive` made `data` of.

    Raises:
        EntropyError: There is none.
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
    """Ideal bits of a bool matrix `[units, steps]` by `counted` and `adaptive`, without the number of events."""
    cells = events.T.ravel()
    return {
        "counted": ideal_bits(*_counted(events)),
        "adaptive": ideal_bits(cells, _adaptive_probabilities(events).ravel()),
    }


def _shortest(encoder: RangeEncoder) -> bytes:
    """The fewest bytes that, with zeros after them, lie in the encoder's final interval."""
    (n_words, (lower, width)) = encoder.pos()
    sealed = encoder.get_compressed().astype(">u4").tobytes()
    if lower + width > 1 << 64:  # the interval reaches into words already written: leave them as they are
        return sealed.rstrip(b"\0")
    for shift in range(64, -1, -8):
        point = -(-lower >> shift) << shift
        if point < min(lower + width, 1 << 64):
            break
    return (sealed[: 4 * n_words] + point.to_bytes(8, "big")).rstrip(b"\0")


def _check_count(n_events: int, units: int, steps: int) -> int:
    if not 0 <= n_events <= units * steps:
        raise EntropyError(f"{n_events} events do not fit into {units} x {steps} cells")
    return n_events


def _share(part: int | np.ndarray, whole: int | np.ndarray) -> int | np.ndarray:
    """part / whole as a probability that can be coded with; integers, rounded down."""
    return np.clip(part * ONE // whole, 1, ONE - 1)


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
    """The `adaptive` model between two steps."""

    def __init__(self, units: int, steps: int, n_events: int) -> None:
        self.units, self.steps, self.left = units, steps, n_events
        self.step = 0
        self.own = np.zeros(units, np.int64)  # the last HISTORY steps of each unit, as bits
        self.context = self.own
        self.fired = np.zeros(units, np.int64)
        self.seen = np.zeros(3 << HISTORY, np.int64)  # events by context, in 1 / ONE
        self.expected = np.zeros(3 << HISTORY, np.int64)  # what the units' rates alone made of them
        self.mean = n_events // steps

    def probabilities(self) -> np.ndarray:
        """Of an event, of each unit in the next step: int64 `[units]`, in 1 / ONE."""
        common = _share(self.left, (self.steps - self.step) * self.units)
        self.rate = np.clip((self.fired * ONE + UNIT_PRIOR * common) // (self.step + UNIT_PRIOR), 1, ONE - 1)
        prior = CONTEXT_PRIOR * common
        odds = self.rate * (self.seen[self.context] + prior)
        against = (ONE - self.rate) * (self.expected[self.context] + prior)
        return np.clip(odds // np.maximum((odds + against) >> 16, 1), 1, ONE - 1)

    def update(self, events: np.ndarray) -> None:
        """Take in what the step was: bool `[units]`."""
        self.seen += ONE * np.bincount(self.context, events, minlength=len(self.seen)).astype(np.int64)
        self.expected += np.bincount(self.context, self.rate, minlength=len(self.seen)).astype(np.int64)
        self.fired += events
        self.own = ((self.own << 1) | events) & ((1 << HISTORY) - 1)
        n_events = int(np.count_nonzero(events))
        activity = 2 if 2 * n_events > 3 * self.mean + 2 else int(2 * n_events > self.mean)
        self.context = self.own + (activity << HISTORY)
        self.left = max(0, self.left - n_events)
        self.step += 1


def _adaptive_probabilities(events: np.ndarray) -> np.ndarray:
    """Of every cell, int64 `[steps, units]`."""
    return np.stack(list(_walk(events)))


def _walk(events: np.ndarray) -> Iterator[np.ndarray]:
    model = _Adaptive(*events.shape, int(np.count_nonzero(events)))
    for step in events.T:
        yield model.probabilities()
        model.update(step)
