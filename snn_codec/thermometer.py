"""Which unit of a thermometer stands for which bin, sign and threshold (`snn_codec.models.thermometer`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snn_codec.cells import Dense, Sparse, unit_type


class Layout:
    """Units ordered by bin, so by frequency: of each bin the positive units by rising threshold, then the negative.

    Args:
        edges: Bins below which bands end, rising; the last is the number of bins.
        counts: Thresholds of each sign for every bin of a band.

    Attributes:
        bins: Number of bins K.
        units: Number of units N.
        bin: int64 `[N]`, the bin of each unit.
        sign: int64 `[N]`, 1 or -1.
        threshold: int64 `[N]`, the number of its threshold, from 0.
        count: int64 `[K]`, thresholds of each sign of a bin.
    """

    def __init__(self, edges: Sequence[int], counts: Sequence[int]):
        self.bins = int(edges[-1])
        self.count = np.repeat(np.asarray(counts, np.int64), np.diff([0, *edges]))
        self.bin = np.repeat(np.arange(self.bins), 2 * self.count)
        self.units = len(self.bin)
        self.first = np.cumsum(2 * self.count) - 2 * self.count  # the first unit of each bin
        place = np.arange(self.units) - self.first[self.bin]
        above = self.count[self.bin]
        self.sign = np.where(place < above, 1, -1)
        self.threshold = place % above

    def magnitudes(self, events: np.ndarray) -> np.ndarray | None:
        """Signed numbers of thresholds passed, int16 `[steps, K]`, of bool `[units, steps]`.

        None if no coefficients have these events: a threshold was passed but not one below it, or both signs were.
        """
        return self.magnitudes_of(*Dense(events).indices(), events.shape[1])

    def magnitudes_of(self, step: np.ndarray, unit: np.ndarray, steps: int) -> np.ndarray | None:
        """As `magnitudes`, of the step and unit of each event, by step and then by unit, among so many steps."""
        place = step * self.bins + self.bin[unit]
        size = steps * self.bins
        signed = np.bincount(place, self.sign[unit], size).astype(np.int16).reshape(-1, self.bins)
        again = self.indices(signed)
        return signed if len(again[0]) == len(step) and np.array_equal(again, (step, unit)) else None

    def indices(self, signed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(step, unit) of all events of signed int `[steps, K]`, sorted."""
        step, bin = np.nonzero(signed)
        value = signed[step, bin].astype(np.int64)
        passed = np.minimum(np.abs(value), self.count[bin])
        start = self.first[bin] + np.where(value < 0, self.count[bin], 0)
        within = np.arange(passed.sum()) - np.repeat(np.cumsum(passed) - passed, passed)
        return np.repeat(step, passed), np.repeat(start, passed) + within

    def events(self, signed: np.ndarray) -> np.ndarray:
        """The inverse of `magnitudes`: int `[steps, K]` -> bool `[units, steps]`."""
        events = np.zeros((self.units, len(signed)), bool)
        step, unit = self.indices(signed)
        events[unit, step] = True
        return events

    def cells(self, signed: np.ndarray) -> Sparse:
        """As `events`, as a list."""
        step, unit = self.indices(signed)
        pointers = np.searchsorted(step, np.arange(len(signed) + 1))
        return Sparse(self.units, pointers, unit.astype(unit_type(self.units)))


def levels(count: int, uniform: int, ratio: float) -> np.ndarray:
    """Magnitudes that a thermometer can say, in steps: 1, 2, ... `uniform`, then each `ratio` times the last."""
    values = [1.0]
    while len(values) < count:
        last = values[-1]
        values.append(last + 1 if last < uniform else max(last + 1, last * ratio))
    return np.array(values)
