"""From a layer in floating point to one in Loihi's integers (`snn_codec.hardware.integers`).

A unit of what arrives at a neuron, a, stands for `unit` of the float layer. A stateless neuron only needs the
sign of v, so each of them has its own unit, the finest that the limits allow; leaky neurons share one, because
they share a threshold. A stateless neuron's unit is then fitted to its rounded weights, by least squares: where
it has one input, as in a thermometer code, its weight is exact and only its bias is rounded. Weights of more
than 8 bits are two synapses of 8 bits, the second for the rest that the first leaves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from snn_codec.errors import UserError
from snn_codec.hardware.integers import (
    LARGEST_A,
    LARGEST_EXPONENT,
    LARGEST_MANTISSA,
    UNITY,
    IntegerLayer,
    Synapse,
    shifted,
)
from snn_codec.hardware.layer import Layer
from snn_codec.hardware.matrices import Weights, mapped, row_peaks, row_sums, scaled, values


def quantise(
    layer: Layer,
    peak: float | np.ndarray,
    *,
    input_bits: int = 16,
    weight_bits: int = 8,
    whole_bias: bool = False,
) -> IntegerLayer:
    """The layer in integers.

    Args:
        layer: In floating point; its weights may be sparse.
        peak: The feature that becomes the largest graded integer (`snn_codec.hardware.features.calibrated_peak`);
            one for all features, or one for each, `[width]`.
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
    scale = peak / largest
    if isinstance(peak, np.ndarray):  # the weights of what becomes graded integers of one scale
        layer, peak = replace(layer, weight=scaled(layer.weight, columns=peak / peak.max())), peak.max()
    low_bits = max(0, weight_bits - 8)
    finest = np.abs(layer.bias) / ((LARGEST_MANTISSA - 1) * (1 if whole_bias else 2))
    if not stateless:
        finest = np.maximum(finest, layer.threshold / LARGEST_A)
    for shift in range(1, 40):  # the first that fits is the finest
        steps = _Steps(2.0 ** (shift - 1 + low_bits) * peak / largest, shift, low_bits)
        unit = _row_scale(layer) / (2 ** (weight_bits - 1) - 1) * steps.drop
        if _rounded(layer, unit, np.zeros_like(unit), steps).reach(largest) <= LARGEST_A:
            break
    unit = np.maximum(unit, finest) if stateless else np.full_like(unit, max(unit.max(), finest.max()))
    parts = _rounded(layer, unit, finest, steps)
    if not any(values(synapse.weight).any() for synapse in parts.inputs):
        raise UserError("bias, threshold or lateral weights dwarf the weights, which all become 0; train on")
    mantissa, exponents = _bias(parts.bias(layer), whole_bias)
    return IntegerLayer(
        parts.inputs,
        parts.laterals,
        mantissa,
        exponents,
        decay=UNITY if stateless else round((1 - layer.beta) * UNITY),
        threshold=round(layer.threshold / parts.unit[0]),
        reset=layer.reset,
        groups=layer.groups,
        scale=scale,
        input_bits=input_bits,
    )


class _Steps(NamedTuple):
    """How input weights become integers: `drop` units of a for each step of the weights, which `shift` takes off."""

    drop: float
    shift: int
    low_bits: int


class _Parts(NamedTuple):
    """Synapses of a layer, and what a unit of a stands for in each neuron, `[N]`."""

    inputs: tuple[Synapse, ...]
    laterals: tuple[Synapse, ...]
    unit: np.ndarray

    def reach(self, largest: int) -> int:
        """The most that can arrive at a neuron from graded input up to `largest` and from spikes."""
        arriving = sum(shifted(s.reach(largest), s.exponent) + 1 for s in self.inputs)
        return arriving + sum(shifted(s.reach(1), s.exponent) for s in self.laterals)

    def bias(self, layer: Layer) -> np.ndarray:
        """The bias in units of a, and what rounding takes off on average: half a unit for each synapse of the input,
        which shifts down, and, as if half of the units fire, half of what the lateral weights lose."""
        bias = layer.bias / self.unit + len(self.inputs) / 2
        if self.laterals:
            arrives = sum(synapse(np.eye(len(self.unit), dtype=int)) for synapse in self.laterals)
            bias = bias + (layer.lateral / self.unit[:, None] - arrives).sum(1) / 2
        return bias


