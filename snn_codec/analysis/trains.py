"""Spike-train statistics without regard to notes: how often rows fire, how regularly, and how much at once.

Synchrony is SPIKE-contrast (Ciba et al., Frontiers in Computational Neuroscience 12, 2018) by elephant (extra
`analysis`), of the busiest rows in the first minute, which bounds its time.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix

BUSIEST, SECONDS = 40, 60.0
EDGES = np.geomspace(0.01, 10, 31)  # seconds, of the histogram of intervals


class Trains(NamedTuple):
    """By row, float64 `[rows]`: events a second, median interval in s, and coefficient of variation of intervals.

    NaN with fewer than two events, or three for the variation. `histogram` int64 `[30]`: intervals of all rows between
    the `EDGES`, what lies outside in the first and last. `synchrony`: SPIKE-contrast, 0 to 1 for all at once; NaN with
    fewer than two rows that fire, or without elephant.
    """

    rate: np.ndarray
    interval: np.ndarray
    variation: np.ndarray
    histogram: np.ndarray
    synchrony: float


def trains(events: EventMatrix) -> Trains:
    """The statistics of one recording.

    Examples:
        >>> found = trains(codec.encode(sound, rate))  # doctest: +SKIP
        >>> found.rate.max(), found.synchrony  # doctest: +SKIP
    """
    steps, units = events.indices()
    order = np.argsort(units, kind="stable")
    steps, units = steps[order], units[order]
    same = units[1:] == units[:-1]
    gaps, of = np.diff(steps)[same] / events.step_rate, units[1:][same]
    interval, variation = (np.full(events.n_units, np.nan) for _ in range(2))
    borders = np.searchsorted(of, np.arange(events.n_units + 1))
    for unit, (start, stop) in enumerate(zip(borders, borders[1:], strict=False)):
        if stop > start:
            interval[unit] = np.median(gaps[start:stop])
        if stop > start + 1:
            variation[unit] = gaps[start:stop].std(ddof=1) / gaps[start:stop].mean()
    histogram, _ = np.histogram(np.clip(gaps, EDGES[0], EDGES[-1]), EDGES)
    rate = events.unit_counts() / events.duration
    return Trains(rate, interval, variation, histogram, _synchrony(events))


def _synchrony(events: EventMatrix) -> float:
    stop = min(events.n_steps, int(SECONDS * events.step_rate))
    dense = events.window(0, stop)
    busiest = np.argsort(-dense.sum(1), kind="stable")[:BUSIEST]
    try:
        return contrast(dense[busiest], events.step_rate)
    except UserError:
        return float("nan")


def contrast(fired: np.ndarray, step_rate: float) -> float:
    """SPIKE-contrast of bool `[rows, T]`, rows that never fire left out; NaN for fewer than two.

    Raises:
        UserError: elephant is not installed.
    """
    try:
        import neo
        from elephant.spike_train_synchrony import spike_contrast
    except ImportError as error:
        raise UserError('synchrony needs elephant: pip install "snn_codec[analysis]"') from error
    end = fired.shape[1] / step_rate
    some = [
        neo.SpikeTrain((np.flatnonzero(row) + 0.5) / step_rate, units="s", t_start=0, t_stop=end)
        for row in fired
        if row.any()
    ]
    if len(some) < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own deprecations
        return float(spike_contrast(some))
