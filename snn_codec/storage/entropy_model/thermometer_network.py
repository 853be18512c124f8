"""The integer network of a thermometer's entropy model, worked out where it sees anything.

Scales and rounding are those of `snn_codec.storage.entropy_model.thermometer`. Every sum is scaled by a power of two
before it is rounded, which float32 does exactly. Bins that see no event have one answer at a level, worked out once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from snn_codec.parallel import one_blas_thread
from snn_codec.storage.entropy_model.network import MAX_LOGIT
from snn_codec.storage.entropy_model.thermometer_inputs import (
    INPUT,
    KNOWN_CHANNELS,
    PASSES,
    Past,
    Pasts,
    known_inputs,
)

WEIGHT, ACTIVATION = 1024, 32
TOP_ACTIVATION = 8 * ACTIVATION - 1
OUTPUTS = 7
ROWS = 2048  # bins that are worked out together, so that what is between the layers stays in a core's cache


class Layer(NamedTuple):
    """`floor(inputs @ weight + bias)` is a layer's rounded sums; shapes `[in, out]` and `[out]`."""

    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def of(cls, weight: np.ndarray, bias: np.ndarray, unit: int) -> Layer:
        """Of integers `[out, in]` and `[out]`, for sums that are divided by `unit`, a power of two, and rounded."""
        return cls((weight.T / unit).astype(np.float32), _rounding(bias, unit))

    def __call__(self, inputs: np.ndarray, low: int, high: int) -> np.ndarray:
        """Rounded and clipped."""
        return _clipped(inputs @ self.weight, self.bias, low, high)


class Biases(NamedTuple):
    """What levels, and bins without anything near, have for each step.

    Attributes:
        base: The first layer's bias, `[level, bin, H]`.
        silent: Of each pass, the outputs of bins that see nothing, int32 `[level, bin of the pass, OUTPUTS]`.
        row: Which of these levels each step has, int `[step]`.
    """

    base: np.ndarray
    silent: list[np.ndarray]
    row: np.ndarray

    def first(self, count: int) -> Biases:
        """Of the first steps alone."""
        return self._replace(row=self.row[:count])


class Network:
    """Weights of a model, ready for use.

    Args:
        tensors: Those of the model (`ThermometerModel.tensors`).

    Attributes:
        past_taps, known_taps: How many bins the first layer sees of earlier steps, and of the step itself.
        levels: Number of whole levels.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray]):
        hidden, _, self.past_taps = tensors["past"].shape
        self.known_taps, self.levels = tensors["known"].shape[-1], len(tensors["level"])
        unit = INPUT * WEIGHT // ACTIVATION
        self.past, *self.known = (
            (part.transpose(2, 1, 0).reshape(-1, hidden) / unit).astype(np.float32)
            for part in (tensors["past"], *tensors["known"])
        )
        self.middle, self.output = (
            [Layer.of(*parts, unit) for parts in zip(tensors[name], tensors[f"{name}_bias"], strict=True)]
            for name, unit in (("middle", WEIGHT), ("output", ACTIVATION * WEIGHT // 256))
        )
        self._bias = np.ascontiguousarray(tensors["bias"].T)
        self._level, self._further = tensors["level"], tensors["further"]
        self._levels: dict[int, tuple[np.ndarray, list[np.ndarray]]] = {}

    def at(self, levels: np.ndarray) -> Biases:
        """The biases of steps at these whole levels, int `[step]`."""
        which, row = np.unique(levels, return_inverse=True)
        found = [self._at_level(level) for level in which.tolist()]
        silent = [np.stack([silent[number] for _, silent in found]) for number in range(len(PASSES))]
        return Biases(np.stack([base for base, _ in found]), silent, row)

    def _at_level(self, level: int) -> tuple[np.ndarray, list[np.ndarray]]:
        if level not in self._levels:
            base = _rounding(self._bias + self._level[level], INPUT * WEIGHT // ACTIVATION)
            silent = [self.top(number, base[chosen].copy(), 0.0) for number, chosen in enumerate(PASSES)]
            self._levels[level] = base, silent
        return self._levels[level]

    def top(self, number: int, sums: np.ndarray, bias: np.ndarray | float) -> np.ndarray:
        """Outputs int32 `[bin, OUTPUTS]` of a pass; `sums` `[bin, H]` and `bias` together are the first layer's."""
        hidden = _clipped(sums, bias, 0, TOP_ACTIVATION)
        hidden = self.middle[number](hidden, 0, TOP_ACTIVATION)
        return self.output[number](hidden, -MAX_LOGIT, MAX_LOGIT).astype(np.int32)

    def odds_of_more(self, outputs: np.ndarray, chosen: slice = slice(None)) -> np.ndarray:
        """Log odds of passing threshold 1, 2, ... (the first is 0), given that the one before is passed.

        `[cell, OUTPUTS]` -> `[cell, J - 1]`, or those of the thresholds that are `chosen` among these.
        """
        own, factor = self._further[:, chosen]
        odds = outputs[:, 3:4] + ((outputs[:, 4:5] * factor) >> 8)
        lowest = outputs[:, 1:3][:, chosen]
        odds[:, : lowest.shape[1]] = lowest[:, : odds.shape[1]]
        return odds + own


