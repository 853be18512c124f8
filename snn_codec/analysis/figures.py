"""Figure 5 of the paper, for one model or two side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from snn_codec import plots
from snn_codec.analysis import notes, nulls
from snn_codec.analysis.notes import Score
from snn_codec.analysis.study import Study
from snn_codec.analysis.tuning import FIFTH
from snn_codec.events import EventMatrix

SECONDS = 8.0  # of the raster in panel A
CURVES = 4  # units in panel B


def figure5(
    path: str | os.PathLike,
    studies: Sequence[Study],
    examples: Sequence[tuple[EventMatrix, Score]],
    hertz: Sequence[np.ndarray | None] | None = None,
    *,
    force: bool = False,
) -> None:
    """Draw A: raster over piano roll; B: cross-correlations of the best pairs; C: prominence and one unit's tuning.

    A column a model; the recording of panel A is `examples`, one for each study, with the frequencies of its units in
    `hertz` if they have any. Scales are shared, so that columns can be compared: prominence is drawn corrected for
    chance, correlations as a ratio to their mean.

    Raises:
        UserError: matplotlib is missing, or the file cannot be written.
    """
    size = (1.5 + 5.0 * len(studies), 11)
    with plots.written(path, size, plots.style(8), force=force) as figure:
        axes = figure.subplots(5, len(studies), squeeze=False, height_ratios=[1.7, 1, 1.3, 2.1, 1])
        tested = [study.corrected[_shown(study)] for study in studies]
        # a few rare keys have large values by chance; they may leave the scale
        top = max([np.nanpercentile(np.abs(values), 99.5) for values in tested if len(values)], default=0.01)
        for column, (study, (events, score)) in enumerate(zip(studies, examples, strict=True)):
            raster, roll, curves, matrix, tuned = axes[:, column]
            _raster_and_roll(raster, roll, events, score, hertz[column] if hertz else None)
            raster.set_title(f"{study.model}, {study.events / study.seconds:.0f} events/s")
            _curves(curves, study, 2 if study.rows.hertz is not None else 4)
            image = _matrix(matrix, study, max(top, 1e-6))
            _tuned(tuned, study)
        label = f"prominence, 0 is chance\n(grey: fewer than {nulls.FEWEST} onsets, or silent)"
        figure.colorbar(image, ax=axes[3, :], label=label, aspect=30, pad=0.01)
        for row in (2, 4):
            drawn = [axis for axis in axes[row] if axis.has_data()]
            limits = [axis.get_ylim() for axis in drawn]
            for axis in drawn:
                axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        for row, letter in ((0, "A"), (2, "B"), (3, "C")):
            axes[row, 0].text(
                -0.16, 1.0, letter, transform=axes[row, 0].transAxes, fontsize=13, fontweight="bold", va="top"
            )


def _shown(study: Study) -> np.ndarray:
    """Pairs with a prominence that can be tested: bool `[rows, keys]`; a row may fire only where no onset counts."""
    return study.jitter.tested & np.isfinite(study.corrected)


def best_pairs(study: Study, number: int = CURVES) -> list[tuple[int, int]]:
    """Units and their keys, the best first: by prominence, of pairs with a z-score above 3; then by z-score.

    The largest prominence of all is that of a unit with a handful of events, once of them at a note.
    """
    shown = _shown(study)
    z = np.where(shown, study.jitter.z(), -np.inf)
    clear = np.where(z > 3, study.corrected, -np.inf)
    keys = np.where(np.isfinite(clear).any(1), clear.argmax(1), z.argmax(1))
    order = np.lexsort((-z.max(1), -clear.max(1)))
    return [(int(unit), int(keys[unit])) for unit in order[:number] if shown[unit].any()]


def _raster_and_roll(raster, roll, events: EventMatrix, score: Score, hertz: np.ndarray | None) -> None:
    played = score.notes()
    start = max(float(played.onset[0]) - 0.5, 0.0)
    stop = min(start + SECONDS, events.duration)
    lowest, highest = plots._keys_in_view(played, start, stop)
    if hertz is None:
        plots._raster(raster, events, start, stop)
    else:
        plots._raster_by_frequency(raster, events, hertz, start, stop)
        raster.set_ylim(plots._hertz(lowest), max(plots._hertz(highest), 4000))
    plots._roll(roll, played)
    roll.set_ylim(lowest, highest)
    for axis in (raster, roll):
        axis.set_xlim(start, stop)
    raster.set_xticklabels([])
    roll.set_xlabel("time (s)")


def _curves(axis, study: Study, columns: int) -> None:
    lags = study.counts.shape[-1] // 2
    time = np.arange(-lags, lags + 1) / study.step_rate
    axis.set_xlabel("lag (s); positive: the event comes before the note")
    axis.set_ylabel("C / mean C")
    axis.set_xlim(time[0], time[-1])
    pairs = best_pairs(study)
    if not pairs:
        _say_why_empty(axis, study)
        return
    axis.axvspan(*(np.array([-1, 1]) * (study.half_width + 0.5) / study.step_rate), color="#e8ecf0", lw=0)
    axis.axhline(1, color=plots.INK, lw=0.6)
    for unit, key in pairs:
        curve = study.counts[unit, key]
        axis.plot(
            time, curve / max(curve.mean(), 1e-9), lw=1, label=f"{study.rows.name(unit)}, {notes.name(key)}"
        )
    axis.set_ylim(top=axis.get_ylim()[1] * (1.6 - 0.1 * columns))  # room for the legend
    axis.legend(frameon=False, fontsize=7, ncols=columns, loc="upper center")


def _say_why_empty(axis, study: Study) -> None:
    if (study.jitter.onsets < nulls.FEWEST).all():
        why = f"no key has the {nulls.FEWEST} onsets that a test needs"
    elif not study.onsets.any():
        why = f"no onset has {study.times.lags_ms / 1000:.3g} s of sound before and after it"
    else:
        why = "no unit's events can be tested"
    axis.set_yticks([])
    axis.text(0.5, 0.5, why, transform=axis.transAxes, ha="center", va="center", color=plots.INK)


def _matrix(axis, study: Study, top: float):  # noqa: ANN202
    shown = np.where(_shown(study), study.corrected, np.nan)
    by_frequency = study.rows.hertz is not None
    order = np.arange(len(shown)) if by_frequency else np.argsort(study.tuning.best, kind="stable")
    image = axis.imshow(
        np.ma.masked_invalid(shown[order]),
        aspect="auto",
        cmap="RdBu_r",
        vmin=-top,
        vmax=top,
        interpolation="nearest",
        origin="lower",  # rows are counted from below, as in the raster
        extent=(notes.LOWEST - 0.5, notes.LOWEST + notes.KEYS - 0.5, -0.5, len(shown) - 0.5),
    )
    axis.set_facecolor("#e3e6ea")
    _octaves(axis)
    what = {"unit": "units", "bin": "bins", "note": "semitones"}[study.rows.kind]
    if study.rows.kind == "note":
        at = np.flatnonzero((study.rows.keys + notes.LOWEST) % 12 == 0)
        axis.set_yticks(at, [notes.name(int(study.rows.keys[place])) for place in at])
    axis.set_ylabel(f"{what}, lowest frequency first" if by_frequency else "units, lowest best note first")
    return image


def _tuned(axis, study: Study) -> None:
    pairs = best_pairs(study, 1)
    _octaves(axis)
    axis.set_xlim(notes.LOWEST - 0.5, notes.LOWEST + notes.KEYS - 0.5)
    axis.set_ylabel("prominence")
    if not pairs:
        _say_why_empty(axis, study)
        return
    ((unit, best),) = pairs
    values = np.where(_shown(study)[unit], study.corrected[unit], 0)
    away = (np.arange(notes.KEYS) - best) % 12
    colours = np.where(away == 0, "#c0392b", np.where(away == FIFTH, "#e8a0a0", "#7b8794"))
    axis.bar(np.arange(notes.KEYS) + notes.LOWEST, values, color=colours, width=0.85)
    axis.axhline(0, color=plots.INK, lw=0.6)
    fifth = ", the fifth above it in pink" if values[away == FIFTH].any() else ""
    axis.set_title(f"{study.rows.name(unit)}: {notes.name(best)[:-1]} in red{fifth}", fontsize=8, loc="left")


def _octaves(axis) -> None:
    places = np.arange(24, notes.LOWEST + notes.KEYS, 12)
    axis.set_xticks(places, [notes.name(int(place) - notes.LOWEST) for place in places])
