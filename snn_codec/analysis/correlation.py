"""Cross-correlation of every unit with every key (Eq. 9), and the prominence of its peak at lag 0.

    C_in(tau) = < sum_t z_i(t) m_n(t + tau) >,   tau in -128..128 steps

z_i are the events of unit i, m_n the onsets of key n: positive lags are units that fire before the note.
`Correlation` takes one recording after the other and keeps one array `[units, 88, frequencies]` of cross-spectra;
the counts come out as exact integers, because the rounding errors of the transforms are far below one half.

Departs: recordings are taken whole, not cut into clips of 256 steps, and an onset counts only if all lags around
it lie inside the recording, so that every lag sees the same onsets and chance is flat. The paper's average over
clips differs from our sum by a factor, which drops out of the prominence.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

LAGS = 128  # the paper's: half a clip to each side
HALF_WIDTH = (
    6  # 13 of 257 lags, chance 0.0506; the paper's text also says |tau| < 5, which is 4, chance 0.0350
)
BLOCK = 6  # times the lags are the steps of a block; with those of both sides a transform of 1024 for 128
BATCH = 64  # blocks transformed at once


class Correlation:
    """Sum Eq. 9 over recordings, in memory that depends on neither their number nor their lengths.

    Args:
        units: N.
        keys: Rows of the onset matrices.
        lags: The largest lag, in steps.
    """

    def __init__(self, units: int, keys: int = 88, lags: int = LAGS):
        self.lags, self.recordings = lags, 0
        self.onsets = np.zeros(keys, np.int64)
        self._block = BLOCK * max(lags, 16)
        self._size = fft.next_fast_len(self._block + 2 * lags, real=True)
        self._sum = np.zeros((self._size // 2 + 1, units, keys), np.complex128)

    def add(self, events: np.ndarray, onsets: np.ndarray) -> None:
        """Add a recording: bool `[units, T]` and bool `[keys, T]`.

        Raises:
            ValueError: The two are not of the same length.
        """
        if events.shape[1] != onsets.shape[1]:
            raise ValueError(f"{events.shape[1]} steps of events, but {onsets.shape[1]} of onsets")
        onsets = interior(onsets, self.lags)
        self.onsets += onsets.sum(1)
        self.recordings += 1
        starts = np.arange(0, events.shape[1], self._block)
        for first in range(0, len(starts), BATCH):
            some = starts[first : first + BATCH]
            # the events around each block of onsets; circular wrap falls outside of the lags kept
            fired = fft.rfft(_blocks(events, some - self.lags, self._block + 2 * self.lags), self._size)
            played = fft.rfft(_blocks(onsets, some, self._block), self._size)
            self._sum += fired.conj().transpose(2, 0, 1) @ played.transpose(2, 1, 0)

    def counts(self) -> np.ndarray:
        """C_in(tau) summed over all recordings: int64 `[units, keys, 2 lags + 1]`, from lag -`lags` to `lags`."""
        found = np.empty((*self._sum.shape[1:], 2 * self.lags + 1), np.int64)
        for unit in range(len(found)):  # one at a time: the real transforms of all take as much as the sums
            series = fft.irfft(self._sum[:, unit], self._size, axis=0)
            # blocks of events began `lags` earlier, so lag tau stands at tau - lags
            found[unit] = np.rint(series[np.arange(-2 * self.lags, 1)]).T
        return found


def interior(onsets: np.ndarray, lags: int) -> np.ndarray:
    """Keep the onsets, bool `[keys, T]`, that have `lags` steps of the recording on both sides; clear the others."""
    kept = onsets.copy()
    kept[:, :lags] = False
    kept[:, max(onsets.shape[1] - lags, 0) :] = False
    return kept


def _blocks(matrix: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """float64 `[rows, blocks, length]`, with zeros outside of the matrix."""
    before, after = max(-starts[0], 0), max(starts[-1] + length - matrix.shape[1], 0)
    piece = matrix[:, max(starts[0], 0) : starts[-1] + length]
    piece = np.pad(piece, ((0, 0), (before, after))).astype(np.float64)
    return np.stack([piece[:, start - starts[0] :][:, :length] for start in starts], 1)


def around_zero(counts: np.ndarray, half_width: int = HALF_WIDTH) -> np.ndarray:
    """Count events within `half_width` steps of an onset: `[units, keys]`, the sum of C over |tau| <= half_width."""
    middle = counts.shape[-1] // 2
    return counts[..., middle - half_width : middle + half_width + 1].sum(-1)


def chance(half_width: int = HALF_WIDTH, lags: int = LAGS) -> float:
    """The prominence of a unit that has no timing relation to a key: (2 half_width + 1) / (2 lags + 1)."""
    return (2 * half_width + 1) / (2 * lags + 1)


def prominence(counts: np.ndarray, half_width: int = HALF_WIDTH) -> np.ndarray:
    """Peak prominence: the share of C_in that lies at |tau| <= half_width, `[units, keys]`; NaN without events."""
    total = counts.sum(-1)
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, around_zero(counts, half_width) / np.maximum(total, 1), np.nan)


def corrected(prominences: np.ndarray, at_chance: float) -> np.ndarray:
    """Prominence as (P - chance) / (1 - chance): 0 at chance, 1 if every event is near an onset, negative below."""
    return (prominences - at_chance) / (1 - at_chance)


def over_keys(prominences: np.ndarray) -> np.ndarray:
    """Prominence normalised over keys, as in the paper's Figure 5: rows sum to 1, chance is 1 / keys."""
    total = np.nansum(prominences, 1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, prominences / total, np.nan)
