"""How far the events of one machine are those of another.

Where few cells hold an event, nearly all cells are alike whatever fires: of `wide`, 99.6 % would be without any event.
So the share of events says more, of those that one or the other has.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from snn_codec.events import EventMatrix


class Agreement(NamedTuple):
    """`cells`: the share of cells that are alike; `events`: of the events in either, those in both, 1 if none are."""

    cells: float
    events: float

    def words(self) -> str:
        """`100 %` if all cells are alike; otherwise both shares, rounded down.

        Examples:
            >>> Agreement(1.0, 1.0).words(), Agreement(0.9999999, 0.98).words()
            ('100 %', '99.9999 % of cells, 98.0000 % of events')
        """
        if self.cells == 1:
            return "100 %"
        return f"{rounded_down(self.cells, 4)} % of cells, {rounded_down(self.events, 4)} % of events"


def agreement(found: np.ndarray, expected: np.ndarray) -> Agreement:
    """Compare events, bool `[units, steps]` each."""
    return _shares(int(np.sum(found & expected)), int(np.sum(found | expected)), found.size)


def agreement_of(found: EventMatrix, expected: EventMatrix) -> Agreement:
    """Compare the events of a recording, chunk by chunk: all cells of an hour of 38 400 units would be gigabytes."""
    both = 0
    for pair in zip(found.chunk_cells(), expected.chunk_cells(), strict=True):
        one, other = (step * found.n_units + unit for step, unit in (cells.indices() for cells in pair))
        both += len(np.intersect1d(one, other, assume_unique=True))
    return _shares(both, found.n_events + expected.n_events - both, found.n_cells)


def _shares(both: int, either: int, cells: int) -> Agreement:
    """Of events in both, and in one or the other, among all cells."""
    return Agreement(1 - (either - both) / cells, both / either if either else 1.0)


def rounded_down(share: float, digits: int) -> str:
    """A share in percent, which is 100 only if all are.

    >>> rounded_down(0.999999, 3), rounded_down(1.0, 3)
    ('99.999', '100.000')
    """
    return f"{math.floor(share * 100 * 10**digits + 1e-6) / 10**digits:.{digits}f}"
