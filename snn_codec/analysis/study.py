"""All measures of one model over a set of recordings, with intervals; recordings are taken one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from snn_codec.analysis import correlation, notes, nulls
from snn_codec.analysis.correlation import Correlation
from snn_codec.analysis.notes import KEYS, Grid, Score
from snn_codec.analysis.nulls import Null
from snn_codec.analysis.tuning import Dependence, Tuning, tuning
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.stats import jackknife

GROUPS = 20  # of recordings, left out one after the other for the intervals; bounds memory
MAX_UNITS = 4096  # of which cross-spectra with 88 keys take 3 GB


@dataclass(frozen=True, eq=False)
class Study:
    """What was found; arrays are `[units, 88]` unless said.

    Attributes:
        model: A name for it, and `fingerprint` of its checkpoint.
        recordings: Their names; `lags`, for each, the lag found in the data (steps) and how clear it is.
        steps, events: Sums over recordings; `step_rate` is steps per second.
        counts: Eq. 9, int64 `[units, 88, lags]`; `onsets` int64 `[88]`, those that went in.
        prominence: As the paper's; `corrected` for chance.
        shifts, jitter: The two null models.
        tuning: Of each unit.
        parts: For groups of recordings, the jitter null and the events near onsets and at all lags.
    """

    model: str
    fingerprint: str
    recordings: list[str]
    lags: list[tuple[int, float]]
    steps: int
    events: int
    step_rate: float
    half_width: int
    counts: np.ndarray
    onsets: np.ndarray
    shifts: Null
    jitter: Null
    tuning: Tuning
    parts: list[tuple[Null, np.ndarray, np.ndarray]]

    @property
    def prominence(self) -> np.ndarray:
        return correlation.prominence(self.counts, self.half_width)

    @property
    def chance(self) -> float:
        return correlation.chance(self.half_width, self.counts.shape[-1] // 2)

    @property
    def corrected(self) -> np.ndarray:
        return correlation.corrected(self.prominence, self.chance)

    def summary(self) -> dict[str, Any]:
        """One flat dict; a value `[estimate, low, high]` has a jackknife 95 % interval over recordings.

        The largest prominence is that of keys with at least `nulls.FEWEST` onsets. A unit is note-selective if it
        fires more near the onsets of some key, at a false-discovery rate of 5 % over all pairs (jitter null).
        """
        near = correlation.around_zero(self.counts, self.half_width)
        total = self.counts.sum(-1)

        def largest(null: Null, near: np.ndarray, total: np.ndarray) -> float:
            kept = null.tested & (total > 0)
            return float((near[kept] / total[kept]).max()) if kept.any() else float("nan")

        def units(null: Null, *_: np.ndarray) -> float:
            return float(null.selective().any(1).sum())

        def pairs(null: Null, *_: np.ndarray) -> float:
            return float(null.selective().sum())

        whole = (self.jitter, near, total)
        tested = self.jitter.tested
        values = self.prominence[tested & (total > 0)]
        index = self.tuning.selectivity[np.isfinite(self.tuning.selectivity)]
        peak = jackknife(largest, whole, self.parts)
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "recordings": len(self.recordings),
            "seconds": self.steps / self.step_rate,
            "units": len(self.counts),
            "density": self.events / (self.steps * len(self.counts)),
            "onsets": int(self.onsets.sum()),
            "half_width": self.half_width,
            "chance": self.chance,
            "mean_prominence": float(values.mean()) if len(values) else float("nan"),
            "max_prominence": peak,
            "tested_pairs": int(tested.sum()),
            "selective_pairs": jackknife(pairs, whole, self.parts),
            "selective_units": jackknife(units, whole, self.parts),
            "selective_units_shift_null": int(self.shifts.selective().any(1).sum()),
            "median_selectivity_index": float(np.median(index)) if len(index) else float("nan"),
            "median_lag_steps": float(np.median([lag for lag, _ in self.lags])),
        }


def study(
    recordings: Iterable[tuple[str, EventMatrix, Score]],
    model: str = "",
    *,
    half_width: int = correlation.HALF_WIDTH,
    progress: Callable[[int], None] = lambda done: None,
) -> Study:
    """Measure a model: for each recording a name, its events and its notes.

    Raises:
        UserError: No recordings, or of different models or grids.
    """
    names, lags, steps, events, first = [], [], 0, 0, None
    parts: list[tuple] = []
    counts = np.zeros(0)
    onsets, turned = np.zeros(KEYS, np.int64), None
    for number, (name, matrix, score) in enumerate(recordings):
        if first is None:
            first = matrix
            if matrix.n_units > MAX_UNITS:
                raise UserError(
                    f"{name}: its {matrix.n_units} units are too many to set against every key at every lag (at most "
                    f"{MAX_UNITS} are analysed); take a model with fewer, or read the events by EventMatrix.indices()"
                )
            dependence = Dependence(matrix.n_units, half_width)
        _check_alike(name, first, matrix)
        score.check_overlap(name, matrix.duration)
        grid: Grid = score.on(matrix)
        played = grid.onsets()
        sums = Correlation(matrix.n_units)
        sums.add(matrix.events, played)
        found = sums.counts()
        counts, onsets = (counts + found if number else found), onsets + sums.onsets
        null = nulls.shifts(matrix.events, played, half_width)
        turned = null if turned is None else turned + null
        dependence.add(matrix.events, grid)
        part = (
            nulls.jitter(matrix.events, played, half_width),
            correlation.around_zero(found, half_width),
            found.sum(-1),
        )
        if number < GROUPS:
            parts.append(part)
        else:
            place = number % GROUPS
            parts[place] = tuple(a + b for a, b in zip(parts[place], part, strict=True))
        names.append(name)
        lags.append(notes.lag(matrix, grid))
        steps, events = steps + matrix.n_steps, events + matrix.n_events
        progress(number + 1)
    if first is None or turned is None:
        raise UserError("there are no recordings to analyse; give at least one")
    jittered = parts[0][0]
    for null, *_ in parts[1:]:
        jittered = jittered + null
    return Study(
        model,
        first.fingerprint,
        names,
        lags,
        steps,
        events,
        first.step_rate,
        half_width,
        counts,
        onsets,
        turned,
        jittered,
        tuning(counts, jittered, dependence, half_width),
        parts,
    )


def _check_alike(name: str, first: EventMatrix, other: EventMatrix) -> None:
    for field in ("fingerprint", "n_units", "sample_rate", "hop"):
        one, two = getattr(first, field), getattr(other, field)
        if one != two:
            raise UserError(
                f"{name}: its {field} is {two}, but {one} in the first recording; analyse them apart"
            )
