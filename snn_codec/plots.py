"""Figures; they need matplotlib (`pip install "snn_codec[plots]"`)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.files import replacing
from snn_codec.midi import Notes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, NOTE = "#1f2933", "#b4482f"
KEYS = 21, 108  # pitches of a piano
WINDOW, HOP = 2048, 512  # samples of a spectrogram
# Beyond twice as many, columns or rows are taken together: no figure has so many pixels, and hours would take gigabytes
COLUMNS, ROWS = 2048, 1024


def check_matplotlib() -> None:
    """See that figures can be drawn.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UserError('figures need matplotlib: pip install "snn_codec[plots]"') from error


@contextmanager
def written(
    path: str | os.PathLike,
    size: tuple[float, float],
    look: Any,
    *,
    dpi: int = 150,
    force: bool = False,
    bbox_inches: str | None = None,
) -> Iterator[Figure]:
    """A figure of this size in inches, to draw in; it is written to `path` at the end.

    It is made without pyplot, which would choose how a notebook or a program shows figures of its own.

    Args:
        look: matplotlib's settings, e.g. `style(9)`.

    Raises:
        UserError: matplotlib is missing, or the file cannot be written.
    """
    check_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(look):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        with replacing(path, force=force) as temporary:
            figure.savefig(temporary, dpi=dpi, bbox_inches=bbox_inches)


def style(size: float) -> dict[str, object]:
    """matplotlib's settings of all our figures, with a font of this size in points."""
    return {"font.size": size} | dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color"), INK)


