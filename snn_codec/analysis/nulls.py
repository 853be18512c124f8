"""Is a unit tied to a key by more than chance? Two null models, z-scores, and the false-discovery rate.

The statistic of a pair is the number of events within `half_width` steps of an onset (`correlation.around_zero`).

- `shifts`: the events of a recording, rotated by any number of steps. Keeps each unit's own structure and each
  key's; breaks every relation between them, also slow ones (both are busy in loud passages).
- `jitter`: each onset moved by itself within its interval of `JITTER` steps (one second). Keeps all that is
  slower than that; what remains is timing. This is the stricter test, and the one the report counts.

No surrogate data is drawn: mean, variance and third central moment over all shifts, or all jitters, are computed
and add up over independent parts, so that results have no seed. p-values are those of the Pearson III
distribution with these three moments, because counts of rare events are too skewed for a normal one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy import fft, ndimage, stats

from snn_codec.analysis.correlation import HALF_WIDTH

JITTER = 43
STRETCH = 1 << 14  # steps rotated at once; 6.3 minutes, which bounds memory
FEWEST = 20  # onsets: with fewer the three moments do not describe the tail


@dataclass(frozen=True, eq=False)
class Null:
    """The observed statistic and its moments by chance, each `[units, keys]`; recordings add up.

    `onsets` `[keys]` is how many went in; `third` the third central moment.
    """

    observed: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    third: np.ndarray
    onsets: np.ndarray

    def __add__(self, other: Null) -> Null:
        return Null(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Null)))

    def __sub__(self, other: Null) -> Null:
        """Without a part that had been added."""
        return Null(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(Null)))

    @classmethod
    def stacked(cls, parts: Sequence[Null]) -> Null:
        """Join the nulls of different units and the same onsets."""
        names = ("observed", "mean", "variance", "third")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(**arrays, onsets=parts[0].onsets)

    @property
    def tested(self) -> np.ndarray:
        """Pairs that can be tested, bool `[units, keys]`: enough onsets, and a variance above 0."""
        return (self.variance > 1e-6) & (self.onsets >= FEWEST)

    def z(self) -> np.ndarray:
        """(observed - mean) / standard deviation; NaN where there is nothing to test."""
        deviation = np.sqrt(np.where(self.tested, self.variance, 1))
        return np.where(self.tested, (self.observed - self.mean) / deviation, np.nan)

    def p(self) -> np.ndarray:
        """Two-sided p-values, with the correction for continuity that counts need; NaN where not tested."""
        kept = self.tested
        deviation = np.sqrt(self.variance[kept])
        skew, distance = self.third[kept] / deviation**3, (self.observed - self.mean)[kept]
        above = stats.pearson3.sf((distance - 0.5) / deviation, skew)
        below = stats.pearson3.cdf((distance + 0.5) / deviation, skew)
        found = np.full(kept.shape, np.nan)
        found[kept] = np.minimum(2 * np.minimum(above, below), 1)
        return found

    def q(self) -> np.ndarray:
        """The least false-discovery rate at which a pair counts, over all tested pairs (Benjamini-Hochberg)."""
        p = self.p()
        kept = np.isfinite(p)
        if kept.any():
            p[kept] = stats.false_discovery_control(p[kept])
        return p

    def selective(self, rate: float = 0.05) -> np.ndarray:
        """Pairs that count, bool `[units, keys]`: more events near the key's onsets, at this false-discovery rate."""
        return (np.nan_to_num(self.q(), nan=1) <= rate) & (np.nan_to_num(self.z()) > 0)


def shifts(events: np.ndarray, onsets: np.ndarray, half_width: int = HALF_WIDTH) -> Null:
    """The null of circular shifts, for one recording: bool `[units, T]`, bool `[keys, T]`.

    Parts of up to `STRETCH` steps are rotated independently; what is left of T over a multiple of 64 is not
    used, and a recording of less than 64 steps tells nothing.
    """
    steps = events.shape[1] // 64 * 64
    parts = -(-steps // STRETCH)
    borders = [steps * part // parts // 64 * 64 for part in range(parts)] + [steps]
    total = _nothing(len(events), len(onsets))
    for start, stop in zip(borders, borders[1:], strict=False):
        total = total + _turned(events[:, start:stop], onsets[:, start:stop], half_width)
    return total


def _stride(half_width: int) -> int:
    """Of shifts, 1 to 64: every eighth for a window of 13 steps, in less than which the statistic hardly changes."""
    return 1 << min(max((2 * half_width + 1) * 8 // 13, 1).bit_length() - 1, 6)


def _turned(events: np.ndarray, onsets: np.ndarray, half_width: int) -> Null:
    near = _window(onsets, half_width, "wrap")
    mean = np.outer(events.mean(1), near.sum(1))
    stride = _stride(half_width)
    fired = _phases(events - events.mean(1, keepdims=True), stride)
    played = _phases(near - near.mean(1, keepdims=True), stride)
    size = events.shape[1] // stride
    observed, variance, third = (np.empty(mean.shape) for _ in range(3))
    for unit in range(len(events)):
        spectrum = np.einsum("rf,krf->kf", fired[unit].conj(), played)
        found = fft.irfft(spectrum, size)  # what lies above the mean, [keys, shifts]; the first is unshifted
        observed[unit] = np.rint(found[:, 0] + mean[unit])
        square = found * found
        variance[unit], third[unit] = square.mean(1), (square * found).mean(1)
    return Null(observed, mean, variance, third, onsets.sum(1))


def _phases(series: np.ndarray, stride: int) -> np.ndarray:
    """Spectra of every `stride`-th step from each phase: complex64 `[rows, stride, frequencies]`."""
    rows, steps = series.shape
    parts = series.reshape(rows, steps // stride, stride).transpose(0, 2, 1)
    return fft.rfft(parts.astype(np.float32))


def jitter(
    events: np.ndarray, onsets: np.ndarray, half_width: int = HALF_WIDTH, interval: int = JITTER
) -> Null:
    """The null of jittered onsets, for one recording: bool `[units, T]`, bool `[keys, T]`.

    Each onset moves to any step of its interval, all alike likely. The intervals are fixed (Amarasingham et al.,
    J. Neurophysiol. 107, 2012): moves around the onset itself would keep it in the middle, which is no chance
    model for events that change slowly. They begin where the first window is whole, and what is left at the end is
    not used.
    """
    parts = max(events.shape[1] - 2 * half_width, 0) // interval
    used = slice(half_width, half_width + parts * interval)
    keys, steps = np.nonzero(onsets[:, used])
    near = _window(events, half_width, "constant")[:, used]
    of_part = near.reshape(len(events), parts, interval)
    mean, square, cube = ((of_part**power).mean(2)[:, steps // interval] for power in (1, 2, 3))
    variance = square - mean**2
    third = cube - 3 * mean * square + 2 * mean**3
    of_key = np.zeros((len(steps), len(onsets)))
    of_key[np.arange(len(steps)), keys] = 1
    observed, mean, variance, third = (moment @ of_key for moment in (near[:, steps], mean, variance, third))
    return Null(observed, mean, variance, third, of_key.sum(0))


def _window(series: np.ndarray, half_width: int, mode: str) -> np.ndarray:
    """Sums over 2 half_width + 1 steps around each step."""
    series = series.astype(np.float64)
    width = 2 * half_width + 1
    return np.rint(ndimage.uniform_filter1d(series, width, axis=1, mode=mode) * width)


def _nothing(units: int, keys: int) -> Null:
    none = np.zeros((units, keys))
    return Null(none, none, none, none, np.zeros(keys))