def _rounded(layer: Layer, unit: np.ndarray, finest: np.ndarray, steps: _Steps) -> _Parts:
    """The synapses for about these units of a, `[N]`; none becomes finer than `finest`, which the bias needs."""
    exact = scaled(layer.weight, rows=steps.drop / unit)
    whole = mapped(np.rint, exact)
    if layer.beta == 0:
        bound = (
            (unit <= finest)[:, None] if isinstance(exact, np.ndarray) else _by_value(unit <= finest, exact)
        )
        whole = mapped(lambda near, raw: np.where(bound, np.trunc(raw), near), whole, exact)
        square = row_sums(mapped(np.square, whole))
        fit = np.divide(
            row_sums(mapped(np.multiply, whole, exact)), square, out=np.ones_like(unit), where=square > 0
        )
        unit = np.maximum(unit * fit, finest)
    return _Parts(_split(whole, steps.low_bits, -steps.shift), _laterals(layer, unit, steps.low_bits), unit)


def _by_value(rows: np.ndarray, weight: Weights) -> np.ndarray:
    """Of each stored value of a sparse array, what is true of its row."""
    return np.repeat(rows, np.diff(weight.indptr))


def _row_scale(layer: Layer) -> np.ndarray:
    """The weight of each neuron that becomes the largest integer, `[N]`; leaky neurons share it."""
    most = row_peaks(layer.weight)
    return np.where((most > 0) & (layer.beta == 0), most, most.max())


def _laterals(layer: Layer, unit: np.ndarray, low_bits: int) -> tuple[Synapse, ...]:
    if layer.groups == 1:
        return ()
    lateral = layer.lateral / unit[:, None] / 2
    top = np.abs(lateral).max()
    if top == 0:
        return ()
    exponent = max(-1, int(np.ceil(np.log2(top / 127))))
    low_bits = min(low_bits, exponent + 1)
    return _split(np.rint(lateral / 2.0 ** (exponent - low_bits)), low_bits, exponent)


def _split(weight: Weights, low_bits: int, exponent: int) -> tuple[Synapse, ...]:
    """Integers as one synapse, or as two if they have `low_bits` more bits than 8."""
    high = mapped(lambda w: np.clip(np.rint(w / 2**low_bits), -127, 127).astype(np.int32), weight)
    parts = [Synapse(high, exponent)]
    if low_bits:
        low = mapped(lambda w, h: (w - h * 2.0**low_bits).astype(np.int32), weight, high)
        parts.append(Synapse(low, exponent - low_bits))
    return tuple(parts)


def _check_request(layer: Layer, peak: float | np.ndarray, input_bits: int, weight_bits: int) -> None:
    if not 2 <= weight_bits <= 15:
        raise UserError(f"weight bits: one synapse has 2 to 8, two have up to 15, not {weight_bits}")
    if not 2 <= input_bits <= 16:
        raise UserError(f"input bits: graded input has 2 to 16, with its sign, not {input_bits}")
    arrays = (values(layer.weight), layer.bias, values(layer.lateral), np.asarray(peak))
    if not all(np.isfinite(array).all() for array in arrays):
        raise UserError("the bottleneck holds values that are not finite; get the checkpoint again")
    if not values(layer.weight).any() or np.min(peak) <= 0:
        raise UserError("the weights or the features are all 0, so there is no scale to quantise them with")
    if layer.threshold < 0:
        raise UserError(f"a leaky neuron's threshold must be at least 0 on Loihi, not {layer.threshold}")


def _bias(bias: np.ndarray, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    """Bias in units of a, as mantissa and exponent (in units of a / 64): 6, or the smallest exponent that fits."""
    exponents = np.full(bias.shape, 6) if whole else np.zeros(bias.shape, int)
    # units are chosen for the layer's bias; what is added for rounding may leave the register
    most = LARGEST_MANTISSA * 2.0 ** (6 if whole else LARGEST_EXPONENT) / 64
    bias = np.clip(bias, -most, most)
    while (large := np.abs(np.rint(bias * 64 / 2.0**exponents)) > LARGEST_MANTISSA).any():
        exponents[large] += 1
    return np.rint(bias * 64 / 2.0**exponents).astype(np.int32), exponents
