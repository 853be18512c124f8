"""The report of a listening test: screening, means and medians, tests, and the paper's Figure 3."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from snn_codec.errors import UserError
from snn_codec.files import make_folder, replacing, without_nan
from snn_codec.listening import statistics
from snn_codec.listening.keys import BUILT_IN, MID_ANCHOR, REFERENCE
from snn_codec.listening.results import Ratings
from snn_codec.plots import INK, NOTE, check_matplotlib, style, written
from snn_codec.stats import mean_interval


def analyse(ratings: Ratings) -> dict[str, Any]:
    """Compute all figures of a test, ready for JSON.

    `raters`: how many, who was dropped and why. `conditions`: from best to worst, mean and median of the raters'
    means with 95 % intervals. `friedman` and `pairs` are over the conditions under test: not the reference, not
    the anchors, which would make any test significant.

    Raises:
        UserError: There is no hidden reference or no mid anchor to screen raters by, or no rater is left.
    """
    for needed in (REFERENCE, MID_ANCHOR):
        if needed not in ratings.conditions:
            raise UserError(
                f"nobody rated {needed!r}, so raters cannot be screened; the conditions are "
                f"{', '.join(ratings.conditions)} (for webMUSHRA's results give the test's folder with --test)"
            )
    if not ratings.raters:
        raise UserError("no rater rated everything; there is nothing to analyse")
    screening = statistics.screen(ratings.of(REFERENCE), ratings.of(MID_ANCHOR))
    dropped = _dropped(ratings, screening)
    scores = ratings.scores[screening.kept]
    if not len(scores):
        reasons = "; ".join(f"{rater}: {why}" for rater, why in dropped.items())
        raise UserError(f"all raters are dropped by the screening ({reasons})")
    conditions = _conditions(ratings.conditions, scores)
    tested = [row["name"] for row in conditions if row["name"] not in BUILT_IN]
    chosen = scores[:, :, [ratings.conditions.index(name) for name in tested]]
    statistic, p = statistics.friedman(chosen.mean(1)) if tested else (float("nan"),) * 2
    return {
        "raters": {
            "all": len(ratings.raters) + len(ratings.incomplete),
            "kept": len(scores),
            "dropped": dropped,
        },
        "items": {
            name: {"mid_anchor_counts": bool(counts)}
            for name, counts in zip(ratings.items, screening.counted, strict=True)
        },
        "conditions": conditions,
        "friedman": {"conditions": tested, "statistic": statistic, "p": p},
        "pairs": [
            pair._asdict() | {"a": tested[pair.a], "b": tested[pair.b]} for pair in statistics.pairs(chosen)
        ],
    }


def _dropped(ratings: Ratings, screening: statistics.Screening) -> dict[str, str]:
    reasons = {rater: f"{count} scores missing" for rater, count in ratings.incomplete.items()}
    for number, rater in enumerate(ratings.raters):
        if not screening.kept[number]:
            low, high = int(screening.low_references[number]), int(screening.high_anchors[number])
            said = [
                f"hidden reference under {statistics.LIMIT} on {low} of {len(ratings.items)} items",
                f"mid anchor over {statistics.LIMIT} on {high} of {int(screening.counted.sum())} items",
            ]
            broken = [
                low > statistics.SHARE * len(ratings.items),
                high > statistics.SHARE * screening.counted.sum(),
            ]
            reasons[rater] = ", ".join(text for text, is_so in zip(said, broken, strict=True) if is_so)
    return reasons


def _conditions(names: list[str], scores: np.ndarray) -> list[dict[str, Any]]:
    means = scores.mean(1)
    values = [*mean_interval(means), *statistics.median_interval(means)]
    fields = ("mean", "mean_low", "mean_high", "median", "median_low", "median_high")
    rows = [
        {"name": name}
        | {field: float(value[number]) for field, value in zip(fields, values, strict=True)}
        | {"rater_means": means[:, number].tolist()}
        for number, name in enumerate(names)
    ]
    return sorted(rows, key=lambda row: -row["mean"])


def text(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    raters, friedman = report["raters"], report["friedman"]
    lines = [
        "# Listening test",
        "",
        f"{raters['kept']} of {raters['all']} raters, {len(report['items'])} items. One observation is one rater's "
        "mean over the items; intervals are 95 %, over raters, for these items.",
        "",
        "| condition | mean | interval | median | interval |",
        "|---|---|---|---|---|",
    ]
    for row in report["conditions"]:
        lines.append(
            f"| {row['name']} | {row['mean']:.1f} | {_interval(row['mean_low'], row['mean_high'])} "
            f"| {row['median']:.1f} | {_interval(row['median_low'], row['median_high'])} |"
        )
    if not np.isnan(friedman["statistic"]):
        lines += [
            "",
            "Do the conditions under test differ? "
            f"Friedman: chi2 = {friedman['statistic']:.2f}, p = {friedman['p']:.3g}.",
        ]
    if report["pairs"]:
        lines += [
            "",
            "| pair | difference | interval | Wilcoxon p | after Holm | wins | losses | ties |",
            "|---|---|---|---|---|---|---|---|",
        ]
    for pair in report["pairs"]:
        lines.append(
            f"| {pair['a']} - {pair['b']} | {pair['difference']:+.1f} | {_interval(pair['low'], pair['high'])} "
            f"| {pair['p']:.3g} | {pair['holm']:.3g} | {pair['wins']} | {pair['losses']} | {pair['ties']} |"
        )
    lines += [
        "",
        "Raters dropped (post-screening of ITU-R BS.1534-3):"
        if raters["dropped"]
        else "No rater was dropped.",
    ]
    lines += [f"- {rater}: {why}" for rater, why in raters["dropped"].items()]
    for name, item in report["items"].items():
        if not item["mid_anchor_counts"]:
            lines.append(
                f"- item {name}: over a quarter put its mid anchor over 90; nobody was dropped for that"
            )
    return "\n".join(lines) + "\n"


def _interval(low: float, high: float) -> str:
    return "-" if np.isnan(low) else f"{low:.1f} to {high:.1f}"


def write(report: dict[str, Any], folder: Path, *, force: bool = False) -> None:
    """Write `report.md`, `report.json` and `figure3.png`.

    Raises:
        UserError: matplotlib is missing, or a file exists (without `force`) or cannot be written.
    """
    check_matplotlib()
    make_folder(folder)
    for name, content in (
        ("report.md", text(report)),
        ("report.json", json.dumps(without_nan(report), indent=1) + "\n"),
    ):
        with replacing(folder / name, force=force) as temporary:
            temporary.write_text(content, encoding="utf-8")
    figure3(folder / "figure3.png", report, force=force)


def figure3(path: str | os.PathLike, report: dict[str, Any], *, force: bool = False) -> None:
    """Draw the paper's Figure 3: scores of every condition on the five-label scale, and who won against whom.

    A dot is one rater's mean; diamond and bar are the mean of those and its 95 % interval.

    Raises:
        UserError: matplotlib is missing, or the file cannot be written.
    """
    rows, tested = report["conditions"], report["friedman"]["conditions"]
    widths = [max(3.2, 0.75 * len(rows) + 1)] + [0.55 * len(tested) + 0.8] * (len(tested) > 1)
    size = (sum(widths), max(3.9, 0.55 * len(tested) + 1.2))
    # tight: constrained layout places the title as if the matrix, whose cells are square, filled its panel
    with written(path, size, style(9), force=force, bbox_inches="tight") as figure:
        axes = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)
        _scores(axes[0, 0], rows)
        axes[0, 0].set_ylabel(f"MUSHRA score ({report['raters']['kept']} raters)")
        if len(tested) > 1:
            _wins(axes[0, 1], tested, report["pairs"])


def _scores(axis, rows: list[dict[str, Any]]) -> None:
    for number, label in enumerate(("Bad", "Poor", "Fair", "Good", "Excellent")):
        low, middle = 20 * number, 20 * number + 10
        axis.axhspan(low, low + 20, color="white" if number % 2 else "#f3f5f7", zorder=0)
        axis.text(1.01, middle, label, transform=axis.get_yaxis_transform(), va="center", color="#6b7785")
    random = np.random.default_rng(0)
    for place, row in enumerate(rows):
        means, mean = np.array(row["rater_means"]), row["mean"]
        places = place + random.uniform(-0.16, 0.16, len(means))
        colour = INK if row["name"] in BUILT_IN else NOTE
        axis.plot(places, means, ".", color=colour, alpha=0.35, markersize=5, markeredgewidth=0)
        if not np.isnan(row["mean_low"]):
            axis.vlines(place, row["mean_low"], row["mean_high"], color=colour, linewidth=2.2)
        axis.plot(place, mean, "D", color=colour, markersize=5)
        axis.annotate(
            f"{mean:.1f}", (place, mean), (9, 0), textcoords="offset points", va="center", fontsize=8
        )
    axis.set_xticks(range(len(rows)), [row["name"] for row in rows], rotation=30, ha="right")
    axis.set_xlim(-0.6, len(rows) - 0.2)
    axis.set_ylim(-1, 101)


def _wins(axis, tested: list[str], pairs: list[dict[str, Any]]) -> None:
    """How often the condition of the row was rated above that of the column, with a star where p < 0.05."""
    share = np.full((len(tested), len(tested)), np.nan)
    for pair in pairs:
        a, b = tested.index(pair["a"]), tested.index(pair["b"])
        total = pair["wins"] + pair["losses"] + pair["ties"]
        star = "*" if pair["holm"] < 0.05 else ""
        for row, column, count in ((a, b, pair["wins"]), (b, a, pair["losses"])):
            share[row, column] = count / total
            axis.text(column, row, f"{100 * count / total:.0f}%{star}", ha="center", va="center", fontsize=8,
                      color="white" if count / total > 0.65 else INK)  # fmt: skip
    axis.imshow(share, cmap="Oranges", vmin=0, vmax=1)
    axis.set_xticks(range(len(tested)), tested, rotation=30, ha="right")
    axis.set_yticks(range(len(tested)), tested)
    axis.set_title("row rated above column\n(* p < 0.05 after Holm)", fontsize=8)