def log_scale(axis, ticks: Sequence[float]) -> None:
    """A logarithmic x-axis with these ticks, written as they are, those that are in view."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def overview(
    path: str | os.PathLike,
    original: np.ndarray,
    decoded: np.ndarray,
    events: EventMatrix,
    notes: Notes | None = None,
    *,
    seconds: tuple[float, float] | None = None,
    title: str = "",
    force: bool = False,
) -> None:
    """Draw piano roll, original spectrogram, spike raster and decoded spectrogram over one time axis.

    Args:
        path: PNG, PDF or SVG file to write.
        original: float `[samples]` at the rate of `events`; `decoded` likewise.
        notes: For the piano roll; without them there is none.
        seconds: The part to show; all of it by default.

    Raises:
        UserError: matplotlib is missing, or the file cannot be written.
    """
    first, last = seconds or (0.0, events.duration)
    heights = ([1.0] if notes else []) + [1.5, 1.5, 1.5]
    with written(path, (10, 1.75 * sum(heights)), style(9), force=force) as figure:
        axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        rows = iter(axes)
        if notes:
            _roll(next(rows), notes)
        top = max(np.abs(original).max(initial=0), 1e-9)
        _spectrogram(next(rows), original, top, events.sample_rate, "original", first, last)
        _raster(next(rows), events, first, last)
        _spectrogram(next(rows), decoded, top, events.sample_rate, "decoded", first, last)
        axes[-1].set_xlabel("time (s)")
        axes[-1].set_xlim(first, last)
        if title:
            axes[0].set_title(title, loc="left", fontsize=10)


class Raster(NamedTuple):
    """Events of one model, for `rasters`.

    Attributes:
        label: What to write above it, e.g. `wide, 2.6 kbps`.
        events: Of the recording.
        hertz: Centre frequencies of its units, `[units]` (`Model.unit_hertz`); None if its units have none.
    """

    label: str
    events: EventMatrix
    hertz: NDArray[np.float64] | None = None


def rasters(
    path: str | os.PathLike,
    models: Sequence[Raster],
    *,
    notes: Notes | None = None,
    sound: np.ndarray | None = None,
    sample_rate: int = 22050,
    seconds: tuple[float, float] | None = None,
    title: str = "",
    force: bool = False,
) -> None:
    """Draw rasters of several models below the piano roll or the spectrogram, over one axis of seconds.

    Units with frequencies stand at them on a logarithmic axis, which is that of the piano roll, and are the darker the
    more of one frequency fire at once; others stand in the order of their numbers.

    Args:
        path: PNG, PDF or SVG file to write.
        models: From top to bottom.
        notes: For the piano roll; or else `sound`, float `[samples]` at `sample_rate`, for the spectrogram; or both.
        seconds: The part to show; all of it by default.

    Raises:
        UserError: matplotlib is missing, there are no models, or the file cannot be written.

    Examples:
        >>> codec = Codec.load("wide")  # doctest: +SKIP
        >>> one = plots.Raster("wide", codec.encode(sound, rate), codec.settings.unit_hertz())  # doctest: +SKIP
        >>> plots.rasters("rasters.png", [one], notes=midi.read("bach.mid"))  # doctest: +SKIP
    """
    if not models:
        raise UserError("there are no rasters to draw; give at least one")
    first, last = seconds or (0.0, max(model.events.duration for model in models))
    heights = [1.0] * ((sound is not None) + (notes is not None))
    heights += [1.0 if model.hertz is None else 1.5 for model in models]
    look = style(8) | {"xtick.color": INK, "ytick.color": INK, "axes.linewidth": 0.6}
    with written(path, (7.2, 0.5 + 1.45 * sum(heights)), look, dpi=200, force=force) as figure:
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
        rows = iter(axes[:, 0])
        if sound is not None:
            top = max(np.abs(sound).max(initial=0), 1e-9)
            _spectrogram(next(rows), sound, top, sample_rate, "recording", first, last)
        if notes is not None:
            _roll(axis := next(rows), notes)
            axis.set_ylim(*_keys_in_view(notes, first, last))
            axis.set_title("notes", loc="left", fontsize=8)
        for model, axis in zip(models, rows, strict=True):
            _panel(axis, model, notes, first, last)
        axes[-1, 0].set_xlabel("time (s)")
        axes[-1, 0].set_xlim(first, last)
        if title:
            figure.suptitle(title, fontsize=9)


def _panel(axis, model: Raster, notes: Notes | None, first: float, last: float) -> None:
    events = model.events
    what = f"{events.events_per_second:,.0f} events a second of {events.n_units:,} units"
    if model.hertz is None:
        _raster(axis, events, first, last)
    else:
        _raster_by_frequency(axis, events, model.hertz, first, last)
        low, high = _keys_in_view(notes, first, last)
        axis.set_ylim(_hertz(low), max(_hertz(high), 4000))
        if notes is not None:
            what += " (red: fundamentals of the notes)"
            pitches = _hertz(notes.pitch)
            axis.hlines(pitches, notes.onset, notes.offset, colors=NOTE, linewidth=3, alpha=0.4, zorder=0)
    axis.set_title(f"{model.label}: {what}", loc="left", fontsize=8)


def _hertz(pitch):
    return 440 * 2 ** ((pitch - 69) / 12)


def _keys_in_view(notes: Notes | None, first: float, last: float) -> tuple[int, int]:
    """The lowest and highest pitch to show: around the notes in view, or all if there are none, or those of a piano."""
    if notes is None or not len(notes.pitch):
        return KEYS
    shown = notes.pitch[(notes.onset < last) & (notes.offset > first)]
    shown = shown if len(shown) else notes.pitch
    return int(shown.min()) - 3, int(shown.max()) + 3


def _raster_by_frequency(
    axis, events: EventMatrix, hertz: NDArray[np.float64], first: float, last: float
) -> None:
    """Each cell of step and frequency as a dash as long as the step, darker with the number of its events."""
    from matplotlib.collections import LineCollection

    step, unit = events.indices()
    seen = (step + 1 > first * events.step_rate) & (step < last * events.step_rate)
    step, unit = step[seen], unit[seen]
    together = max(int(np.ptp(step)) // COLUMNS, 1) if len(step) else 1  # steps of a dash
    _, of, pitches = np.unique(hertz, return_index=True, return_inverse=True)
    places, number = np.unique(step // together * len(of) + pitches[unit], return_counts=True)
    column, pitch = np.divmod(places, len(of))
    start = column * together / events.step_rate
    dashes = np.empty((len(places), 2, 2))
    dashes[:, 0, 0], dashes[:, 1, 0] = start, start + together / events.step_rate
    dashes[..., 1] = np.log10(hertz[of][pitch])[:, None]
    colours = np.full((len(places), 4), (0.12, 0.16, 0.2, 0.0))
    colours[:, 3] = np.clip(0.25 + 0.75 * np.log2(number / together + 1) / 4, 0, 1)
    axis.set_yscale("log")
    # on the axis that is logarithmic already: matplotlib would take the logarithm dash by dash
    place = axis.transLimits + axis.transAxes
    lines = LineCollection(
        list(dashes), colors=colours, linewidth=0.9, capstyle="butt", rasterized=True, transform=place
    )
    axis.add_collection(lines, autolim=False)
    axis.set_yticks(
        [50, 100, 200, 300, 500, 1000, 2000, 3000, 5000],
        ["50", "100", "200", "300", "500", "1k", "2k", "3k", "5k"],
    )
    axis.minorticks_off()
    axis.set_ylabel("unit's frequency (Hz)")


def _roll(axis, notes: Notes) -> None:
    axis.hlines(notes.pitch, notes.onset, notes.offset, colors=NOTE, linewidth=1.6, alpha=0.85)
    axis.plot(notes.onset, notes.pitch, "|", color=INK, markersize=3.5, markeredgewidth=0.8)
    axis.set_ylabel("MIDI note")
    axis.set_ylim(*_keys_in_view(notes, -np.inf, np.inf))
    axis.grid(axis="x", color="#d9dee3", linewidth=0.5)


def _spectrogram(
    axis, audio: np.ndarray, top: float, sample_rate: int, name: str, first: float, last: float
) -> None:
    """The part from `first` to `last` seconds, in decibels below `top`."""
    begin = max(int(first * sample_rate) // HOP - WINDOW // HOP, 0) * HOP
    audio = audio[begin : int(last * sample_rate) + WINDOW] / top
    audio = np.pad(audio, (0, max(WINDOW - len(audio), 0)))
    windows = np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::HOP]
    together = max(len(windows) // COLUMNS, 1)
    frequencies, times, power = signal.spectrogram(
        windows[::together].ravel(), sample_rate, "hann", WINDOW, 0, scaling="spectrum"
    )
    times = (begin + np.arange(len(times)) * together * HOP + WINDOW / 2) / sample_rate
    decibels = 10 * np.log10(power + 1e-12)
    axis.pcolormesh(
        times, frequencies, decibels, cmap="magma", vmin=-90, vmax=-20, shading="nearest", rasterized=True
    )
    axis.set_yscale("log")
    axis.set_ylim(50, 8000)
    axis.set_yticks([100, 300, 1000, 3000], ["100", "300", "1k", "3k"])
    axis.minorticks_off()
    axis.set_ylabel(f"{name} (Hz)")


def _raster(axis, events: EventMatrix, first: float, last: float) -> None:
    # pixels, not one marker an event: a dense code has thousands of events a second
    start = min(max(int(first * events.step_rate), 0), events.n_steps)
    stop = min(max(int(last * events.step_rate) + 1, start), events.n_steps)
    axis.set_ylabel("unit")
    axis.set_ylim(-0.5, events.n_units - 0.5)
    if stop > start:  # a recording may end before what is shown of others
        image, up, across = _image(events, start, stop)
        right, above = start + across * image.shape[1], up * image.shape[0]
        axis.imshow(
            image,
            aspect="auto",
            cmap="Greys",
            vmin=0,
            vmax=1,
            interpolation="nearest",
            origin="lower",
            extent=(start / events.step_rate, right / events.step_rate, -0.5, above - 0.5),
        )


def _image(events: EventMatrix, start: int, stop: int) -> tuple[NDArray[Any], int, int]:
    """Steps [start, stop) as pixels, and the units and steps of one: the darker, the more events are in it."""
    up, across = max(events.n_units // ROWS, 1), max((stop - start) // COLUMNS, 1)
    if up == across == 1:
        return events.window(start, stop), 1, 1
    rows, columns = -(-events.n_units // up), -(-(stop - start) // across)
    step, unit = events.cells.indices(start, stop)
    number = np.bincount(unit // up * columns + step // across, minlength=rows * columns)
    shade = np.log2(number + 1.0) / np.log2(max(int(np.max(number)), 1) + 1.0)
    return shade.reshape(rows, columns), up, across
