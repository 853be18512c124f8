"""The rows of an evaluation in numbers: means with bootstrap intervals, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snn_codec.errors import UserError
from snn_codec.metrics import MEASURES
from snn_codec.stats import bootstrap

Row = dict[str, float | str | int]


def summary(rows: Sequence[Row], seed: int = 0) -> dict[str, dict[str, float]]:
    """For each measure: `mean`, `sd`, and `low`, `high`, the bootstrap 95 % interval of the mean.

    Recordings are resampled, not clips, because clips of one recording are alike. Clips without a value
    (silence) are left out; `clips` says how many counted.
    """
    names = [row["recording"] for row in rows]
    return {
        measure: bootstrap(np.array([row[measure] for row in rows], float), names, seed)
        for measure in measures(rows)
    }


def measures(rows: Sequence[Row]) -> list[str]:
    """Those of `MEASURES` that every row has, of which some clip has a value."""
    return [
        measure
        for measure in MEASURES
        if all(measure in row for row in rows) and any(np.isfinite(float(row[measure])) for row in rows)
    ]


def differences(rows: Sequence[Row], others: Sequence[Row], seed: int = 0) -> dict[str, dict[str, float]]:
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
    pairs: list[Row] = [
        {"recording": row["recording"]}
        | {measure: float(row[measure]) - float(other[measure]) for measure in both}
        for row, other in zip(rows, others, strict=True)
    ]
    return summary(pairs, seed)