class Steps:
    """The network on one step of several chunks, or on several steps of one, pass by pass.

    Args:
        network: The weights.
        past: What it sees of earlier steps, with a margin of half of `network.past_taps`.
        biases: Of the steps' levels.

    Examples:
        for number, chosen in enumerate(PASSES):
            outputs = steps.outputs(number)     # of the bins `chosen`
            steps.know(number, magnitudes)      # theirs
    """

    def __init__(self, network: Network, past: Past | Pasts, biases: Biases):
        self.network, self.past, self.biases = network, past, biases
        seen = past.seen()
        self.count, self.bins = seen.shape
        self._half = network.known_taps // 2
        self._known = np.zeros((self.count, self.bins + 2 * self._half, KNOWN_CHANNELS), np.float32)
        self._active = _near(seen, network.past_taps)
        self._some = np.zeros_like(seen)
        self._windows = [
            _windows(padded, taps)
            for padded, taps in ((past.padded, network.past_taps), (self._known, network.known_taps))
        ]
        self._base = biases.base.reshape(-1, biases.base.shape[-1])

    def know(self, number: int, magnitudes: np.ndarray) -> None:
        """Take in the bins of a pass, signed int `[step, bin of the pass]`."""
        chosen = PASSES[number]
        inside = self._known[:, self._half : self._half + self.bins]
        inside[:, chosen] = known_inputs(magnitudes, chosen, self.bins)
        self._some[:, chosen] = magnitudes != 0

    def outputs(self, number: int) -> np.ndarray:
        """Of a pass, int32 `[step, bin of the pass, OUTPUTS]`."""
        chosen = PASSES[number]
        active = self._active[:, chosen]
        if number:
            active = active | _near(self._some, self.network.known_taps)[:, chosen]
        result = self.biases.silent[number][self.biases.row]
        step, place = np.nonzero(active)
        bin = place * chosen.step + chosen.start
        with one_blas_thread():
            for start in range(0, len(step), ROWS):
                part = slice(start, start + ROWS)
                result[step[part], place[part]] = self._rows(number, step[part], bin[part])
        return result

    def _rows(self, number: int, step: np.ndarray, bin: np.ndarray) -> np.ndarray:
        sums = self.sums(number, step, bin)
        return self.network.top(number, sums, self._base.take(self.biases.row[step] * self.bins + bin, 0))

    def sums(self, number: int, step: np.ndarray, bin: np.ndarray) -> np.ndarray:
        """Sums of the first layer of these bins, without the bias, in units of 1 / ACTIVATION: `[place, H]`."""
        past, known = self._windows
        sums = past[step * self.past.padded.shape[1] + bin] @ self.network.past
        if number:
            sums += known[step * self._known.shape[1] + bin] @ self.network.known[number - 1]
        return sums


def _rounding(bias: np.ndarray, unit: int) -> np.ndarray:
    """What is added before `floor` rounds down to a multiple of `unit`, in its units, float32."""
    return ((bias + unit // 2) / unit).astype(np.float32)


def _clipped(sums: np.ndarray, bias: np.ndarray | float, low: int, high: int) -> np.ndarray:
    sums += bias
    np.floor(sums, out=sums)
    return np.clip(sums, low, high, out=sums)


def _windows(padded: np.ndarray, taps: int) -> np.ndarray:
    """A view of what bins see of `[step, bin and margins, channel]`, row after row of bins: `[row, taps * channel]`."""
    steps, width, channels = padded.shape
    shape = (steps * width - taps + 1, taps * channels)
    return np.lib.stride_tricks.as_strided(padded, shape, padded.strides[1:], writeable=False)


def _near(some: np.ndarray, taps: int) -> np.ndarray:
    """Which bins see any of `some`, bool `[step, bin]`."""
    half, bins = taps // 2, some.shape[1]
    sums = np.zeros((len(some), bins + 2 * half + 1), np.int32)
    np.cumsum(some, 1, out=sums[:, half + 1 : half + 1 + bins])
    sums[:, half + 1 + bins :] = sums[:, half + bins, None]
    return sums[:, taps:] > sums[:, :bins]
