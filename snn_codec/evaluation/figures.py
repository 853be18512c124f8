"""Rate against distortion, clip by clip: Figures 2B and 4 of the paper."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from snn_codec import plots
from snn_codec.errors import UserError
from snn_codec.evaluation.coders import CLASSICAL
from snn_codec.metrics import MEASURES
from snn_codec.stats import bootstrap

OURS = ("#b4482f", "#2f6db4", "#4f8f3a", "#8a5aa8", "#c58a1b", "#2a9d9d", "#7d5a3c")
OTHERS = ("#3d4650", "#7b858f", "#a9834f", "#b0428a")  # codecs that are not models
GREY = "#8a8f98"
RANGE = 20.0  # dB below the best mean that are drawn
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
PAPER = {"RVQ": (3.445, 11.11), "FREE": (3.445, 9.49), "SPARSE": (1.65, 4.90), "Opus": (12.0, 8.47)}
PAPERS = "the paper's means, on MAESTRO"


def family(name: str) -> str:
    """What coders have in common that are one codec at several rates: `mu-sparse` of `mu-sparse@12`, `opus`."""
    return Path(_parts(name)[0]).name


def _parts(name: str) -> tuple[str, str]:
    """`mu-sparse`, `12` of `mu-sparse@12`; `wide`, `1` of `wide@1kbps`; `opus`, `6` of `opus:6`; `free` and nothing."""
    common, at, level = name.rpartition("@")
    if at:
        return common, level.removesuffix("kbps")
    codec, _, rate = name.partition(":")
    return (codec, rate) if codec in CLASSICAL else (name, "")


def rate_distortion(
    path: str | os.PathLike,
    evaluations: Sequence[dict[str, Any]],
    *,
    measure: str = "si_snr",
    paper: bool = True,
    force: bool = False,
) -> None:
    """Draw kbps (true bytes) against a measure: a dot a clip, crosses for means with their 95 % intervals.

    A codec at several rates is one colour, its means joined by a line. A model with a rate of its own also has an
    open mark at its dense rate, one bit a cell: what its entropy coder saves is the line between both.

    Args:
        path: PNG, PDF or SVG file to write.
        evaluations: As `command.evaluation` or `results.read` gives them; `model` is the name.
        measure: One of `metrics.MEASURES`.
        paper: Mark the values that the paper reports for SI-SNR, which are of other recordings.

    Raises:
        UserError: No evaluation has this measure, matplotlib is missing, or the file cannot be written.
    """
    points = [point for point in (_point(found, measure) for found in evaluations) if point]
    if not points:
        raise UserError(f"no evaluation has {measure}; ask for it with --perceptual")
    groups: dict[str, list[_Point]] = {}
    for point in points:
        groups.setdefault(family(point.model), []).append(point)
    with plots.written(path, (7.6, 4.4), plots.style(9), dpi=200, force=force) as figure:
        axis = figure.subplots()
        ours = others = 0
        for name, members in groups.items():
            is_model = members[0].dense is not None
            palette, number = (OURS, ours) if is_model else (OTHERS, others)
            ours, others = ours + is_model, others + (not is_model)
            _group(axis, name, members, palette[number % len(palette)], MARKERS[number % len(MARKERS)])
        if paper and measure == "si_snr":
            _paper(axis)
        _limits(axis, points, measure)
        plots.log_scale(axis, [0.1, 0.2, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64])
        axis.set(xlabel="kbit/s, true bytes", ylabel=MEASURES[measure].title)
        axis.grid(color="#e4e8ec", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        _legend(axis)


class _Point(NamedTuple):
    """One coder: kbps and the measure by clip and as `bootstrap` gives them, and its mean kbps at a bit a cell."""

    model: str
    rates: np.ndarray
    values: np.ndarray
    rate: dict[str, float]
    value: dict[str, float]
    dense: float | None


def _point(found: dict[str, Any], measure: str) -> _Point | None:
    """None if there is no such measure."""
    rows = found["clips"]
    names = [row["recording"] for row in rows]
    rates, values, dense = (
        np.array([row.get(key, np.nan) for row in rows], float) for key in ("kbps", measure, "dense_kbps")
    )
    if not np.isfinite(values).any():
        return None
    cells = float(np.nanmean(dense)) if np.isfinite(dense).any() else None
    return _Point(found["model"], rates, values, bootstrap(rates, names), bootstrap(values, names), cells)


def _group(axis, name: str, members: list[_Point], colour: str, marker: str) -> None:
    """One codec: its clips, its means, and the line through them by rate."""
    for point in members:
        alpha = max(0.1, min(0.5, 30 / len(point.values)))
        axis.plot(point.rates, point.values, ".", color=colour, ms=3, mew=0, alpha=alpha, zorder=2)
    members = sorted(members, key=lambda point: point.rate["mean"])
    axis.errorbar(
        [point.rate["mean"] for point in members],
        [point.value["mean"] for point in members],
        xerr=_bars([point.rate for point in members]),
        yerr=_bars([point.value for point in members]),
        fmt=marker + "-",
        color=colour,
        ms=5.5,
        lw=1.3,
        elinewidth=1.3,
        capsize=2.5,
        mec="white",
        mew=0.8,
        zorder=5,
        label=name + _unit(members[0].model),
    )
    first = members[0]
    twin = ">=" in name or "+" in name  # of a model that has its own mark
    if len(members) == 1 and first.dense and first.dense > 1.02 * first.rate["mean"] and not twin:
        y = first.value["mean"]
        axis.plot([first.rate["mean"], first.dense], [y, y], ":", color=colour, lw=1, zorder=3)
        label = f"{name}, one bit a cell"
        axis.plot(first.dense, y, marker, mfc="white", mec=colour, ms=5, zorder=4, label=label)
    for point in members:
        place = (point.rate["mean"], point.value["mean"])
        _name(axis, _parts(point.model)[1], place, (6, -4), colour, ha="left", va="top", zorder=6)


def _name(
    axis, text: str, place: tuple[float, float], offset: tuple[int, int], colour: str, **how: Any
) -> None:
    axis.annotate(
        text, place, xytext=offset, textcoords="offset points", fontsize=7, color=colour, clip_on=True, **how
    )


def _unit(model: str) -> str:
    """What the numbers beside the marks are."""
    if "@" in model:
        return ", by kbit/s" if model.endswith("kbps") else ", by level"
    if not _parts(model)[1]:
        return ""
    return ", by bit/s" if model.startswith("codec2:") else ", by kbit/s"


def _bars(means: list[dict[str, float]]) -> np.ndarray:
    """Lengths below and above the means: `[2, points]`."""
    ends = [(mean["mean"] - mean["low"], mean["high"] - mean["mean"]) for mean in means]
    return np.maximum(np.nan_to_num(np.array(ends)).T, 0)


def _paper(axis) -> None:
    """Crosses where the paper's models are, each named; on other recordings, so in grey."""
    for number, (name, (rate, value)) in enumerate(PAPER.items()):
        axis.plot(rate, value, "x", color=GREY, ms=5, zorder=1, label=None if number else PAPERS)
        _name(axis, name, (rate, value), (-6, -3), GREY, ha="right", va="top")


