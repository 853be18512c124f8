"""How an event matrix keeps its cells: as a dense matrix, or, if it is large and sparse, as the units of each step.

Both forms answer the same questions, and `stored` and `Builder` choose between them by size alone, so equal events
have equal forms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DENSE_CELLS = 1 << 22  # up to so many cells a dense matrix is small enough, and quicker
POINTER_BYTES = 8
BLOCK_CELLS = 1 << 22  # looked at together, which needs many times the memory as lists of events


@dataclass(frozen=True, eq=False)
class Dense:
    """A bool matrix `[units, steps]`."""

    matrix: NDArray[np.bool_]

    @property
    def shape(self) -> tuple[int, int]:
        """Units and steps."""
        units, steps = self.matrix.shape
        return units, steps

    @property
    def n_events(self) -> int:
        """K, the number of events."""
        return int(np.count_nonzero(self.matrix))

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.matrix.nbytes

    def window(self, start: int, stop: int) -> NDArray[np.bool_]:
        """The events of steps [start, stop): bool `[units, stop - start]`."""
        return self.matrix[:, start:stop]

    def part(self, start: int, stop: int) -> Dense:
        """The steps [start, stop), in the same form."""
        return Dense(self.window(start, stop))

    def indices(self, start: int = 0, stop: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Step and unit of every event of steps [start, stop), by step and then by unit; the first step is 0."""
        # six times as quick as `nonzero` of two axes
        places = np.flatnonzero(np.ascontiguousarray(self.matrix[:, start:stop].T))
        steps, units = np.divmod(places, len(self.matrix))
        return steps, units

    def step_counts(self) -> NDArray[np.int64]:
        """Events of each step: int64 `[steps]`."""
        return np.asarray(np.count_nonzero(self.matrix, axis=0), np.int64)

    def unit_counts(self) -> NDArray[np.int64]:
        """Events of each unit: int64 `[units]`."""
        return np.asarray(np.count_nonzero(self.matrix, axis=1), np.int64)


