"""All measures of one model over a set of recordings, with intervals.

Recordings are taken one after the other, and rows `TOGETHER` at a time, so that memory depends on neither the number of
recordings nor, but for the results, on that of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from snn_codec.analysis import correlation, notes, nulls
from snn_codec.analysis.correlation import Correlation
from snn_codec.analysis.needed import Needed, needed
from snn_codec.analysis.notes import KEYS, Grid, Score
from snn_codec.analysis.nulls import Null
from snn_codec.analysis.rows import Rows, every_unit
from snn_codec.analysis.times import PAPER, Steps, Times
from snn_codec.analysis.tuning import Dependence, Tuning, tuning
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.stats import jackknife

GROUPS = 20  # of recordings, left out one after the other for the intervals; bounds memory
TOGETHER = 128  # rows measured at once, which bounds memory for models of many


@dataclass(frozen=True, eq=False)
class Study:
    """The results of one model; arrays are `[rows, 88]` unless said.

    Attributes:
        model: A name for it, and `fingerprint` of its checkpoint.
        rows: What a row is: a unit, or the units of one bin or note.
        recordings: Their names; `lags`, for each, the lag found in the data (steps) and how clear it is.
        steps, events: Sums over recordings, events of all units; `step_rate` is steps per second.
        times: The spans asked for; `half_width`, steps to both sides of an onset that count as near.
        fired: int64 `[rows]`, steps at which a row fired.
        counts: Eq. 9, int64 `[rows, 88, lags]`; `onsets` int64 `[88]`, those that went in.
        prominence: As the paper's; `corrected` for chance.
        shifts, jitter: The two null models.
        tuning: Of each row.
        parts: The jitter null of groups of recordings.
    """

    model: str
    fingerprint: str
    rows: Rows
    recordings: list[str]
    lags: list[tuple[int, float]]
    steps: int
    events: int
    step_rate: float
    times: Times
    fired: np.ndarray
    counts: np.ndarray
    onsets: np.ndarray
    shifts: Null
    jitter: Null
    tuning: Tuning
    parts: list[Null]

    @property
    def half_width(self) -> int:
        """Steps to both sides of an onset that count as near."""
        return self.times.on(self.step_rate).half_width

    @property
    def seconds(self) -> float:
        """Length of all recordings together."""
        return self.steps / self.step_rate

    @cached_property
    def needed(self) -> Needed:
        """How many onsets each row's selectivity needs (`snn_codec.analysis.needed`)."""
        return needed(self.jitter)

    @property
    def prominence(self) -> np.ndarray:
        """Peak prominence, float64 `[rows, 88]`, as the paper's."""
        return correlation.prominence(self.counts, self.half_width)

    @property
    def chance(self) -> float:
        """The prominence of a row without a relation to a key."""
        return correlation.chance(self.half_width, self.counts.shape[-1] // 2)

    @property
    def corrected(self) -> np.ndarray:
        """Prominence corrected for chance, float64 `[rows, 88]` (`correlation.corrected`)."""
        return correlation.corrected(self.prominence, self.chance)

    def summary(self) -> dict[str, Any]:
        """One flat dict; a value `[estimate, low, high]` has a jackknife 95 % interval over recordings.

        The largest prominence is that of keys with at least `nulls.FEWEST` onsets; it has no interval, since the
        jackknife does not hold for a maximum. A unit is note-selective if it fires more near the onsets of some key, at
        a false-discovery rate of 5 % over all pairs (jitter null).
        """

        def units(null: Null) -> float:
            return float(null.selective().any(1).sum())

        def pairs(null: Null) -> float:
            return float(null.selective().sum())

        whole, parts = (self.jitter,), [(null,) for null in self.parts]
        tested = self.jitter.tested
        values = self.prominence[tested & (self.counts.sum(-1) > 0)]
        index = self.tuning.selectivity[np.isfinite(self.tuning.selectivity)]
        nan = float("nan")
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "recordings": len(self.recordings),
            "seconds": self.seconds,
            "units": len(self.rows.of),
            "rows": self.rows.kind,
            "n_rows": self.rows.number,
            "density": self.events / (self.steps * len(self.rows.of)),
            "events_per_second": self.events / self.seconds,
            "onsets": int(self.onsets.sum()),
            "half_width": self.half_width,
            "half_width_ms": self.times.half_width_ms,
            "lags_ms": self.times.lags_ms,
            "chance": self.chance,
            "mean_prominence": float(values.mean()) if len(values) else nan,
            "max_prominence": [float(values.max()) if len(values) else nan, nan, nan],
            "tested_pairs": int(tested.sum()),
            "tested_keys": int(tested.any(0).sum()),
            "minutes_needed": self.seconds / 60 * self.needed.share,
            "selective_pairs": jackknife(pairs, whole, parts),
            "selective_units": jackknife(units, whole, parts),
            "selective_units_shift_null": int(self.shifts.selective().any(1).sum()),
            "median_selectivity_index": float(np.median(index)) if len(index) else float("nan"),
            "median_lag_steps": (lag := float(np.median([lag for lag, _ in self.lags]))),
            "median_lag_ms": lag / self.step_rate * 1000,
            "median_lag_clearness": float(np.median([clear for _, clear in self.lags])),
        }


