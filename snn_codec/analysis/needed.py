"""How much data a row's selectivity needs: from the response that it has so far, to the onsets that would show it.

Over n onsets of a key, the events above chance grow as n and their standard deviation as sqrt(n), so that the z-score
of the jitter null grows as sqrt(n). A pair counts for sure at the z-score that a Bonferroni correction over all tested
pairs asks for, which is a little more than the false-discovery rate does. The best of m z-scores of nothing but noise
is about sqrt(2 ln m); this is taken off, in squares, as the best of several keys is looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from snn_codec.analysis.nulls import FEWEST, Null
from snn_codec.analysis.wording import length

SEEN = 5  # onsets without which a response is not worth carrying forward
RATE = 0.05


class Needed(NamedTuple):
    """For each row: the key whose selectivity would show first, its onsets so far, and how many it takes.

    `key` int64 `[rows]`, -1 where no key stands out of chance; `seen`, `onsets` float64 `[rows]`, NaN there.
    `keys` int64 `[rows]`: how many keys were looked at, those with `SEEN` onsets. `share`: of all rows together, how
    many times as much music it takes for the first of them, the best of all pairs looked at; infinite if none stands
    out.
    """

    key: np.ndarray
    seen: np.ndarray
    onsets: np.ndarray
    keys: np.ndarray
    share: float

    def words(self, row: int, seconds: float, name: str) -> str:
        """One sentence for a row, of a study of so many seconds; `name` is that of the key."""
        if self.key[row] < 0:
            return (
                f"of {self.keys[row]} keys with {SEEN} onsets or more, none stands out of chance; it takes more data "
                "to say whether it answers to any"
            )
        seen, onsets = self.seen[row], self.onsets[row]
        return (
            f"at its response so far it takes about {onsets:.0f} onsets of {name} to say so (here: {seen:.0f}), "
            f"{length(seconds / 60 * onsets / seen)} of such music"
        )


def needed(null: Null) -> Needed:
    """Estimate it from the jitter null of a study."""
    pairs = max(int(null.tested.sum()), len(null.observed))
    wanted = stats.norm.isf(RATE / 2 / pairs)
    looked = (null.variance > 1e-6) & (null.onsets >= SEEN)
    z = np.where(looked, (null.observed - null.mean) / np.sqrt(np.where(looked, null.variance, 1)), 0)
    seen = np.maximum(null.onsets, 1)
    keys = looked.sum(1)
    more = _more(z, keys[:, None], wanted, seen)
    key, rows = more.argmin(1), np.arange(len(more))
    found = np.isfinite(more[rows, key])
    return Needed(
        np.where(found, key, -1),
        np.where(found, null.onsets[key], np.nan),
        np.where(found, np.ceil(np.where(found, more[rows, key], 0) * null.onsets[key]), np.nan),
        keys,
        float(_more(z, int(looked.sum()), wanted, seen).min(initial=np.inf)),
    )


def _more(z: np.ndarray, among: np.ndarray | int, wanted: float, seen: np.ndarray) -> np.ndarray:
    """How many times as much music each pair takes, `[rows, keys]`; infinite where nothing stands out."""
    clear = z**2 - 2 * np.log(np.maximum(among, 1))
    usable = (z > 0) & (clear > 0)
    more = np.where(usable, wanted**2 / np.where(usable, clear, 1), np.inf)
    return np.where(usable, np.maximum(more, FEWEST / seen), np.inf)