@dataclass(frozen=True, eq=False)
class Sparse:
    """The units of each step's events, ascending: those of step t are `units[pointers[t] : pointers[t + 1]]`."""

    n_units: int
    pointers: NDArray[np.int64]
    units: NDArray[np.unsignedinteger]

    @property
    def shape(self) -> tuple[int, int]:
        """Units and steps."""
        return self.n_units, len(self.pointers) - 1

    @property
    def n_events(self) -> int:
        """K, the number of events."""
        return len(self.units)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.pointers.nbytes + self.units.nbytes

    def window(self, start: int, stop: int) -> NDArray[np.bool_]:
        """The events of steps [start, stop): bool `[units, stop - start]`."""
        matrix = np.zeros((self.n_units, stop - start), bool)
        bounds = self.pointers[start : stop + 1]
        steps = np.repeat(np.arange(stop - start), np.diff(bounds))
        matrix[self.units[bounds[0] : bounds[-1]], steps] = True
        matrix.flags.writeable = False
        return matrix

    def part(self, start: int, stop: int) -> Sparse:
        """The steps [start, stop), in the same form."""
        bounds = self.pointers[start : stop + 1]
        return Sparse(self.n_units, bounds - bounds[0], self.units[bounds[0] : bounds[-1]])

    def indices(self, start: int = 0, stop: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Step and unit of every event of steps [start, stop), by step and then by unit; the first step is 0."""
        bounds = self.pointers[start:][: None if stop is None else stop - start + 1]
        steps = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        return steps, self.units[bounds[0] : bounds[-1]].astype(np.int64)

    def step_counts(self) -> NDArray[np.int64]:
        """Events of each step: int64 `[steps]`."""
        return np.diff(self.pointers)

    def unit_counts(self) -> NDArray[np.int64]:
        """Events of each unit: int64 `[units]`."""
        return np.bincount(self.units, minlength=self.n_units)


Cells = Dense | Sparse


def silence(n_units: int, n_steps: int) -> Sparse:
    """No events."""
    return Sparse(n_units, np.zeros(n_steps + 1, np.int64), np.zeros(0, unit_type(n_units)))


def equal(one: Cells, other: Cells) -> bool:
    """Whether both hold the same events of as many units and steps."""
    if one.shape != other.shape:
        return False
    if isinstance(one, Dense) and isinstance(other, Dense):
        return bool(np.array_equal(one.matrix, other.matrix))
    pairs = zip(one.indices(), other.indices(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def is_sparse(n_units: int, n_steps: int, n_events: int) -> bool:
    """Whether so many events are kept as a list: the matrix is large, and the list is half of it or less."""
    cells = n_units * n_steps
    return cells > DENSE_CELLS and 2 * sparse_bytes(n_units, n_steps, n_events) <= cells


def sparse_bytes(n_units: int, n_steps: int, n_events: int) -> int:
    """Bytes of memory of `Sparse`."""
    return POINTER_BYTES * (n_steps + 1) + unit_type(n_units).itemsize * n_events


def blocks(n_units: int, n_steps: int) -> Iterator[tuple[int, int]]:
    """First and last step (not included) of parts of a matrix that keep memory bounded when iterating over it."""
    size = max(1, BLOCK_CELLS // n_units)
    for start in range(0, n_steps, size):
        yield start, min(start + size, n_steps)


def unit_type(n_units: int) -> np.dtype[np.unsignedinteger]:
    """The smallest type that holds a unit's number."""
    return np.dtype(np.uint16 if n_units <= 1 << 16 else np.uint32)


def stored(matrix: NDArray[np.bool_]) -> Cells:
    """A copy of a bool matrix `[units, steps]`, read-only."""
    units, steps = matrix.shape
    if is_sparse(units, steps, int(np.count_nonzero(matrix))):
        builder = Builder(units)
        for start, stop in blocks(units, steps):
            builder.append(matrix[:, start:stop])
        return builder.build()
    return _frozen(Dense(matrix.copy()))


def listed(steps: NDArray[np.integer], units: NDArray[np.integer], n_units: int, n_steps: int) -> Cells:
    """The cells of these events, given in any order.

    Raises:
        ValueError: An event lies outside, or is there twice; or the lists are not of one length, or not of integers.
    """
    steps, units = np.asarray(steps), np.asarray(units)
    if steps.ndim != 1 or steps.shape != units.shape:
        raise ValueError(
            f"steps and units must be two lists of one length, not {steps.shape} and {units.shape}"
        )
    if steps.size and not {steps.dtype.kind, units.dtype.kind} <= {"i", "u"}:
        raise ValueError(
            f"steps and units must be integers, not {steps.dtype} and {units.dtype} (did you pass seconds?)"
        )
    steps, units = steps.astype(np.int64, copy=False), units.astype(np.int64, copy=False)
    if steps.size:
        if min(np.min(steps), np.min(units)) < 0 or np.max(steps) >= n_steps or np.max(units) >= n_units:
            raise ValueError(f"an event lies outside {n_units} units and {n_steps} steps")
        places = steps * n_units + units
        if np.any(places[1:] <= places[:-1]):
            places.sort()
            if np.any(places[1:] == places[:-1]):
                raise ValueError("an event is there twice")
            steps, units = np.divmod(places, n_units)
    if is_sparse(n_units, n_steps, len(units)):
        pointers = np.concatenate([[0], np.cumsum(np.bincount(steps, minlength=n_steps))]).astype(np.int64)
        return _frozen(Sparse(n_units, pointers, units.astype(unit_type(n_units))))
    matrix = np.zeros((n_units, n_steps), bool)
    matrix[units, steps] = True
    return _frozen(Dense(matrix))


class Builder:
    """Collects a recording's events part by part, so that no dense matrix of a long one is ever held.

    Args:
        n_units: N of every part.
    """

    def __init__(self, n_units: int) -> None:
        self.n_units = n_units
        self._parts: list[Cells] = []

    def append(self, part: NDArray[np.bool_] | Cells) -> None:
        """Add the next steps: bool `[units, steps]`, which is copied, or cells."""
        cells = part if isinstance(part, (Dense, Sparse)) else Dense(np.asarray(part))
        if cells.shape[0] != self.n_units:
            raise ValueError(f"a part has {cells.shape[0]} units, not {self.n_units}")
        if isinstance(cells, Dense):
            small = 2 * sparse_bytes(*cells.shape, cells.n_events) <= cells.matrix.size
            cells = _as_sparse(cells) if small else Dense(cells.matrix.copy())
        self._parts.append(cells)

    def build(self) -> Cells:
        """All parts as one."""
        n_steps = sum(part.shape[1] for part in self._parts)
        if is_sparse(self.n_units, n_steps, sum(part.n_events for part in self._parts)):
            return _frozen(_joined([_as_sparse(part) for part in self._parts]))
        matrix = np.zeros((self.n_units, n_steps), bool)
        start = 0
        for part in self._parts:
            stop = start + part.shape[1]
            matrix[:, start:stop] = part.window(0, part.shape[1])
            start = stop
        return _frozen(Dense(matrix))


def _as_sparse(cells: Cells) -> Sparse:
    if isinstance(cells, Sparse):
        return cells
    steps, units = cells.indices()
    pointers = np.searchsorted(steps, np.arange(cells.shape[1] + 1))
    return Sparse(cells.shape[0], pointers, units.astype(unit_type(cells.shape[0])))


def _joined(parts: Sequence[Sparse]) -> Sparse:
    counts = np.concatenate([part.step_counts() for part in parts])
    pointers = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Sparse(parts[0].n_units, pointers, np.concatenate([part.units for part in parts]))


def _frozen(cells: Cells) -> Cells:
    arrays = (cells.matrix,) if isinstance(cells, Dense) else (cells.pointers, cells.units)
    for array in arrays:
        array.flags.writeable = False
    return cells
