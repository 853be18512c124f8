"""A layer in Loihi's integers, and the exact arithmetic that Lava's `fixed_pt` models do with them.

Features become graded integers, q = rint(x / scale). Then, with shifts to the right rounding down:

    a = sum over synapses of (2 W s) << exponent     s = q or z; Loihi doubles weights of mixed sign
    u = a << 6                                       24 bits, or it would wrap
    v = decay(v) + u + (bias_mantissa << bias_exponent)              saturates at +-(2^23 - 1)
    decay(v) = sign(v) (|v| (4096 - dv) >> 12)
    z = v > threshold << 6;    after a spike: v = 0, or v - (threshold << 6) at the next step
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from snn_codec.errors import UserError
from snn_codec.hardware.layer import by_group
from snn_codec.hardware.matrices import Weights, row_sums, values

LARGEST_A = 2**17 - 1  # u = a << 6 must stay below 2^23
LARGEST_V = 2**23 - 1
LARGEST_MANTISSA = 2**12 - 1  # a 13-bit register
LARGEST_EXPONENT = 7
LARGEST_ACCUMULATOR = 2**31 - 1
UNITY = 4096  # of the 12-bit decay


class Synapse(NamedTuple):
    """Weights of 8 bits, int32 `[N, n]`, dense or sparse, and the exponent of what they add up to.

    Any exponent, as in Lava; on a Loihi chip it is -7 to 7 (nengo-loihi, `validate_synapse_cfg`).
    """

    weight: Weights
    exponent: int

    def __call__(self, source: np.ndarray) -> np.ndarray:
        """Integers `[n, steps]` -> what arrives at the neurons, int64 `[N, steps]`."""
        if isinstance(
            self.weight, np.ndarray
        ):  # whole numbers of 53 bits are exact in floats, which are far faster
            arrives = (2.0 * self.weight @ source.astype(np.float64)).astype(np.int64)
        else:
            arrives = (2 * self.weight.astype(np.int64)) @ source.astype(np.int64)
        return shifted(arrives, self.exponent)

    def reach(self, largest: int) -> int:
        """The most that can arrive at a neuron from sources up to `largest`, before the shift."""
        return int(2 * largest * row_sums(abs(self.weight.astype(np.int64))).max(initial=0))


def shifted(value, exponent: int):
    """`value` times 2^exponent, rounded down."""
    return value << exponent if exponent >= 0 else value >> -exponent


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """A layer as Loihi holds it; the names are those of the formulas above.

    Attributes:
        inputs: Synapses of the graded input, `[N, width]`.
        laterals: Synapses between groups, `[N, N]`; their exponents are at least -1, so that nothing is rounded.
        bias_mantissa, bias_exponent: int `[N]`.
        decay: dv, 4096 for a stateless neuron.
        threshold: int, before it is shifted.
        reset, groups: As in `snn_codec.hardware.layer.Layer`.
        scale: Of the graded input: x = q scale; one for all features, or one for each, `[width]`.
        input_bits: Of the graded input, with its sign.

    Raises:
        UserError: An input could break a limit of Loihi; the message says which.
    """

    inputs: tuple[Synapse, ...]
    laterals: tuple[Synapse, ...]
    bias_mantissa: np.ndarray
    bias_exponent: np.ndarray
    decay: int = UNITY
    threshold: int = 0
    reset: str = "none"
    groups: int = 1
    scale: float | np.ndarray = 1.0
    input_bits: int = 16

    def __post_init__(self) -> None:
        synapses = (*self.inputs, *self.laterals)
        reaches = [s.reach(self.largest_input) for s in self.inputs]
        arriving = sum(shifted(r, s.exponent) + 1 for r, s in zip(reaches, self.inputs, strict=True))
        arriving += sum(shifted(s.reach(1), s.exponent) for s in self.laterals)
        for what, value, low, high in (
            ("a weight", max(np.abs(values(s.weight)).max(initial=0) for s in synapses), 1, 127),
            ("the accumulator of a synapse (take fewer input bits)", max(reaches), 0, LARGEST_ACCUMULATOR),
            (
                "the exponent of a lateral synapse",
                min((s.exponent for s in self.laterals), default=0),
                -1,
                16,
            ),
            ("what arrives at a neuron", arriving, 0, LARGEST_A),
            ("the mantissa of a bias", np.abs(self.bias_mantissa).max(), 0, LARGEST_MANTISSA),
            ("the exponent of a bias", self.bias_exponent.max(), 0, LARGEST_EXPONENT),
            ("the exponent of a bias", self.bias_exponent.min(), 0, LARGEST_EXPONENT),
            ("the threshold", self.threshold, 0, LARGEST_A),
            ("the decay", self.decay, 0, UNITY),
        ):
            if not low <= value <= high:
                raise UserError(f"{what}: {value} is outside {low} to {high}, which is all that Loihi holds")

    @property
    def largest_input(self) -> int:
        return 2 ** (self.input_bits - 1) - 1

    def graded(self, features: np.ndarray) -> np.ndarray:
        """Features `[width, steps]` -> graded integers, int32; what is beyond the full scale is clipped."""
        largest = self.largest_input
        scale = np.asarray(self.scale).reshape(-1, 1)
        return np.clip(np.rint(features / scale), -largest, largest).astype(np.int32)

    def spikes(self, graded: np.ndarray) -> np.ndarray:
        """Graded integers `[width, steps]` -> spikes, bool `[N, steps]`, from a membrane at rest."""
        bias = (self.bias_mantissa.astype(np.int64) << self.bias_exponent)[:, None]
        current = (sum(synapse(graded) for synapse in self.inputs) << 6) + bias
        if self.groups == 1:  # thousands of units would have hundreds of millions of lateral weights
            return self._fire(current)
        return by_group(current, self.lateral << 6, self.groups, self._fire)

    @property
    def lateral(self) -> np.ndarray:
        """What a spike of each unit adds to the others, int64 `[N, N]`."""
        units = len(self.bias_mantissa)
        if not self.laterals:
            return np.broadcast_to(np.int64(0), (units, units))
        return np.sum([synapse(np.eye(units, dtype=np.int64)) for synapse in self.laterals], axis=0)

    def _fire(self, current: np.ndarray) -> np.ndarray:
        threshold = self.threshold << 6
        if self.decay == UNITY:
            return current > threshold
        spikes, v = np.zeros(current.shape, bool), np.zeros(len(current), np.int64)
        for t in range(current.shape[1]):
            fired = v > threshold
            if self.reset == "zero":
                v = np.where(fired, 0, v)
            v = np.sign(v) * (np.abs(v) * (UNITY - self.decay) >> 12) + current[:, t]
            if self.reset == "subtract":
                v -= threshold * fired
            v = np.clip(v, -LARGEST_V, LARGEST_V)
            spikes[:, t] = v > threshold
        return spikes
