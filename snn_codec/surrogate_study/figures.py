"""Figures of a study of surrogates: learning curves, ranking, quality over events, and every pseudo-derivative."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
import torch

from snn_codec.errors import UserError
from snn_codec.models.surrogates import derivative, parse, pseudo_derivative
from snn_codec.plots import INK, NOTE, log_scale, style, written
from snn_codec.stats import mean_interval
from snn_codec.surrogate_study.results import HIGHER_IS_BETTER, Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = {
    "si_snr": "SI-SNR (dB)",
    "stft_distance": "STFT distance",
    "events_per_second": "events per second",
    "dead_units": "dead units",
    "saturated_units": "saturated units",
    "encoder_gradient": "gradient norm\nat the encoder",
}
RANKED = {"si_snr": "SI-SNR (dB)", "stft_distance": "STFT distance", "events_per_second": "events per second"}
TITLES = {"free": "FREE", "sparse": "SPARSE"}
GRID = "#e3e7eb"
STYLE = style(8.5) | {
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def _figure(path: str | os.PathLike, width: float, height: float) -> AbstractContextManager[Figure]:
    return written(path, (width, height), STYLE, dpi=160, force=True)


def _looks(choices: Sequence[str]) -> dict[str, dict]:
    """Colour, line and marker of each choice: ten colours, then the same dashed."""
    from matplotlib import colormaps

    colours = colormaps["tab10"]
    return {
        choice: {
            "color": colours(number % 10),
            "linestyle": ("-", "--", ":")[number // 10 % 3],
            "marker": "D^o"[number // 10 % 3],
        }
        for number, choice in enumerate(choices)
    }


def learning(path: str | os.PathLike, results: Results) -> None:
    """Every measure over the steps, a column a setting: mean over seeds, and its 95 % interval as a band.

    The mean of gradient norms is geometric. The frame holds the runs, so that the wide bands of two seeds are cut;
    SI-SNR and STFT distance of choices that end very far from the others are outside. What no run has any of, as dead
    units or a gradient of an encoder that is a fixed transform, is left out, and a line says so.

    Raises:
        UserError: matplotlib is missing, or the file cannot be written.
    """
    settings = results.settings()
    order = results.choices(settings[0])
    looks = _looks(list(dict.fromkeys(row["choice"] for row in results.summary)))
    without = [measure for measure in CURVES if all(row[measure] == 0 for row in results.rows)]
    curves = {measure: name for measure, name in CURVES.items() if measure not in without}
    with _figure(path, 3.6 * len(settings) + 1.6, 1.55 * len(curves) + 0.5) as figure:
        axes = figure.subplots(len(curves), len(settings), sharex="col", squeeze=False)
        for column, setting in enumerate(settings):
            axes[0, column].set_title(TITLES[setting], loc="left", fontsize=10)
            axes[-1, column].set_xlabel("step")
            for row, (measure, name) in enumerate(curves.items()):
                axis = axes[row, column]
                for choice in order:
                    _curve(axis, results, setting, choice, measure, looks[choice])
                axis.grid(color=GRID, linewidth=0.6)
                if not column:
                    axis.set_ylabel(name)
                if measure in ("dead_units", "saturated_units"):
                    top = max(1.0, axis.get_ylim()[1])
                    axis.set_ylim(-0.03 * top, top)
                else:
                    if measure == "encoder_gradient":
                        axis.set_yscale("log")
                    _frame(axis, results, setting, measure)
                axis.set_xlim(left=0)
        from matplotlib.lines import Line2D

        handles = [Line2D([], [], linewidth=1.8, **looks[choice]) for choice in order]
        title = f"by final SI-SNR, {TITLES[settings[0]]}"
        legend = figure.legend(handles, order, loc="outside right upper", frameon=False, title=title)
        legend.get_title().set_fontsize(8)
        if without:
            none = " and ".join(f"no {CURVES[measure]}" for measure in without).replace("\n", " ")
            figure.supxlabel(f"{none} in any run", fontsize=7.5)


def _frame(axis, results: Results, setting: str, measure: str) -> None:
    """Frame the runs; those of choices that end very far from the others in quality are left out."""
    near = set(results.choices(setting))
    if measure in ("si_snr", "stft_distance"):
        near -= set(_far({choice: results.of(setting, choice)[measure]["mean"] for choice in near}))
    log = axis.get_yscale() == "log"
    values = np.array([
        row[measure] for row in results.rows
        if row["setting"] == setting and row["choice"] in near and not math.isnan(row[measure])
        and (row[measure] > 0 or not log)
    ])  # fmt: skip
    if len(values) and values.min() < values.max():
        ends = np.log(values) if log else values
        margin = 0.1 * (ends.max() - ends.min())
        bounds = ends.min() - margin, ends.max() + margin
        axis.set_ylim(*(np.exp(bounds) if log else bounds))


def _curve(axis, results: Results, setting: str, choice: str, measure: str, look: dict) -> None:
    by_step: dict[int, list[float]] = {}
    for row in results.rows:
        if (row["setting"], row["choice"]) == (setting, choice):
            by_step.setdefault(row["step"], []).append(row[measure])
    if not by_step:
        return
    most = max(map(len, by_step.values()))
    steps = sorted(step for step, values in by_step.items() if len(values) == most)
    values = np.array([by_step[step] for step in steps]).T
    if measure == "encoder_gradient":  # over orders of magnitude; a norm of 0 has no place on their axis
        values = np.log(np.where(values > 0, values, np.nan))
    ends = mean_interval(values)
    mean, low, high = np.exp(ends) if measure == "encoder_gradient" else ends
    axis.plot(steps, mean, linewidth=1.4, **look)
    if not np.isnan(low).all():
        axis.fill_between(steps, low, high, color=look["color"], alpha=0.12, linewidth=0)


def ranking(path: str | os.PathLike, results: Results) -> None:
    """Choices from best to worst in the first setting: each seed a dot, diamond and bar the mean and its 95 % interval.

    Choices that are very far from the others are written at the edge. The line is the reference's mean; red are those
    that differ from it (p < 0.05, paired, after Holm).

    Raises:
        UserError: matplotlib is missing, or the file cannot be written.
    """
    settings = results.settings()
    panels = [
        (setting, measure)
        for setting in settings
        for measure in RANKED
        if setting != "free" or measure != "events_per_second"  # there all units fire half of the time
    ]
    order = results.choices(settings[0])
    with _figure(path, 2.25 * len(panels) + 1.3, 0.34 * len(order) + 1.35) as figure:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)
        for axis, (setting, measure) in zip(axes[0], panels, strict=True):
            _forest(axis, results, setting, measure, order)
        axes[0, 0].set_yticks(range(len(order)), order)
        axes[0, 0].set_ylim(len(order) - 0.5, -0.5)
        figure.supxlabel(
            f"dots: seeds; diamond and bar: mean, 95 % interval; line: {results.reference}; "
            "red: differs from it (p < 0.05, paired, Holm)",
            fontsize=7.5,
        )


def _forest(axis, results: Results, setting: str, measure: str, order: Sequence[str]) -> None:
    against = results.against(setting, measure, results.reference)
    far = _far({choice: results.of(setting, choice)[measure]["mean"] for choice in results.choices(setting)})
    for place, choice in enumerate(order):
        values = [cell[measure] for cell in results.ended(setting, choice)]
        band = "#f5f7f9" if place % 2 == 0 else "white"
        axis.axhspan(place - 0.5, place + 0.5, color=band, zorder=0, linewidth=0)
        if not values:
            failed = any((cell.setting, cell.choice) == (setting, choice) for cell in results.failed)
            axis.text(0.5, place, "failed" if failed else "missing", transform=axis.get_yaxis_transform(),
                      ha="center", va="center", fontsize=7.5, color="#6b7785",
                      bbox={"facecolor": band, "edgecolor": "none", "pad": 1})  # fmt: skip
            continue
        mean = results.of(setting, choice)[measure]
        colour = NOTE if against.get(choice, {}).get("p_holm", math.nan) < 0.05 else INK
        if choice in far:
            side = 1 if far[choice] > 0 else 0
            value = f"{mean['mean']:.0f}" if abs(mean["mean"]) >= 1000 else f"{mean['mean']:.3g}"
            said = f"{value} →" if side else f"← {value}"
            axis.text(0.98 if side else 0.02, place, said, transform=axis.get_yaxis_transform(), va="center",
                      ha="right" if side else "left", fontsize=7.5, color=colour)  # fmt: skip
            continue
        spread = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else [0]
        axis.plot(
            values, place + np.array(spread), ".", color=colour, alpha=0.35, markersize=5, markeredgewidth=0
        )
        if not math.isnan(mean["low"]):
            axis.hlines(place, mean["low"], mean["high"], color=colour, linewidth=1.8)
        axis.plot(mean["mean"], place, "D", color=colour, markersize=4.5)
        if choice == results.reference:
            axis.axvline(mean["mean"], color=INK, linewidth=0.8, linestyle=(0, (3, 3)), zorder=1)
    axis.grid(axis="x", color=GRID, linewidth=0.6)
    axis.tick_params(axis="y", length=0)
    axis.set_title(f"{TITLES[setting]}\n{RANKED[measure]}", loc="left", fontsize=8.5)
    if measure not in HIGHER_IS_BETTER:
        axis.annotate("← better" if measure == "stft_distance" else "← fewer", (1, 1.0), xycoords="axes fraction",
                      ha="right", va="bottom", fontsize=7, color="#6b7785")  # fmt: skip
    else:
        axis.annotate("better →", (1, 1.0), xycoords="axes fraction", ha="right", va="bottom", fontsize=7,
                      color="#6b7785")  # fmt: skip


def _far(means: dict[str, float]) -> dict[str, float]:
    """Choices so far from the others that these could not be told apart beside them, and how far."""
    there = np.array([mean for mean in means.values() if not math.isnan(mean)])
    if len(there) < 4:
        return {}
    middle = np.median(there)
    usual = np.median(np.abs(there - middle))
    return {
        choice: mean - middle for choice, mean in means.items() if usual and abs(mean - middle) > 10 * usual
    }


def tradeoff(path: str | os.PathLike, results: Results) -> None:
    """SI-SNR over events per second and over true bytes of SPARSE runs, as they ended.

    Choices on one curve differ in density alone. Each seed a dot, the mean a diamond. Runs of a version that did not
    measure bytes have the first panel alone.

    Raises:
        UserError: matplotlib is missing, or the file cannot be written.
    """
    order = results.choices("sparse")
    looks = _looks(list(dict.fromkeys(row["choice"] for row in results.summary)))
    ended = {choice: results.ended("sparse", choice) for choice in order}
    across = {
        measure: name
        for measure, name in (("events_per_second", "events per second"), ("coded_kbps", "coded kbps"))
        if not any(math.isnan(cell[measure]) for cells in ended.values() for cell in cells)
    }
    with _figure(path, 3.6 * len(across) + 2.0, 3.2) as figure:
        axes = figure.subplots(1, len(across), sharey=True, squeeze=False)
        for axis, (measure, name) in zip(axes[0], across.items(), strict=True):
            for choice, cells in ended.items():
                points = np.array([(cell[measure], cell["si_snr"]) for cell in cells])
                colour, marker = looks[choice]["color"], looks[choice]["marker"]
                axis.plot(*points.T, ".", color=colour, alpha=0.45, markersize=6, markeredgewidth=0)
                axis.plot(*points.mean(0), marker, color=colour, markersize=5.5, label=choice)
            _log_ticks(axis)
            axis.set_xlabel(name)
            axis.grid(color=GRID, linewidth=0.6)
        axes[0, 0].set_ylabel("SI-SNR (dB)")
        axes[0, 0].set_title("SPARSE", loc="left", fontsize=10)
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right upper", frameon=False)


def _log_ticks(axis) -> None:
    """A logarithmic x-axis with about five numbers, however narrow or wide its range is."""
    axis.set_xscale("log")  # before its limits are asked for
    low, high = axis.get_xlim()
    for digits in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [
            digit * 10.0**power
            for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            for digit in digits
            if low <= digit * 10.0**power <= high
        ]
        if len(ticks) >= 4:
            break
    else:  # less than about a factor of two
        from matplotlib.ticker import MaxNLocator

        ticks = [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
    log_scale(axis, ticks)
    axis.set_xlim(low, high)


def derivatives(path: str | os.PathLike, choices: Sequence[str]) -> None:
    """The pseudo-derivative of every choice as its framework computes it, over where membranes are.

    The grey hill is a normal distribution, which batch norm gives the membranes at first; "mean" is the mean of H'
    under it, the gain with which gradients pass.

    Raises:
        UserError: matplotlib or a framework is missing, or the file cannot be written.
    """
    membrane = torch.linspace(-3.5, 3.5, 1401)
    density = torch.exp(-membrane.square() / 2) / math.sqrt(2 * math.pi)
    columns = min(4, len(choices))
    rows = -(-len(choices) // columns)
    with _figure(path, 2.2 * columns + 0.3, 1.6 * rows + 0.4) as figure:
        axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for axis, choice in zip(axes.flat, choices, strict=False):
            try:
                slope = pseudo_derivative(*parse(choice), membrane)
            except UserError:  # a module of one's own that is not here
                slope = torch.full_like(membrane, math.nan)
            if not slope.isfinite().all():
                axis.set_title(choice, loc="left", fontsize=8.5)
                axis.text(0.5, 0.5, "cannot be drawn", transform=axis.transAxes, ha="center", fontsize=7.5)
                axis.set_yticks([])
                continue
            top, bottom = float(slope.max()), min(0.0, float(slope.min()))
            axis.fill_between(membrane, density / density.max() * max(top, 1e-9), color="#d9dee3", alpha=0.7,
                              linewidth=0)  # fmt: skip
            axis.axhline(0, color=INK, linewidth=0.6)
            axis.vlines(0, bottom, top, color=INK, linewidth=0.6, linestyle=(0, (2, 3)))
            axis.plot(membrane, slope, color=NOTE, linewidth=1.4)
            axis.set_ylim(bottom - 0.08 * (top - bottom), top + 0.42 * (top - bottom))
            axis.set_title(choice, loc="left", fontsize=8.5)
            gain = round(float((slope * density).sum() / density.sum()), 2) + 0.0  # no -0.00
            form = derivative(choice)
            axis.text(
                0.03, 0.96, f"${form}$" if form else "", transform=axis.transAxes, va="top", fontsize=7.5
            )
            axis.set_title(f"mean {gain:.2f}", loc="right", fontsize=7, color="#6b7785")
            axis.locator_params(axis="y", nbins=3)
        for axis in axes.flat[len(choices) :]:
            axis.set_axis_off()
        for column in range(columns):
            last = max(row for row in range(rows) if row * columns + column < len(choices))
            axes[last, column].tick_params(labelbottom=True)
        figure.supxlabel("membrane minus threshold, u", fontsize=8.5)
        figure.supylabel("pseudo-derivative H'(u)", fontsize=8.5)
