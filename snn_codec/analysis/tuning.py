"""What each unit is tuned to: its best key, octaves and fifths, selectivity, latency, velocity and pedal.

The tuning curve is the z-score of each key under the jitter null (`snn_codec.analysis.nulls`), which is as sure
for keys that are played often as for others. Keys without a z-score take no part.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snn_codec.analysis.correlation import HALF_WIDTH
from snn_codec.analysis.notes import KEYS, Grid
from snn_codec.analysis.nulls import Null

OCTAVE, FIFTH = 12, 7
LATEST = 43  # steps within which a latency is sought: one second of the paper's


class Tuning(NamedTuple):
    """One value a unit, float64 `[units]`, NaN where it is not defined, but `best`: int64, -1 if there is none.

    Attributes:
        best: The key with the largest z-score, 0 to 87.
        response: Events more than chance within the window of an onset of that key.
        latency: Steps from the onset to the most frequent place of an event, of several the nearest to the onset;
            negative comes before.
        selectivity: Lifetime sparseness of the rates at onsets (Treves and Rolls; Vinje and Gallant, 2000):
            0 if all keys are alike, 1 if it fires for one.
        octave, fifth: Correlation of the tuning curve with itself an octave, a fifth higher.
        velocity, pedal: Correlation, over onsets of the same key, of the events in the window with the velocity,
            and with the pedal being down.
    """

    best: np.ndarray
    response: np.ndarray
    latency: np.ndarray
    selectivity: np.ndarray
    octave: np.ndarray
    fifth: np.ndarray
    velocity: np.ndarray
    pedal: np.ndarray


class Dependence:
    """Within-key correlation of responses with velocity and pedal, added up over recordings."""

    def __init__(self, units: int, half_width: int = HALF_WIDTH):
        self.half_width = half_width
        # for each key: onsets; sums of x, x^2 (x: velocity, pedal); of b, b^2, b x (b: events of a unit)
        self._n, self._x, self._xx = np.zeros(KEYS), np.zeros((2, KEYS)), np.zeros((2, KEYS))
        self._b, self._bb = np.zeros((units, KEYS)), np.zeros((units, KEYS))
        self._bx = np.zeros((2, units, KEYS))

    def add(self, events: np.ndarray, grid: Grid) -> None:
        """Add a recording: bool `[units, T]`, and its notes; windows are cut at its ends."""
        padded = np.pad(events, ((0, 0), (self.half_width + 1, self.half_width)))
        total = np.cumsum(padded, 1, dtype=np.int64)
        near = total[:, 2 * self.half_width + 1 + grid.onset] - total[:, grid.onset]
        of_key = np.zeros((len(grid.key), KEYS))
        of_key[np.arange(len(grid.key)), grid.key] = 1
        x = np.stack([grid.velocity, grid.pedal[grid.onset]]).astype(float)
        self._n += of_key.sum(0)
        self._x, self._xx = self._x + x @ of_key, self._xx + x**2 @ of_key
        self._b, self._bb = self._b + near @ of_key, self._bb + near**2 @ of_key
        self._bx += (near * x[:, None]) @ of_key

    def correlations(self) -> np.ndarray:
        """float64 `[2, units]`: velocity, pedal; NaN for what does not vary."""
        n = np.maximum(self._n, 1)
        xx = (self._xx - self._x**2 / n).sum(-1)
        bb = (self._bb - self._b**2 / n).sum(-1)
        bx = (self._bx - self._b * self._x[:, None] / n).sum(-1)
        varies = np.outer(xx, bb) > 1e-9
        return np.where(varies, bx / np.sqrt(np.where(varies, np.outer(xx, bb), 1)), np.nan)


def tuning(
    counts: np.ndarray,
    null: Null,
    dependent: np.ndarray,
    half_width: int = HALF_WIDTH,
    latest: int = LATEST,
) -> Tuning:
    """Compute the tuning of all units.

    Args:
        counts: Of `Correlation`, `[units, 88, lags]`.
        null: The jitter null of the same recordings.
        dependent: `Dependence.correlations` of the same recordings.
        latest: Steps from an onset within which a latency is sought.
    """
    z, tested = null.z(), null.tested
    some = tested.any(1)
    best = np.where(some, np.where(tested, z, -np.inf).argmax(1), -1)
    rows, middle = np.arange(len(z)), counts.shape[-1] // 2
    onsets = np.maximum(null.onsets, 1)
    response = ((null.observed - null.mean) / onsets)[rows, best]
    reach = min(latest, middle)
    around = counts[rows, best][:, middle - reach : middle + reach + 1]
    latency = np.where(around.any(1), _peak(around), np.nan)
    rates = null.observed / (onsets * (2 * half_width + 1))
    velocity, pedal = dependent
    found = (
        np.where(some, values, np.nan)
        for values in (
            response,
            latency,
            [_sparseness(rate[kept]) for rate, kept in zip(rates, tested, strict=True)],
            [_shifted(curve, OCTAVE) for curve in z],
            [_shifted(curve, FIFTH) for curve in z],
            velocity,
            pedal,
        )
    )
    return Tuning(best, *found)


def _peak(around: np.ndarray) -> np.ndarray:
    """Of counts at lags, zero in the middle, the steps to the largest; of equal ones to the nearest, then the later.

    To take the first or the last of equal ones would make rows that fire by chance look late, or early.
    """
    reach = around.shape[1] // 2
    steps = reach - np.arange(2 * reach + 1)  # positive lags of Eq. 9 come before
    nearest = np.argsort(np.abs(steps), kind="stable")
    return steps[nearest][around[:, nearest].argmax(1)]


def _sparseness(rates: np.ndarray) -> float:
    if len(rates) < 2 or not rates.any():
        return np.nan
    return float((1 - rates.mean() ** 2 / (rates**2).mean()) / (1 - 1 / len(rates)))


def _shifted(curve: np.ndarray, semitones: int) -> float:
    low, high = curve[:-semitones], curve[semitones:]
    kept = np.isfinite(low) & np.isfinite(high)
    low, high = low[kept], high[kept]
    if len(low) < 3 or np.ptp(low) == 0 or np.ptp(high) == 0:
        return np.nan
    return float(np.corrcoef(low, high)[0, 1])
