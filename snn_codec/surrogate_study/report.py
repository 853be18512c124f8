"""The report of a study of surrogates: tables as CSV, JSON and Markdown, beside its figures."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snn_codec.errors import UserError
from snn_codec.files import make_folder, replacing, without_nan
from snn_codec.surrogate_study import figures
from snn_codec.surrogate_study.equal_bytes import AtEqualBytes, EqualBytes
from snn_codec.surrogate_study.grid import Study, split_choice
from snn_codec.surrogate_study.results import MEASURES, Results

TITLES = {"free": "FREE", "sparse": "SPARSE"}


def write(study: Study, results: Results, folder: Path, asked: str | None = None) -> None:
    """Write `runs.csv`, `summary.csv`, `summary.json`, `pairs.csv`, `report.md` and figures.

    Raises:
        UserError: Nothing is finished, matplotlib is missing, or a file cannot be written.
    """
    if not results.summary:
        raise UserError(f"{folder.parent}: no run is finished; there is nothing to report")
    make_folder(folder)
    flat = [
        {
            key if part is None else f"{key}_{part}": value if part is None else value[part]
            for key, value in row.items()
            for part in (value if isinstance(value, dict) else (None,))
        }
        for row in results.summary
    ]
    _table(folder / "runs.csv", results.rows)
    _table(folder / "summary.csv", flat)
    _table(folder / "pairs.csv", results.pairs)
    equal = AtEqualBytes.of(results)
    _text(folder / "summary.json", json.dumps(without_nan(_json(study, results, equal)), indent=1) + "\n")
    _text(folder / "report.md", text(study, results, asked, equal))
    figures.learning(folder / "learning.png", results)
    figures.ranking(folder / "ranking.png", results)
    if "sparse" in results.settings():
        figures.tradeoff(folder / "tradeoff.png", results)
    each = dict.fromkeys(split_choice(choice)[0] for choice in study.choices)
    figures.derivatives(folder / "derivatives.png", list(each))


def text(study: Study, results: Results, asked: str | None = None, equal: AtEqualBytes | None = None) -> str:
    """The report as Markdown; `asked` is the reference that was asked for, if any, `equal` that of the results."""
    equal = AtEqualBytes.of(results) if equal is None else equal
    lines = [
        "# Surrogate gradients compared",
        "",
        f"{len(study.choices)} choices, seeds 0 to {study.seeds - 1}; all choices of a seed start from the same "
        "weights and hear the same crops. Means at the last step, of the averaged weights on the same validation clips "
        "for all, with 95 % intervals over seeds (Student), not over clips. "
        f"Differences are to `{results.reference}`, paired by seed; p is of the paired t-test, after Holm over the "
        "rows. Dead units fire in no step of the validation clips, saturated ones in all; runs whose logs lack that "
        "have the counts of one training batch, where units that are rare seem dead. kbps is the cheapest of the "
        "paper's formats, coded kbps an entropy coder without a trained model.",
    ]
    if asked not in (None, results.reference):
        lines += ["", f"`{asked}` has no finished run in some setting, so it is not the reference."]
    if results.missing:
        lines += ["", *_missing(study, results)]
    lines += _trained_on(results)
    for setting in results.settings():
        lines += ["", *_setting(study, results, setting)]
        lines += _over_levels(study, setting, equal.over_levels[setting])
    lines += _equal_bytes(equal.sparse)
    if results.failed:
        lines += ["", "Runs that failed:", ""]
        lines += [f"- {cell}: {reason}" for cell, reason in results.failed.items()]
    return "\n".join(lines) + "\n"


def _setting(study: Study, results: Results, setting: str) -> list[str]:
    base = study.base[setting].training
    from_where = "" if setting == "free" else f", each from its FREE run; lambda to {base.sparsity.goal:g}"
    lines = [
        f"## {TITLES[setting]} ({base.steps} steps of {base.batch} crops{from_where})",
        "",
        "| choice | seeds | SI-SNR (dB) | difference (dB) | p | STFT distance | events/s | kbps | coded kbps | dead "
        "| saturated | gradient at the encoder | ms a step |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    against = results.against(setting, "si_snr", results.reference)
    for choice in results.choices(setting):
        row, paired = results.of(setting, choice), against.get(choice)
        difference = p = "-"
        if paired is not None:
            difference, p = _interval(paired, 2, "difference", "+"), _p(paired["p_holm"])
        cells = [
            f"`{choice}`", str(row["seeds"]), _interval(row["si_snr"], 2), difference, p,
            _interval(row["stft_distance"], 3), f"{row['events_per_second']['mean']:.0f}", f"{row['kbps']['mean']:.2f}",
            _number(row["coded_kbps"]["mean"]),
            f"{row['dead_units']['mean']:.1f}", f"{row['saturated_units']['mean']:.1f}",
            f"{row['encoder_gradient']['mean']:.2g}", f"{1000 * row['seconds_per_step']['mean']:.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, *_ranked(results, setting)]


def _ranked(results: Results, setting: str) -> list[str]:
    """Which choice has the best mean, and which are told apart from it."""
    lines: list[str] = []
    best = results.choices(setting)[0]
    rest = results.choices(setting)[1:]
    pairs = [row for row in results.pairs if (row["setting"], row["measure"]) == (setting, "si_snr")]
    tested = [row["holm"] for row in pairs if not math.isnan(row["holm"])]
    rates = [results.of(setting, choice)["coded_kbps"]["mean"] for choice in results.choices(setting)]
    if setting == "sparse" and rest and not any(map(math.isnan, rates)):
        lines += [
            "",
            f"Runs ended at {min(rates):.2f} to {max(rates):.2f} coded kbps. More bytes sound better, so that this "
            "order is no ranking of choices whose rates differ.",
        ]
    if rest and tested:
        lead = {
            row["b"] if row["a"] == best else row["a"]: (
                row["difference"] * (1 if row["a"] == best else -1),
                row["holm"],
            )
            for row in pairs
            if best in (row["a"], row["b"])
        }
        worse = [other for other in rest if lead[other][0] > 0 and lead[other][1] < 0.05]
        equal = [other for other in rest if other not in worse]
        lines += [
            "",
            f"Best mean over the seeds that all choices have: `{best}`. Of {len(tested)} pairs of choices, "
            f"{sum(p < 0.05 for p in tested)} differ in SI-SNR (p < 0.05 after Holm over all pairs). "
            + (f"Worse than the best: {_names(worse)}. " if worse else "")
            + (f"Not told apart from it: {_names(equal)}." if equal else ""),
        ]
    return lines


def _missing(study: Study, results: Results) -> list[str]:
    """Which runs have not ended."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for cell in results.missing:
        seeds.setdefault((cell.setting, cell.choice), []).append(str(cell.seed))
    said = (
        f"{TITLES[setting]} `{choice}` seed {', '.join(of_choice)}"
        for (setting, choice), of_choice in seeds.items()
    )
    return [
        f"**Partial:** {len(results.missing)} of {len(study.cells())} runs have not ended; the same command goes on "
        f"with them. Missing: {'; '.join(said)}."
    ]


