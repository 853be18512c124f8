"""What a study of surrogates found: tables of its runs, means with intervals over seeds, paired tests."""

from __future__ import annotations

import csv
import math
import statistics as median_of
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.models import surrogates
from snn_codec.stats import holm, mean_interval, paired
from snn_codec.surrogate_study import level_curve
from snn_codec.surrogate_study.folder import result
from snn_codec.surrogate_study.grid import Cell, Study

LOGGED = {  # column of a run's log -> our name for it
    "validation_si_snr": "si_snr",
    "validation_stft": "stft_distance",
    "validation_density": "density",
    "validation_kbps": "kbps",
    "validation_coded_kbps": "coded_kbps",
    "validation_dead_units": "dead_units",
    "validation_saturated_units": "saturated_units",
    "encoder_gradient": "encoder_gradient",
    "gradient": "gradient",
    "loss": "loss",
}
OF_A_BATCH = {  # what logs of before have instead: of one training batch, where rare units seem dead
    "validation_dead_units": "dead_units",
    "validation_saturated_units": "saturated_units",
}
MEASURES = (
    "si_snr",
    "stft_distance",
    "events_per_second",
    "kbps",
    "coded_kbps",
    "dead_units",
    "saturated_units",
    "encoder_gradient",
    "seconds_per_step",
)
TESTED = ("si_snr", "stft_distance", "events_per_second")
HIGHER_IS_BETTER = {"si_snr"}
DEFAULT = surrogates.label(config.Spiking.surrogate, config.Spiking.slope)


@dataclass(frozen=True)
class Results:
    """All that the finished runs of a study say.

    Attributes:
        rows: One for each run and validated step: setting, choice, seed, step and the measures.
        cells: One for each finished run: the measures at its last step, but for the median over the logged steps of
            `encoder_gradient`, `seconds_per_step`, and `trained_on`, which is "" if it is not known.
        summary: One for each setting and choice: of each measure mean, low and high (95 % interval over seeds).
        pairs: One for each setting, measure of `TESTED` and two choices: paired difference a - b with its interval,
            p of the t-test, and p after Holm, over all pairs of choices (`holm`).
        failed: Runs that failed, with the reason.
        missing: Runs that have not ended.
        reference: The choice that others are set against; it has finished runs, if any choice has.
        curves: Of each finished run of a model with levels, (kbps, SI-SNR) from the first level to the last.
    """

    rows: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    summary: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    failed: dict[Cell, str]
    missing: list[Cell]
    reference: str
    curves: dict[Cell, list[tuple[float, float]]] = field(default_factory=dict)

    def choices(self, setting: str) -> list[str]:
        """The choices of a setting, from the best mean SI-SNR to the worst.

        Means are over the seeds that all choices have finished, or each choice's own where there is none: seeds differ.
        """
        found = {
            row["choice"]: self.ended(setting, row["choice"])
            for row in self.summary
            if row["setting"] == setting
        }
        shared = (
            set.intersection(*({cell["seed"] for cell in cells} for cells in found.values()))
            if found
            else set()
        )

        def score(choice: str) -> float:
            scores = [c["si_snr"] for c in found[choice] if c["seed"] in shared or not shared]
            mean = sum(scores) / len(scores)
            return -math.inf if math.isnan(mean) else mean

        return sorted(found, key=score, reverse=True)

    def settings(self) -> list[str]:
        """The settings that have results."""
        return list(dict.fromkeys(row["setting"] for row in self.summary))

    def of(self, setting: str, choice: str) -> dict[str, Any]:
        """The row of the summary."""
        return next(row for row in self.summary if (row["setting"], row["choice"]) == (setting, choice))

    def ended(self, setting: str, choice: str) -> list[dict[str, Any]]:
        """The finished runs of a choice, one for each seed."""
        return [cell for cell in self.cells if (cell["setting"], cell["choice"]) == (setting, choice)]

    def against(self, setting: str, measure: str, reference: str) -> dict[str, dict[str, float]]:
        """Every other choice's paired difference to one, with p after Holm over these comparisons alone (`p_holm`)."""
        found = {}
        for row in self.pairs:
            if (row["setting"], row["measure"]) == (setting, measure) and reference in (row["a"], row["b"]):
                sign = 1 if row["b"] == reference else -1
                low, high = sorted((sign * row["low"], sign * row["high"]))
                found[row["a"] if sign == 1 else row["b"]] = {
                    "difference": sign * row["difference"], "low": low, "high": high, "p": row["p"],
                }  # fmt: skip
        for row, p in zip(found.values(), holm([row["p"] for row in found.values()]), strict=True):
            row["p_holm"] = p
        return found


