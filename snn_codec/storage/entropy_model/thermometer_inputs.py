"""What the entropy model of a thermometer sees (`snn_codec.storage.entropy_model.thermometer`): integers, as float32.

Log magnitudes and signed ones, in 1/8 octave, of earlier steps and of bins of the same step that are already known;
signed ones are turned by the phase that a sinusoid at the bin's centre would have by now (`snn_codec.models.lapped`).

Arrays are `[..., bin, channel]`: a bin and its neighbours are then one piece of memory.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

PASSES = (slice(0, None, 4), slice(2, None, 4), slice(1, None, 2))
PAST_CHANNELS, KNOWN_CHANNELS = 11, 4
MAX_MAGNITUDE = 255  # of m; its log magnitude is 8 octaves
RATES = 2, 4  # the running means move by 1/4 and 1/16 of the difference
INPUT = 8
TOP_INPUT = 16 * INPUT  # twice 8 octaves, of a running mean


@lru_cache(maxsize=1)
def log_magnitudes() -> np.ndarray:
    """round(8 log2(1 + m)) for m = 0..255; no value is within 1e-3 of a rounding border (a test checks it)."""
    return np.rint(INPUT * np.log2(1 + np.arange(MAX_MAGNITUDE + 1))).astype(np.int32)


@lru_cache(maxsize=8)
def turns(bins: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Signs of cosine and sine of `lapped.phase` (1 + 2 steps), int32 `[bins]` each; both have one magnitude."""
    quarter = (np.arange(bins) * (1 + 2 * steps) + steps) % 4  # the angle is pi/4 + quarter pi/2
    return np.array([1, -1, -1, 1], np.int32)[quarter], np.array([1, 1, -1, -1], np.int32)[quarter]


class Past:
    """What the network sees of the steps before one, of several chunks, kept from step to step.

    Args:
        chunks: Number of chunks.
        bins: Number of bins.
        margin: Bins of zeros below the first and above the last.

    Attributes:
        padded: float32 `[chunk, bin and margins, PAST_CHANNELS]`.
        means: Running means of each bin's log magnitude, in 1/64 octave, int32 `[2, chunk, bin]`.
    """

    def __init__(self, chunks: int, bins: int, margin: int = 0):
        self.margin = margin
        self.padded = np.zeros((chunks, bins + 2 * margin, PAST_CHANNELS), np.float32)
        self.inputs = self.padded[:, margin : margin + bins]
        self.means = np.zeros((2, chunks, bins), np.int32)
        self.signed = np.zeros((chunks, bins), np.int32)

    def seen(self) -> np.ndarray:
        """Where any channel of a bin is not 0, bool `[chunk, bin]`."""
        return _seen(self.means)

    def first(self, count: int) -> Past:
        """Of the first chunks alone."""
        past = Past(count, self.inputs.shape[1], self.margin)
        past.padded[:] = self.padded[:count]
        past.means[:], past.signed = self.means[:, :count], self.signed[:count]
        return past

    def add(self, magnitudes: np.ndarray) -> None:
        """Take in what the step was: signed int `[chunk, bin]`."""
        bins = magnitudes.shape[1]
        log = log_magnitudes()[np.abs(magnitudes)]
        signed = log * np.sign(magnitudes)
        inputs = self.inputs
        inputs[..., 8] = inputs[..., 5]
        inputs[..., 4:6] = inputs[..., :2]
        inputs[..., 0], inputs[..., 1] = INPUT * (log > 0), log
        for first, values, back in ((2, signed, 1), (6, self.signed, 2)):
            cosine, sine = turns(bins, back)
            inputs[..., first], inputs[..., first + 1] = values * cosine, values * sine
        for channel, (mean, rate) in enumerate(zip(self.means, RATES, strict=True), 9):
            mean += (8 * log - mean) >> rate
            inputs[..., channel] = mean >> 2
        self.signed = signed


class Pasts:
    """What the network sees before each step of one chunk, at once; attributes as of `Past`, with steps for chunks.

    Args:
        magnitudes: Signed int `[step, bin]`.
        margin: Bins of zeros below the first and above the last.
    """

    def __init__(self, magnitudes: np.ndarray, margin: int = 0):
        steps, bins = magnitudes.shape
        self.padded = np.zeros((steps, bins + 2 * margin, PAST_CHANNELS), np.float32)
        inputs = self.padded[:, margin : margin + bins]
        log = log_magnitudes()[np.abs(magnitudes)]
        signed = log * np.sign(magnitudes)
        for first, back in ((0, 1), (4, 2)):
            cosine, sine = turns(bins, back)
            inputs[back:, :, first], inputs[back:, :, first + 1] = INPUT * (log[:-back] > 0), log[:-back]
            inputs[back:, :, first + 2] = signed[:-back] * cosine
            inputs[back:, :, first + 3] = signed[:-back] * sine
        inputs[3:, :, 8] = log[:-3]
        self.means = np.zeros((2, steps, bins), np.int32)
        log *= 8
        for channel, (means, rate) in enumerate(zip(self.means, RATES, strict=True), 9):
            for step in range(1, steps):
                np.subtract(log[step - 1], means[step - 1], out=means[step])
                means[step] >>= rate
                means[step] += means[step - 1]
            inputs[..., channel] = means >> 2

    def seen(self) -> np.ndarray:
        """Where any channel of a bin is not 0, bool `[step, bin]`."""
        return _seen(self.means)


def _seen(means: np.ndarray) -> np.ndarray:
    """Where any channel is not 0: the mean that moves by 1/4 is at least 16, 12 and 9 after a step with events, and the
    two that follow."""
    return (means > 3).any(0)


def past_inputs(magnitudes: np.ndarray) -> np.ndarray:
    """What the network sees before each step of signed int `[step, bin]`: float32 `[step, bin, PAST_CHANNELS]`."""
    return Pasts(magnitudes).padded


def known_inputs(magnitudes: np.ndarray, chosen: slice = slice(None), bins: int | None = None) -> np.ndarray:
    """What it sees of some bins of a step itself: float32 `[step, bin, KNOWN_CHANNELS]`.

    Args:
        magnitudes: Of those bins, signed int `[step, bin]`.
        chosen: Which bins of all they are.
        bins: The number of all bins, if these are not all.
    """
    inputs = np.empty((*magnitudes.shape, KNOWN_CHANNELS), np.float32)
    log = log_magnitudes()[np.abs(magnitudes)]
    inputs[..., 0], inputs[..., 1] = INPUT * (log > 0), log
    log *= np.sign(magnitudes)
    cosine, sine = (part[chosen] for part in turns(bins or magnitudes.shape[1], 0))
    inputs[..., 2], inputs[..., 3] = log * cosine, log * sine
    return inputs