def _trained_on(results: Results) -> list[str]:
    """Which seeds were trained on which machines, if there are several."""
    seeds: dict[str, set[int]] = {}
    machines: dict[tuple[str, int], set[str]] = {}  # of runs that are compared
    for cell in results.cells:
        seeds.setdefault(cell["trained_on"], set()).add(cell["seed"])
        machines.setdefault((cell["setting"], cell["seed"]), set()).add(cell["trained_on"])
    if len(seeds) < 2:
        return []
    said = (
        f"{machine or 'not known'} (seed {', '.join(map(str, sorted(of_machine)))})"
        for machine, of_machine in seeds.items()
    )
    mixed = any(len(each) > 1 for each in machines.values())
    means = "some differences are between machines, too" if mixed else "no difference is between machines"
    return ["", f"Trained on: {'; '.join(said)}; {means}. ms a step is a mean over all."]


def _equal_bytes(found: EqualBytes | None) -> list[str]:
    """The choices when they cost the same."""
    if found is None:
        return []
    return [
        "",
        f"## SPARSE at equal bytes ({found.kbps:.2f} coded kbps)",
        "",
        "The SI-SNR of each run where its rate falls, as the pressure grows, to the lowest that all of these reached, "
        "or later in fewer bytes, if it is higher there; the last column says at which steps. A run that is read "
        "earlier had less training, and its events were still falling: where steps differ much, the order may be "
        "theirs.",
        *_compared(found),
        *_left_out(found),
    ]


