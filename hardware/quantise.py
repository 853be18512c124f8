"""A layer in Loihi's integers, and the exact arithmetic that Lava's `fixed_pt` models do with them.

Features become graded integers, q = rint(x / scale). Then, with shifts to the right rounding down:

    a = sum over synapses of (2 W s) << exponent     s = q or z; Loihi doubles weights of mixed sign
    u = a << 6                                       24 bits, or it would wrap
    v = decay(v) + u + (bias_mantissa << bias_exponent)              saturates at +-(2^23 - 1)
    decay(v) = sign(v) (|v| (4096 - dv) >> 12)
    z = v > threshold << 6;    after a spike: v = 0, or v - (threshold << 6) at the next step

A unit of a stands for `unit` of the float layer. A stateless neuron only needs the sign of v, so each of them
has its own unit, the finest that the limits allow; leaky neurons share one, because they share a threshold.
Weights of more than 8 bits are two synapses of 8 bits, the second for the rest that the first leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from snn_codec.errors import UserError
from snn_codec.hardware.layer import Layer, by_group, group_of

LARGEST_A = 2**17 - 1  # u = a << 6 must stay below 2^23
LARGEST_V = 2**23 - 1
LARGEST_MANTISSA = 2**12 - 1  # a 13-bit register
LARGEST_EXPONENT = 7
LARGEST_ACCUMULATOR = 2**31 - 1
UNITY = 4096  # of the 12-bit decay


class Synapse(NamedTuple):
    """Weights of 8 bits, int32 `[N, n]`, and the exponent of what they add up to."""

    weight: np.ndarray
    exponent: int

    def __call__(self, source: np.ndarray) -> np.ndarray:
        """Integers `[n, steps]` -> what arrives at the neurons, int64 `[N, steps]`."""
        return shifted(2 * self.weight.astype(np.int64) @ source, self.exponent)

    def reach(self, largest: int) -> int:
        """The most that can arrive at a neuron from sources up to `largest`, before the shift."""
        return int(2 * largest * np.abs(self.weight.astype(np.int64)).sum(1).max(initial=0))


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
        scale: Of the graded input: x = q scale.
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
    scale: float = 1.0
    input_bits: int = 16

    def __post_init__(self) -> None:
        synapses = (*self.inputs, *self.laterals)
        reaches = [s.reach(self.largest_input) for s in self.inputs]
        arriving = sum(shifted(r, s.exponent) + 1 for r, s in zip(reaches, self.inputs, strict=True))
        arriving += sum(shifted(s.reach(1), s.exponent) for s in self.laterals)
        for what, value, low, high in (
            ("a weight", max(np.abs(s.weight).max() for s in synapses), 1, 127),
            ("the accumulator of a synapse", max(reaches), 0, LARGEST_ACCUMULATOR),
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
        return np.clip(np.rint(features / self.scale), -largest, largest).astype(np.int32)

    def spikes(self, graded: np.ndarray) -> np.ndarray:
        """Graded integers `[width, steps]` -> spikes, bool `[N, steps]`, from a membrane at rest."""
        bias = (self.bias_mantissa.astype(np.int64) << self.bias_exponent)[:, None]
        current = (sum(synapse(graded) for synapse in self.inputs) << 6) + bias
        units = len(current)
        lateral = sum(synapse(np.eye(units, dtype=np.int64)) for synapse in self.laterals) << 6
        return by_group(current, np.broadcast_to(lateral, (units, units)), self.groups, self._fire)

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


def quantise(
    layer: Layer, peak: float, *, input_bits: int = 16, weight_bits: int = 8, whole_bias: bool = False
) -> IntegerLayer:
    """The layer in integers.

    Args:
        layer: In floating point.
        peak: The feature that becomes the largest graded integer (`snn_codec.hardware.layer.calibrated_peak`).
        input_bits: Of the graded input, with its sign, 2 to 16; 2 for binary input of peak 1.
        weight_bits: Of the weights, with their sign, 2 to 15; more than 8 take two synapses.
        whole_bias: Round the biases to whole units of a, as leaky neurons need it in any case: a whole a can
            cancel the bias of one that waits for its first input.

    Raises:
        UserError: The layer cannot be held in these integers; the message says why.
    """
    _check_request(layer, peak, input_bits, weight_bits)
    stateless = layer.beta == 0
    whole_bias |= not stateless
    largest = 2 ** (input_bits - 1) - 1
    low_bits = max(0, weight_bits - 8)
    for shift in range(1, 40):  # the first that fits is the finest
        drop = 2.0 ** (shift - 1 + low_bits) * peak / largest  # unit of a for each step of the weights
        unit = _row_scale(layer) / (2 ** (weight_bits - 1) - 1) * drop
        inputs, laterals = _synapses(layer, unit, drop, shift, low_bits)
        arriving = sum(shifted(s.reach(largest), s.exponent) + 1 for s in inputs)
        if arriving + sum(shifted(s.reach(1), s.exponent) for s in laterals) <= LARGEST_A:
            break
    unit = np.maximum(unit, np.abs(layer.bias) / ((LARGEST_MANTISSA - 1) * (1 if whole_bias else 2)))
    if not stateless:
        unit = np.full_like(unit, max(unit.max(), layer.threshold / LARGEST_A))
    inputs, laterals = _synapses(layer, unit, drop, shift, low_bits)
    if not any(synapse.weight.any() for synapse in inputs):
        raise UserError("bias, threshold or lateral weights dwarf the weights, which all become 0; train on")

    # what rounding takes off, on average: half a unit for each shift down, and, as if half of the units fire,
    # half of what the lateral weights lose
    lost = layer.lateral / unit[:, None] - sum(synapse(np.eye(len(unit), dtype=int)) for synapse in laterals)
    down = sum(synapse.exponent < 0 for synapse in inputs)
    bias = layer.bias / unit + (down + lost.sum(1)) / 2
    mantissa, exponents = _bias(bias, whole_bias)
    return IntegerLayer(
        inputs,
        laterals,
        mantissa,
        exponents,
        decay=UNITY if stateless else round((1 - layer.beta) * UNITY),
        threshold=round(layer.threshold / unit[0]),
        reset=layer.reset,
        groups=layer.groups,
        scale=peak / (2 ** (input_bits - 1) - 1),
        input_bits=input_bits,
    )


def _row_scale(layer: Layer) -> np.ndarray:
    """The weight of each neuron that becomes the largest integer, `[N]`; leaky neurons share it."""
    most = np.abs(layer.weight).max(1)
    return np.where((most > 0) & (layer.beta == 0), most, most.max())


def _synapses(
    layer: Layer, unit: np.ndarray, drop: float, shift: int, low_bits: int
) -> tuple[tuple[Synapse, ...], tuple[Synapse, ...]]:
    """Synapses of the input, shifted down by `shift`, and lateral ones, for these units of a, `[N]`."""
    inputs = _split(np.rint(layer.weight / (unit / drop)[:, None]), low_bits, -shift)
    lateral = layer.lateral / unit[:, None] / 2
    top = np.abs(lateral).max()
    if top == 0:
        return inputs, ()
    exponent = max(-1, int(np.ceil(np.log2(top / 127))))
    low_bits = min(low_bits, exponent + 1)
    return inputs, _split(np.rint(lateral / 2.0 ** (exponent - low_bits)), low_bits, exponent)


def _split(weight: np.ndarray, low_bits: int, exponent: int) -> tuple[Synapse, ...]:
    """Integers as one synapse, or as two if they have `low_bits` more bits than 8."""
    high = np.clip(np.rint(weight / 2**low_bits), -127, 127)
    parts = [Synapse(high.astype(np.int32), exponent)]
    if low_bits:
        parts.append(Synapse((weight - high * 2**low_bits).astype(np.int32), exponent - low_bits))
    return tuple(parts)


def _check_request(layer: Layer, peak: float, input_bits: int, weight_bits: int) -> None:
    if not 2 <= weight_bits <= 15:
        raise UserError(f"weight bits: one synapse has 2 to 8, two have up to 15, not {weight_bits}")
    if not 2 <= input_bits <= 16:
        raise UserError(f"input bits: graded input has 2 to 16, with its sign, not {input_bits}")
    arrays = (layer.weight, layer.bias, layer.lateral, np.array([peak]))
    if not all(np.isfinite(array).all() for array in arrays):
        raise UserError("the bottleneck holds values that are not finite; get the checkpoint again")
    if not layer.weight.any() or peak <= 0:
        raise UserError("the weights or the features are all 0, so there is no scale to quantise them with")
    if layer.threshold < 0:
        raise UserError(f"a leaky neuron's threshold must be at least 0 on Loihi, not {layer.threshold}")


def _bias(bias: np.ndarray, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    """Bias in units of a, as mantissa and exponent (in units of a / 64): 6, or the smallest exponent that fits."""
    exponents = np.full(bias.shape, 6) if whole else np.zeros(bias.shape, int)
    while not whole:
        large = np.abs(np.rint(bias * 64 / 2.0**exponents)) > LARGEST_MANTISSA
        if not large.any() or (exponents[large] == LARGEST_EXPONENT).any():
            break
        exponents[large] += 1
    return np.rint(bias * 64 / 2.0**exponents).astype(np.int32), exponents


def operations(
    layer: IntegerLayer, graded: np.ndarray, spikes: np.ndarray, seconds: float
) -> dict[str, float]:
    """Per second of audio, as neurobench counts: events, synaptic operations and multiply-accumulates.

    A multiply-accumulate is effective if weight and graded input are not 0; an event costs one accumulate for
    each weight behind it that is not 0: to later groups, and the `width` of the decoder's first matrix. The
    dense equivalent multiplies every weight at every step.
    """
    units, width = layer.inputs[0].weight.shape
    steps = spikes.shape[1]
    group = group_of(units, layer.groups)
    fan_out = sum(np.count_nonzero(synapse.weight, 0) for synapse in layer.laterals) + np.zeros(units)
    fan_in = sum(np.count_nonzero(synapse.weight, 0) for synapse in layer.inputs)
    events = spikes.sum(1)
    macs = float(fan_in @ np.count_nonzero(graded, 1))
    later = int((group[None] < group[:, None]).sum())
    counts = {
        "events": float(events.sum()),
        "encoder_macs": macs,
        "encoder_synaptic_operations": float(fan_out @ events),
        "decoder_synaptic_operations": float(width * events.sum()),
        "dense_macs": float(steps * (2 * units * width + later)),
    }
    return {name: count / seconds for name, count in counts.items()}