def collect(study: Study, root: Path, reference: str | None = None) -> Results:
    """Read a study's finished runs.

    The reference is the one given; ours, if none is given or it has no finished run in some setting; else the first
    choice that has.

    Raises:
        UserError: The log or the levels of a run cannot be read.
    """
    choices = list(study.choices)
    rows, cells, failed, missing, curves = [], [], {}, [], {}
    for cell in study.cells():
        ended = result(cell, root)
        if ended and ended["status"] == "failed":
            failed[cell] = ended["reason"]
        elif ended:
            place = cell.folder(root)
            try:
                found, last = _run(cell, study, root)
                curve = level_curve.read(place)
            except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
                raise UserError(
                    f"{place}: its log.csv or levels.csv is damaged ({error!r}); restore it, or remove the folder and "
                    "run the study again"
                ) from error
            rows += found
            cells.append(last | {"trained_on": ended["trained_on"]})
            if curve:
                curves[cell] = curve
        elif Cell("free", cell.choice, cell.seed) in failed:
            failed[cell] = "its FREE run failed"
        else:
            missing.append(cell)
    summary = [
        _summary(setting, choice, part)
        for setting in study.base
        for choice in choices
        if (part := [c for c in cells if (c["setting"], c["choice"]) == (setting, choice)])
    ]
    pairs = [
        row
        for setting in study.base
        for measure in TESTED
        for row in _pairs(setting, measure, choices, cells)
    ]
    return Results(
        rows, cells, summary, pairs, failed, missing, _reference(reference, choices, summary), curves
    )


def _reference(asked: str | None, choices: Sequence[str], summary: Sequence[dict[str, Any]]) -> str:
    """The first of the candidates that has finished runs in most settings: a choice that fails is no reference."""
    candidates = [choice for choice in (asked, DEFAULT, *choices) if choice is not None and choice in choices]
    return max(candidates, key=lambda choice: sum(row["choice"] == choice for row in summary))


def _run(cell: Cell, study: Study, root: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    with open(cell.folder(root) / "log.csv", newline="") as file:
        log = list(csv.DictReader(file))
    grid = study.base[cell.setting].model
    names = {"setting": cell.setting, "choice": cell.choice, "seed": cell.seed}
    rows: list[dict[str, Any]] = []
    for line in log:
        if line["validation_si_snr"]:
            values = {
                name: _number(line.get(column) or line.get(OF_A_BATCH.get(column, column)) or "")
                for column, name in LOGGED.items()
            }
            values["events_per_second"] = values["density"] * grid.units * grid.sample_rate / grid.hop
            rows.append(names | {"step": int(line["step"]), "seconds": _number(line["seconds"])} | values)
    steps = study.base[cell.setting].training.steps
    if rows[-1]["step"] < steps:
        raise ValueError(f"it ends before step {steps}")
    gradients = [_number(line["encoder_gradient"]) for line in log]
    last = rows[-1] | {
        "encoder_gradient": median_of.median(gradients),
        "seconds_per_step": seconds_per_step(log),
    }
    return rows, last


def seconds_per_step(log: Sequence[dict[str, str]]) -> float:
    """Median, over steps in stretches of a run's log without a validation, of the time of one, reading included.

    Of a run that has no such stretch, over all its steps, the first stretch included. A median, because other programs,
    pauses and kills disturb; a stretch counts as often as it has steps, because logs give tenths of a second.
    """
    places = [(0, 0.0, "before")] + [
        (int(line["step"]), float(line["seconds"]), line["validation_si_snr"]) for line in log
    ]
    stretches = list(zip(places, places[1:], strict=False))
    quiet = [(start, end) for start, end in stretches[1:] if not end[2]]
    return median_of.median(
        (end[1] - start[1]) / (end[0] - start[0])
        for start, end in quiet or stretches
        for _ in range(end[0] - start[0])
    )


def _summary(setting: str, choice: str, cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {"setting": setting, "choice": choice, "seeds": len(cells)}
    for measure in MEASURES:
        mean, low, high = mean_interval(np.array([cell[measure] for cell in cells], float))
        row[measure] = {"mean": float(mean), "low": float(low), "high": float(high)}
    return row


def _pairs(
    setting: str, measure: str, choices: Sequence[str], cells: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    values: dict[str, dict[int, float]] = {choice: {} for choice in choices}
    for cell in cells:
        if cell["setting"] == setting:
            values[cell["choice"]][cell["seed"]] = cell[measure]
    rows: list[dict[str, Any]] = []
    for a, b in combinations([choice for choice in choices if values[choice]], 2):
        seeds = sorted(set(values[a]) & set(values[b]))
        rows.append(
            {"setting": setting, "measure": measure, "a": a, "b": b, "seeds": len(seeds)}
            | paired([values[a][seed] for seed in seeds], [values[b][seed] for seed in seeds])
        )
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["holm"] = p
    return rows


def _number(text: str) -> float:
    return float(text) if text else math.nan