def _left_out(found: EqualBytes) -> list[str]:
    """The choices that have no row, and why."""
    said = [
        f"`{choice}` stayed {'above' if low > found.kbps else 'below'} ({low:.2f} to {high:.2f})"
        for choice, (low, high) in found.left_out.items()
    ]
    return ["", f"Left out, as their runs never had this rate: {'; '.join(said)}."] if said else []


def _over_levels(study: Study, setting: str, at_rates: Sequence[EqualBytes]) -> list[str]:
    """The choices of a model with levels when they cost the same."""
    lines: list[str] = []
    coder = f"the entropy model of {Path(study.entropy_model).name}" if study.entropy_model else "coded kbps"
    for found in at_rates:
        lines += [
            "",
            f"## {TITLES[setting]} at equal bytes ({found.kbps:.2f} kbps)",
            "",
            f"The SI-SNR of each run's best checkpoint between the levels whose rates ({coder}) are above and below.",
            *_compared(found),
        ]
    return lines


def _compared(found: EqualBytes) -> list[str]:
    """The table of choices at one rate."""
    falling = any("steps" in row for row in found.rows)
    lines = [
        "",
        f"| choice | seeds | SI-SNR (dB) | difference (dB) | p |{' read at step |' if falling else ''}",
        f"|---|---|---|---|---|{'---|' if falling else ''}",
    ]
    for row in found.rows:
        difference = p = "-"
        if "against" in row:
            difference, p = _interval(row["against"], 2, "difference", "+"), _p(row["against"]["p_holm"])
        cells = [f"`{row['choice']}`", str(row["seeds"]), _interval(row["si_snr"], 2), difference, p]
        if falling:
            first, last = row["steps"]
            cells.append(str(first) if first == last else f"{first} to {last}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _names(choices: Sequence[str]) -> str:
    return ", ".join(f"`{choice}`" for choice in choices)


def _interval(value: dict[str, float], digits: int, middle: str = "mean", sign: str = "") -> str:
    said = f"{value[middle]:{sign}.{digits}f}"
    if math.isnan(value["low"]):
        return said
    return f"{said} ({value['low']:{sign}.{digits}f} to {value['high']:{sign}.{digits}f})"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _p(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2g}"


def _json(study: Study, results: Results, equal: AtEqualBytes) -> dict[str, Any]:
    sparse = equal.sparse
    return {
        "reference": results.reference,
        "choices": list(study.choices),
        "seeds": study.seeds,
        "data": [folder.name for folder in study.data],
        "steps": {setting: base.training.steps for setting, base in study.base.items()},
        "summary": results.summary,
        "against_reference": {
            setting: results.against(setting, "si_snr", results.reference) for setting in results.settings()
        },
        "equal_bytes": None if sparse is None else dataclasses.asdict(sparse),
        "over_levels": {
            setting: [dataclasses.asdict(found) for found in at_rates]
            for setting, at_rates in equal.over_levels.items()
        },
        "missing": [str(cell) for cell in results.missing],
        "trained_on": [
            {name: cell[name] for name in ("setting", "choice", "seed", "trained_on")}
            for cell in results.cells
        ],
        "failed": [{"run": str(cell), "reason": reason} for cell, reason in results.failed.items()],
        "measures": list(MEASURES),
    }


def _table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with replacing(path, force=True) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0] if rows else [])
        for row in rows:
            writer.writerow(
                ["" if v != v else f"{v:.6g}" if isinstance(v, float) else v for v in row.values()]
            )


def _text(path: Path, content: str) -> None:
    with replacing(path, force=True) as temporary:
        temporary.write_text(content, encoding="utf-8")
