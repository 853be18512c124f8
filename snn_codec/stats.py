"""The rows of an evaluation in numbers: means with bootstrap intervals, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snn_codec.errors import UserError

SAMPLES = 10_000
MEASURES = (
    "si_snr", "onset_si_snr", "stft_distance", "mel_distance", "kbps", "dense_kbps", "density",
    "events_per_second", "visqol", "zimtohrli",
)  # fmt: skip
Row = dict[str, float | str | int]


def summary(rows: Sequence[Row], seed: int = 0) -> dict[str, dict[str, float]]:
    """For each measure: `mean`, `sd`, and `low`, `high`, the bootstrap 95 % interval of the mean.

    Recordings are resampled, not clips, because clips of one recording are alike. Clips without a value
    (silence) are left out; `clips` says how many counted.
    """
    names = [row["recording"] for row in rows]
    return {
        measure: interval(np.array([row[measure] for row in rows], float), names, seed)
        for measure in measures(rows)
    }


def measures(rows: Sequence[Row]) -> list[str]:
    """Those of `MEASURES` that every row has, of which some clip has a value."""
    return [
        measure
        for measure in MEASURES
        if all(measure in row for row in rows) and any(np.isfinite(float(row[measure])) for row in rows)
    ]


def differences(
    rows: Sequence[Row],
    others: Sequence[Row],
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """As `summary`, of `rows` minus `others`, clip by clip: how much one model differs from another.

    Of the measures that both have.

    Raises:
        UserError: The two are not of the same clips.
    """
    names = [(row["recording"], row["clip"]) for row in rows]
    if names != [(row["recording"], row["clip"]) for row in others]:
        raise UserError(
            "the two evaluations are not of the same clips; evaluate both models on the same data"
        )
    both = [measure for measure in measures(rows) if measure in measures(others)]
    pairs = [
        {measure: float(row[measure]) - float(other[measure]) for measure in both}
        | {"recording": row["recording"]}
        for row, other in zip(rows, others, strict=True)
    ]
    return summary(pairs, seed)


def interval(values: np.ndarray, groups: Sequence[object], seed: int = 0) -> dict[str, float]:
    """`mean`, `sd`, and the bootstrap 95 % interval `low`, `high` of values that come in alike groups."""
    random = np.random.default_rng(seed)
    _, numbers = np.unique(np.array(groups, str), return_inverse=True)
    counted = np.isfinite(values)
    sums = np.bincount(numbers, np.where(counted, values, 0))
    counts = np.bincount(numbers, counted)
    picks = random.integers(0, len(sums), (SAMPLES, len(sums)))
    with np.errstate(invalid="ignore"):
        means = sums[picks].sum(1) / counts[picks].sum(1)
    low, high = np.nanpercentile(means, [2.5, 97.5]) if counted.any() else (float("nan"),) * 2
    return {
        "mean": float(values[counted].mean()) if counted.any() else float("nan"),
        "sd": float(values[counted].std(ddof=1)) if counted.sum() > 1 else float("nan"),
        "low": float(low),
        "high": float(high),
        "clips": int(counted.sum()),
    }