def _limits(axis, points: Sequence[_Point], measure: str) -> None:
    """Leave out what is so far below that nothing else could be told apart, and say where it is."""
    if not measure.endswith("si_snr"):
        return
    highest = max(point.value["mean"] for point in points)
    kept = [point.values for point in points if point.value["mean"] > highest - RANGE]
    low, high = np.nanpercentile(np.concatenate(kept), [0.5, 100])
    low = max(low, highest - RANGE)
    margin = 0.05 * max(high - low, 1.0)
    axis.set_ylim(low - margin, high + margin)
    for point in points:
        if point.value["mean"] <= highest - RANGE:
            axis.annotate(
                f"{point.model}: {point.value['mean']:.0f} dB",
                (point.rate["mean"], 0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 22),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                color=GREY,
                arrowprops={"arrowstyle": "->", "color": GREY, "lw": 0.8},
            )


def _legend(axis) -> None:
    """Only those that are within the limits."""
    bottom = axis.get_ylim()[0]
    handles, labels = axis.get_legend_handles_labels()
    entries = [
        (handle, label)
        for handle, label in zip(handles, labels, strict=True)
        if not hasattr(handle, "lines") or np.max(handle.lines[0].get_ydata()) > bottom
    ]
    entries.sort(key=lambda entry: entry[1] == PAPERS)
    axis.legend(
        *zip(*entries, strict=True),
        frameon=False,
        fontsize=8,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        title="mean and 95 % interval;\na dot a clip",
        title_fontsize=8,
        alignment="left",
    )