class _Part:
    """Sums over recordings for some of the rows.

    Attributes:
        groups: The jitter null of groups of recordings.
    """

    def __init__(self, rows: slice, steps: Steps):
        self.rows, self.steps = rows, steps
        self.counts: np.ndarray | None = None
        self.shifts: Null | None = None
        self.dependence = Dependence(rows.stop - rows.start, steps.half_width)
        self.groups: list[Null] = []
        self.recordings = 0

    def add(self, events: np.ndarray, grid: Grid, played: np.ndarray) -> np.ndarray:
        """Add a recording: bool `[rows, T]`, notes, and their onsets bool `[88, T]`; how many onsets went in."""
        width = self.steps.half_width
        sums = Correlation(len(events), lags=self.steps.lags)
        sums.add(events, played)
        found = sums.counts()
        self.counts = found if self.counts is None else self.counts + found
        null = nulls.shifts(events, played, width)
        self.shifts = null if self.shifts is None else self.shifts + null
        self.dependence.add(events, grid)
        jitter = nulls.jitter(events, played, width, self.steps.second)
        if len(self.groups) < GROUPS:
            self.groups.append(jitter)
        else:
            place = self.recordings % GROUPS
            self.groups[place] = self.groups[place] + jitter
        self.recordings += 1
        return sums.onsets


def study(
    recordings: Iterable[tuple[str, EventMatrix, Score]],
    model: str = "",
    *,
    rows: Rows | None = None,
    times: Times = PAPER,
    progress: Callable[[int], None] = lambda done: None,
) -> Study:
    """Measure a model: for each recording a name, its events and its notes.

    Args:
        rows: Units to take together (`snn_codec.analysis.rows`); without, each by itself.

    Raises:
        UserError: No recordings, of different models or grids, or too many units.

    Examples:
        >>> grouped = rows_of(codec.settings.unit_hertz(), codec.settings.units)  # doctest: +SKIP
        >>> study([("bach", codec.encode(sound, rate), notes.read("bach.mid"))], "wide", rows=grouped)  # doctest: +SKIP
    """
    names, lags, n_steps, events = [], [], 0, 0
    first: EventMatrix | None = None
    onsets, fired = np.zeros(KEYS, np.int64), np.zeros(0, np.int64)
    parts: list[_Part] = []
    for number, (name, matrix, score) in enumerate(recordings):
        if first is None:
            first, steps = matrix, times.on(matrix.step_rate)
            rows = every_unit(matrix.n_units, name) if rows is None else rows
            fired = np.zeros(rows.number, np.int64)
            edges = [*range(0, rows.number, TOGETHER), rows.number]
            parts = [_Part(slice(*each), steps) for each in zip(edges, edges[1:], strict=False)]
        assert rows is not None
        _check_alike(name, first, matrix)
        score.check_overlap(name, matrix.duration)
        grid, merged = score.on(matrix), rows.merged(matrix)
        played, dense = grid.onsets(), merged.events
        counted = [part.add(dense[part.rows], grid, played) for part in parts]
        onsets, fired = onsets + counted[0], fired + merged.unit_counts()
        names.append(name)
        lags.append(notes.lag(merged, grid, reach=steps.second))
        n_steps, events = n_steps + matrix.n_steps, events + matrix.n_events
        progress(number + 1)
    if first is None or rows is None:
        raise UserError("there are no recordings to analyse; give at least one")
    found = _joined(parts, steps)
    whole = (model, first.fingerprint, rows, names, lags, n_steps, events, first.step_rate, times, fired)
    return Study(*whole, onsets=onsets, **found)


def _joined(parts: Sequence[_Part], steps: Steps) -> dict[str, Any]:
    """The measures of all rows, by the names that `Study` has for them."""
    groups = [Null.stacked(some) for some in zip(*(part.groups for part in parts), strict=True)]
    jitter = groups[0]
    for null in groups[1:]:
        jitter = jitter + null
    counts = np.concatenate([part.counts for part in parts])
    dependent = np.concatenate([part.dependence.correlations() for part in parts], 1)
    return {
        "counts": counts,
        "shifts": Null.stacked([part.shifts for part in parts if part.shifts is not None]),
        "jitter": jitter,
        "tuning": tuning(counts, jitter, dependent, steps.half_width, steps.second),
        "parts": groups,
    }


def _check_alike(name: str, first: EventMatrix, other: EventMatrix) -> None:
    for field in ("fingerprint", "n_units", "sample_rate", "hop"):
        one, two = getattr(first, field), getattr(other, field)
        if one != two:
            raise UserError(
                f"{name}: its {field} is {two}, but {one} in the first recording; analyse them apart"
            )
