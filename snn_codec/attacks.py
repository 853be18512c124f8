"""What a codec does to attacks: where notes begin, and the noise that it spreads ahead of them (pre-echo).

A transform codec spreads an error over its whole block, so also ahead of an attack that falls into it. What sounds
before an onset masks little, so that it is heard from about 20 ms on (Bosi and Goldberg, Introduction to Digital Audio
Coding and Standards, chapter 6). Only onsets with none in the 100 ms before them are looked at, because an attack of
its own in the window would count as noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage, signal

PRE = (-0.030, -0.005)  # seconds around an onset: what comes ahead of it
ATTACK = (0.0, 0.030)  # and the onset itself
ALONE = 0.100  # seconds before an onset in which there must be no other
WINDOW, HOP = 1024, 128  # samples, of the spectral flux


def energy_onsets(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """Where notes begin, in seconds, for recordings without MIDI: peaks of the spectral flux.

    The flux is the sum over bins of what the logarithmic magnitude rises in 12 ms; a peak must be the largest within
    50 ms, and stand out of the median of half a second by 12 % of the highest. Sudden attacks are found up to 10 ms
    early, since the window sees them coming.

    Reference: Dixon, Onset Detection Revisited, DAFx 2006, section 2.1, with logarithmic magnitudes.
    """
    sound = np.asarray(sound, np.float64)
    if len(sound) < 2 * WINDOW or not sound.any():
        return np.zeros(0)
    _, times, spectrum = signal.stft(sound, sample_rate, "hann", WINDOW, WINDOW - HOP, boundary="zeros")
    level = np.log1p(1000 * np.abs(spectrum) / np.abs(spectrum).max())
    back = max(round(0.012 * sample_rate / HOP), 1)
    flux = np.maximum(level[:, back:] - level[:, :-back], 0).sum(0)
    around = [round(seconds * sample_rate / HOP) // 2 * 2 + 1 for seconds in (0.05, 0.5)]
    above = flux - ndimage.median_filter(flux, around[1])
    peaks = (flux == ndimage.maximum_filter1d(flux, 2 * around[0] - 1)) & (above > 0.12 * above.max())
    found = times[back:][peaks]
    return found[found < (len(sound) - WINDOW) / sample_rate]  # the end is cut off, which is no attack


def apart(onsets: Sequence[float] | np.ndarray) -> np.ndarray:
    """Those with no other in the `ALONE` seconds before; notes of a chord, within 5 ms, are one."""
    onsets = np.sort(np.asarray(onsets, float))
    if not len(onsets):
        return onsets
    onsets = onsets[np.diff(onsets, prepend=-np.inf) > 0.005]
    return onsets[np.diff(onsets, prepend=-np.inf) > ALONE]


def pre_echo(
    estimate: np.ndarray,
    target: np.ndarray,
    onsets: Sequence[float] | np.ndarray,
    sample_rate: int,
    *,
    own: bool = False,
) -> float:
    """Power of the error 30 to 5 ms before onsets in dB of the power of the 30 ms after them; lower is better.

    Args:
        estimate, target: `[samples]`; the estimate's scale is free, as in SI-SNR.
        onsets: In seconds from the first sample; those alone (`apart`) whose windows lie inside count.
        own: In dB of the target's own power in the window before the onset, which says how far the error stands out of
            what sounds there.

    Powers are summed over onsets first, so that loud attacks count more. NaN where there are no onsets, or silence.

    Examples:
        >>> click = np.zeros(2205); click[1103:] = 1.0
        >>> round(pre_echo(click + 0.01, click, [1103 / 22050], 22050), 1)
        -40.1
    """
    estimate, target = np.asarray(estimate, np.float64), np.asarray(target, np.float64)
    power = estimate @ estimate
    if power == 0:
        return float("nan")
    error = estimate * (estimate @ target / power) - target
    before, after = (tuple(round(edge * sample_rate) for edge in window) for window in (PRE, ATTACK))
    noise = reference = 0.0
    for place in np.rint(apart(onsets) * sample_rate).astype(int):
        if place + before[0] < 0 or place + after[1] > len(target):
            continue
        ahead, attack = (slice(place + window[0], place + window[1]) for window in (before, after))
        noise += float(np.mean(error[ahead] ** 2))
        reference += float(np.mean(target[ahead if own else attack] ** 2))
    return float(10 * np.log10(max(noise / reference, 1e-12))) if reference else float("nan")
