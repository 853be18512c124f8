"""How much data a row's selectivity needs: from the response that it has so far, to the onsets that would show it.

Over n onsets of a key, the events above chance grow as n and their standard deviation as sqrt(n), so that the z-score
of the jitter null grows as sqrt(n). A pair counts for sure at the z-score that a Bonferroni correction over all tested
pairs asks for, which is a little more than the false-discovery rate does. Small samples flatter: of many keys the best
is looked at, so that the true number is rather larger.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from snn_codec.analysis.nulls import FEWEST, Null

SEEN = 5  # onsets without which a response is not worth to be carried forward
RATE = 0.05


class Needed(NamedTuple):
    """For each row: the key whose selectivity would show first, its onsets so far, and how many it takes.

    `key` int64 `[rows]`, -1 where no key with `SEEN` onsets has more events than chance; `seen`, `onsets` float64
    `[rows]`, NaN there.
    """

    key: np.ndarray
    seen: np.ndarray
    onsets: np.ndarray

    def words(self, row: int, seconds: float, name: str) -> str:
        """One sentence for a row, of a study of so many seconds; `name` is that of the key."""
        if self.key[row] < 0:
            return f"no key with {SEEN} onsets or more makes it fire above chance so far"
        seen, onsets = self.seen[row], self.onsets[row]
        minutes = seconds / 60 * onsets / seen
        return (
            f"at its response so far it takes about {onsets:.0f} onsets of {name} to say so (here: {seen:.0f}), "
            f"{minutes:.1f} minutes of such music"
        )


def needed(null: Null) -> Needed:
    """Of the jitter null of a study."""
    pairs = max(int(null.tested.sum()), len(null.observed))
    wanted = stats.norm.isf(RATE / 2 / pairs)
    seen = np.maximum(null.onsets, 1)
    effect, variance = (null.observed - null.mean) / seen, null.variance / seen
    usable = (effect > 0) & (variance > 1e-9) & (null.onsets >= SEEN)
    onsets = np.where(usable, wanted**2 * variance / np.where(usable, effect, 1) ** 2, np.inf)
    onsets = np.maximum(onsets, FEWEST)
    # how much more of the same music it takes decides
    key = (onsets / seen).argmin(1)
    rows = np.arange(len(key))
    found = usable[rows, key]
    return Needed(
        np.where(found, key, -1),
        np.where(found, null.onsets[key], np.nan),
        np.where(found, np.ceil(onsets[rows, key]), np.nan),
    )
