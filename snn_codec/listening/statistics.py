"""Screening of raters and statistics of their ratings, as ITU-R BS.1534-3 has them.

`scores` is float `[raters, items, conditions]`, 0 to 100. One observation is one rater's mean over the items, so
intervals and tests are over raters, and hold for these items.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import stats

from snn_codec.stats import holm, mean_interval

LIMIT = 90  # of the hidden reference from below, of the mid anchor from above
SHARE = 0.15  # of items on which a rater may be beyond it
TOO_GOOD = 0.25  # share of raters who find an item's mid anchor that good: then the item does not count


class Screening(NamedTuple):
    """Who is kept, bool `[raters]`, and why others are not: per rater, the items on which each rule was broken.

    `counted` is bool `[items]`: where the mid anchor is clearly worse than the reference, so that its rule holds.
    """

    kept: np.ndarray
    low_references: np.ndarray
    high_anchors: np.ndarray
    counted: np.ndarray


def screen(reference: np.ndarray, mid_anchor: np.ndarray) -> Screening:
    """Post-screening of assessors by BS.1534-3, from two conditions' scores `[raters, items]`.

    A rater is dropped whose hidden reference is under 90, or mid anchor over 90, on more than 15 % of the items; an
    item on which more than 25 % of the raters put the mid anchor over 90 does not count for the anchor's rule.
    """
    low = (reference < LIMIT).sum(1)
    high = mid_anchor > LIMIT
    counted = high.mean(0) <= TOO_GOOD
    high_anchors = (high & counted).sum(1)
    kept = (low <= SHARE * reference.shape[1]) & (high_anchors <= SHARE * counted.sum())
    return Screening(kept, low, high_anchors, counted)


def median_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median and its distribution-free 95 % interval over the first axis (Hettmansperger & Sheather 1986).

    Between the two order statistics whose coverage encloses 95 % it interpolates. Fewer than six values have no
    such interval: NaN.
    """
    n = len(values)
    median = np.median(values, 0)
    # coverage of the interval from the k-th smallest to the k-th largest value
    coverage = 1 - 2 * stats.binom.cdf(np.arange(n // 2 + 1) - 1, n, 0.5)
    enough = np.flatnonzero(coverage >= 0.95)[1:]  # k = 0 would be the whole line
    if not len(enough):
        return median, np.full_like(median, np.nan), np.full_like(median, np.nan)
    k = enough[-1]
    share = (coverage[k] - 0.95) / (coverage[k] - coverage[k + 1])
    weight = (n - k) * share / (k + (n - 2 * k) * share)
    ordered = np.sort(values, 0)
    low = (1 - weight) * ordered[k - 1] + weight * ordered[k]
    high = (1 - weight) * ordered[n - k] + weight * ordered[n - k - 1]
    return median, low, high


def friedman(means: np.ndarray) -> tuple[float, float]:
    """Friedman's statistic and p for `[raters, conditions]`: does any condition differ? NaN under three of either."""
    if min(means.shape) < 3 or (means == means[:, :1]).all():
        return float("nan"), float("nan")
    found = stats.friedmanchisquare(*means.T)
    return float(found.statistic), float(found.pvalue)


class Pair(NamedTuple):
    """Condition `a` against `b`, both columns: the mean difference a - b over raters with its 95 % interval, the
    p of Wilcoxon's signed-rank test (`holm`: corrected over all pairs), and in how many ratings a was the better,
    the worse, or neither.
    """

    a: int
    b: int
    difference: float
    low: float
    high: float
    p: float
    holm: float
    wins: int
    losses: int
    ties: int


def pairs(scores: np.ndarray) -> list[Pair]:
    """Every two conditions of `[raters, items, conditions]`, compared rater by rater."""
    means = scores.mean(1)
    columns = list(combinations(range(scores.shape[2]), 2))
    p = [_wilcoxon(means[:, a] - means[:, b]) for a, b in columns]
    rows = []
    for (a, b), raw, corrected in zip(columns, p, holm(p), strict=True):
        middle, low, high = (float(value) for value in mean_interval(means[:, a] - means[:, b]))
        signs = np.sign(scores[:, :, a] - scores[:, :, b])
        counts = (int((signs == sign).sum()) for sign in (1, -1, 0))
        rows.append(Pair(a, b, middle, low, high, raw, corrected, *counts))
    return rows


def _wilcoxon(differences: np.ndarray) -> float:
    """p of the signed-rank test, zeros left out: exact up to 50 values that differ, as not every scipy chooses."""
    differences = np.round(differences, 9)  # means over items are fractions: what was equal must stay equal
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    distinct = len(np.unique(np.abs(differences))) == len(differences)
    method = "exact" if distinct and len(differences) <= 50 else "approx"
    return float(stats.wilcoxon(differences, method=method).pvalue)
