"""Spectra of the steps of a raster."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import fft

BLOCK = 1024  # steps at once


def powers(
    audio: np.ndarray, steps: int, hop: int, window: int, bands: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Powers `[bands, steps]`, in Hann windows on the middle of each step.

    Args:
        audio: `[samples]`; zeros stand beside it, and what lies beyond the last window is left out.
        window: Its samples, `hop` at least.
        bands: Makes bands `[some steps, bands]` of powers `[some steps, window / 2 + 1]`.
    """
    before, length = window // 2 - hop // 2, (steps - 1) * hop + window
    padded = np.pad(audio.astype(np.float32), (before, max(length - len(audio) - before, 0)))[:length]
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    shape = np.hanning(window).astype(np.float32)
    parts = np.array_split(frames, steps // BLOCK + 1)
    return np.concatenate([bands(np.abs(fft.rfft(part * shape)) ** 2) for part in parts]).T


def decibels(power: np.ndarray, loudest: float | None = None) -> np.ndarray:
    """Decibels, -80 to 0, below the power `loudest`; by default below the loudest cell."""
    top = max(float(power.max()) if loudest is None else loudest, 1e-12)
    return np.minimum(10 * np.log10(np.maximum(power / top, 1e-8)), 0)
