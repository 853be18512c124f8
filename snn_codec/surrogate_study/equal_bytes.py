"""SI-SNR at equal true bytes: what the choices of a study are worth when they cost the same.

The same pressure takes choices to different rates, and a neuron with a memory has other rates from the start. In a
SPARSE run the pressure grows, so that its rate falls through many values; its validated steps are a curve of SI-SNR
over coded kbps. Of each run that curve is read at one rate R, the lowest that all finished runs reached: between the
last validated step at or above R and the next, linearly in the logarithm of the rate, or, if a later step has more
SI-SNR in fewer bytes, there. A run that falls early would else be read in the middle of its training, and one that
falls late at its end.

A choice that the pressure has not made sparse would take R to where all others have hardly begun: one whose lowest rate
is more than `SPARSE` times the median choice's is left out. So is one that was never above R.

A model with levels has such a curve without pressure, one point a level (`level_curve`); it is read at two rates, a
quarter and three quarters of the way, in the logarithm, from the lowest rate that all runs have to the highest.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np

from snn_codec.stats import holm, mean_interval, paired
from snn_codec.surrogate_study.results import Results

DIGITS = 2  # of R, rounded up
SPARSE = 2  # times the median choice's lowest rate, at most

Curves = Mapping[tuple[str, int], Sequence[tuple[float, float]]]  # choice, seed -> (kbps, SI-SNR) in order
Steps = Mapping[tuple[str, int], Sequence[int]]  # of the points of such curves


@dataclass(frozen=True)
class EqualBytes:
    """What `at_equal_bytes` found.

    Attributes:
        kbps: R.
        rows: One for each choice, from the best mean down: `choice`, `seeds` that have a value, `si_snr` (mean, low,
            high), and, but for the reference, `against` it (difference, low, high, p, and p after Holm, `p_holm`); of
            runs that fall to R also `steps`, the first and the last at which they are read.
        left_out: Choices that have no row, with the lowest and the highest rate of their runs.
    """

    kbps: float
    rows: list[dict[str, Any]]
    left_out: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class AtEqualBytes:
    """The choices of a study at equal bytes: in SPARSE, or None; and, by setting, over levels at each rate."""

    sparse: EqualBytes | None
    over_levels: dict[str, list[EqualBytes]]

    @classmethod
    def of(cls, results: Results) -> AtEqualBytes:
        """Those of these results."""
        return cls(
            at_equal_bytes(results),
            {setting: over_levels(results, setting) for setting in results.settings()},
        )


def at_equal_bytes(results: Results) -> EqualBytes | None:
    """The choices at one rate; None without SPARSE runs that measured bytes, or if no rate is common to two choices."""
    curves: dict[tuple[str, int], list[tuple[float, float]]] = {}
    steps: dict[tuple[str, int], list[int]] = {}
    for row in results.rows:
        if row["setting"] == "sparse" and not math.isnan(row["coded_kbps"]):
            curves.setdefault((row["choice"], row["seed"]), []).append((row["coded_kbps"], row["si_snr"]))
            steps.setdefault((row["choice"], row["seed"]), []).append(row["step"])
    if not curves:
        return None
    least: dict[str, float] = {}  # rate that all runs of a choice reached
    for (choice, _), curve in curves.items():
        least[choice] = max(least.get(choice, 0.0), curve[-1][0])
    most = SPARSE * statistics.median_low(least.values())
    scale = 10**DIGITS
    kbps = math.ceil(scale * max(rate for rate in least.values() if rate <= most)) / scale
    return _compared(kbps, curves, results.reference, steps)


def over_levels(results: Results, setting: str) -> list[EqualBytes]:
    """The choices of a setting at two rates, the higher first; empty without levels, or if no rate is common to all."""
    curves = {
        (cell.choice, cell.seed): curve for cell, curve in results.curves.items() if cell.setting == setting
    }
    if not curves:
        return []
    low = max(curve[-1][0] for curve in curves.values())
    high = min(curve[0][0] for curve in curves.values())
    if low >= high:
        return []
    rates = dict.fromkeys(round(low * (high / low) ** share, DIGITS) for share in (0.75, 0.25))
    return [
        found
        for rate in rates
        if low <= rate <= high and (found := _compared(rate, curves, results.reference))
    ]


def _compared(kbps: float, curves: Curves, reference: str, steps: Steps | None = None) -> EqualBytes | None:
    """The choices at one rate; None if it is not common to two of them."""
    values: dict[str, dict[int, float]] = {}
    rates: dict[str, list[float]] = {}
    read: dict[str, list[int]] = {}
    for (choice, seed), curve in curves.items():
        rates.setdefault(choice, []).extend(rate for rate, _ in curve)
        found = _at(kbps, curve)
        if found is not None:
            values.setdefault(choice, {})[seed], place = found
            if steps:
                read.setdefault(choice, []).append(steps[choice, seed][place])
    left_out = {choice: (min(of_it), max(of_it)) for choice, of_it in rates.items() if choice not in values}
    rows = _rows(values, reference)
    for row in rows if steps else ():
        row["steps"] = (min(read[row["choice"]]), max(read[row["choice"]]))
    return EqualBytes(kbps, rows, left_out) if len(values) > 1 else None


def _at(kbps: float, curve: Sequence[tuple[float, float]]) -> tuple[float, int] | None:
    """SI-SNR of a run from where its rate falls to `kbps` for good, and the place of its point, the later of two.

    None if it was never above, or always.
    """
    above = [place for place, (rate, _) in enumerate(curve) if rate >= kbps]
    if not above:
        return None
    last = above[-1]
    later = [(score, place) for place, (_, score) in enumerate(curve) if place > last]
    (high, first), *after = curve[last:]
    if high == kbps:
        return max([(first, last), *later], key=itemgetter(0))
    if not after:
        return None
    low, second = after[0]
    share = math.log(high / kbps) / math.log(high / low)
    return max([(first + share * (second - first), last + 1), *later], key=itemgetter(0))


def _rows(values: dict[str, dict[int, float]], reference: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for choice, of_seed in values.items():
        mean, low, high = mean_interval(np.array(list(of_seed.values())))
        row: dict[str, Any] = {"choice": choice, "seeds": len(of_seed)}
        row["si_snr"] = {"mean": float(mean), "low": float(low), "high": float(high)}
        seeds = sorted(set(of_seed) & set(values.get(reference, {})))
        if choice != reference and seeds:
            row["against"] = paired([of_seed[s] for s in seeds], [values[reference][s] for s in seeds])
        rows.append(row)
    tested = [row["against"] for row in rows if "against" in row]
    for found, p in zip(tested, holm([found["p"] for found in tested]), strict=True):
        found["p_holm"] = p
    return sorted(rows, key=lambda row: -row["si_snr"]["mean"])
