"""Figures; they need matplotlib (`pip install "snn_codec[plots]"`)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from scipy import signal

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.files import replacing
from snn_codec.midi import Notes

INK, NOTE = "#1f2933", "#b4482f"


def pyplot():
    """matplotlib.pyplot, drawing to files only.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UserError('figures need matplotlib: pip install "snn_codec[plots]"') from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


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
    plt = pyplot()
    first, last = seconds or (0.0, events.duration)
    heights = ([1.0] if notes else []) + [1.5, 1.5, 1.5]
    with plt.rc_context({"font.size": 9, "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK}):
        figure, axes = plt.subplots(
            len(heights),
            1,
            sharex=True,
            figsize=(10, 1.75 * sum(heights)),
            height_ratios=heights,
            layout="constrained",
        )
        rows = iter(axes)
        if notes:
            _roll(next(rows), notes)
        top = max(np.abs(original).max(), 1e-9)
        _spectrogram(next(rows), original / top, events.sample_rate, "original")
        _raster(next(rows), events, first, last)
        _spectrogram(next(rows), decoded / top, events.sample_rate, "decoded")
        axes[-1].set_xlabel("time (s)")
        axes[-1].set_xlim(first, last)
        if title:
            axes[0].set_title(title, loc="left", fontsize=10)
        with replacing(path, force=force) as temporary:
            figure.savefig(temporary, dpi=150)
        plt.close(figure)


def _roll(axis, notes: Notes) -> None:
    axis.hlines(notes.pitch, notes.onset, notes.offset, colors=NOTE, linewidth=1.6, alpha=0.85)
    axis.plot(notes.onset, notes.pitch, "|", color=INK, markersize=3.5, markeredgewidth=0.8)
    axis.set_ylabel("MIDI note")
    axis.set_ylim(notes.pitch.min() - 3, notes.pitch.max() + 3)
    axis.grid(axis="x", color="#d9dee3", linewidth=0.5)


def _spectrogram(axis, audio: np.ndarray, sample_rate: int, name: str) -> None:
    frequencies, times, power = signal.spectrogram(
        audio, sample_rate, "hann", 2048, 2048 - 512, scaling="spectrum"
    )
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
    axis.imshow(
        events.events,
        aspect="auto",
        cmap="Greys",
        interpolation="nearest",
        origin="lower",
        extent=(0, events.n_steps / events.step_rate, -0.5, events.n_units - 0.5),
    )
    axis.set_ylabel("unit")
