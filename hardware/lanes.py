"""A layer many times side by side, so that one step of a simulator is many steps of sound.

A step of Lava passes messages between processes, which takes longer than the arithmetic of a small layer. What does
not depend on each other needs no order in time: the steps of stateless neurons, and the runs of others, which
start from rest. So they lie in lanes, each with a copy of the layer:

    stateless    the runs, one after the other, are cut into as many stretches of the same length as there are lanes
    others       each run is a stretch; as many as there are lanes run at once, until the longest is done

Copies share nothing, so spikes are the same. The units of all lanes lie by group, then lane, so that the copies of a
group are one group (`snn_codec.hardware.layer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from scipy.sparse import coo_array, csr_array

from snn_codec.hardware.integers import UNITY, IntegerLayer, Synapse
from snn_codec.hardware.layer import Layer
from snn_codec.hardware.matrices import Weights

MOST_LANES = 16
MOST_UNITS = 4096  # of all lanes; beyond, arithmetic takes longer than messages
FEWEST_STEPS = 8  # of a lane

AnyLayer = TypeVar("AnyLayer", Layer, IntegerLayer)


def is_stateless(layer: Layer | IntegerLayer) -> bool:
    """Whether neurons keep nothing from step to step."""
    return layer.decay == UNITY if isinstance(layer, IntegerLayer) else layer.beta == 0


def lanes(layer: Layer | IntegerLayer, steps: Sequence[int]) -> int:
    """How many lanes pay for runs of so many steps."""
    most = min(MOST_LANES, MOST_UNITS // _units(layer))
    return max(1, min(most, -(-sum(steps) // FEWEST_STEPS) if is_stateless(layer) else len(steps)))


def side_by_side(layer: AnyLayer, count: int) -> AnyLayer:
    """`count` copies of a layer, as one layer with inputs `[count width]`."""
    if count == 1:
        return layer
    units = _units(layer)
    rows = _places(units, layer.groups, count)
    bias = np.argsort(rows.ravel()) % units  # of each unit of all lanes, the one it is a copy of

    def input_weight(weight: Weights) -> csr_array:
        width = weight.shape[1]
        return _copied(weight, rows, np.arange(count * width).reshape(count, width))

    def lateral_weight(weight: Weights) -> csr_array:
        return _copied(weight, rows, rows)

    if isinstance(layer, IntegerLayer):
        return replace(
            layer,
            inputs=tuple(Synapse(input_weight(s.weight), s.exponent) for s in layer.inputs),
            laterals=tuple(Synapse(lateral_weight(s.weight), s.exponent) for s in layer.laterals),
            bias_mantissa=layer.bias_mantissa[bias],
            bias_exponent=layer.bias_exponent[bias],
        )
    return replace(
        layer,
        weight=input_weight(layer.weight),
        bias=layer.bias[bias],
        lateral=lateral_weight(layer.lateral),
    )


def laid_out(layer: Layer | IntegerLayer, runs: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """Runs `[width, steps]` as those of all lanes, `[count width, steps]`."""
    if count == 1:
        return list(runs)
    stretches = list(runs)
    if is_stateless(layer):
        whole = np.concatenate(runs, 1)
        length = -(-whole.shape[1] // count)
        stretches = [whole[:, start : start + length] for start in range(0, count * length, length)]
    found = []
    for first in range(0, len(stretches), count):
        part = stretches[first : first + count]
        together = np.zeros((count, len(runs[0]), max(run.shape[1] for run in part)), runs[0].dtype)
        for lane, run in zip(together, part, strict=False):
            lane[:, : run.shape[1]] = run
        found.append(together.reshape(-1, together.shape[2]))
    return found


def taken_apart(
    layer: Layer | IntegerLayer, found: Sequence[np.ndarray], steps: Sequence[int], count: int
) -> list[np.ndarray]:
    """Spikes `[count N, steps]` of what `laid_out` made as those of runs of so many steps, `[N, steps]`."""
    if count == 1:
        return list(found)
    rows = _places(_units(layer), layer.groups, count)
    lanes_of = [spikes[lane] for spikes in found for lane in rows]
    if is_stateless(layer):
        whole = np.concatenate(lanes_of, 1)[:, : sum(steps)]
        return np.split(whole, np.cumsum(steps)[:-1], axis=1)
    return [spikes[:, :length] for spikes, length in zip(lanes_of, steps, strict=False)]


def _units(layer: Layer | IntegerLayer) -> int:
    return len(layer.bias_mantissa if isinstance(layer, IntegerLayer) else layer.bias)


def _places(units: int, groups: int, count: int) -> np.ndarray:
    """The unit of all lanes that is the copy of each unit in each lane, int `[count, N]`."""
    by_group = np.arange(count * units).reshape(groups, count, units // groups)
    return by_group.swapaxes(0, 1).reshape(count, units)


def _copied(weight: Weights, rows: np.ndarray, columns: np.ndarray) -> csr_array:
    """A copy of the weights for each lane, whose rows and columns these are."""
    one = coo_array(weight)
    places = rows[:, one.row].ravel(), columns[:, one.col].ravel()
    return csr_array((np.tile(one.data, len(rows)), places), (rows.size, columns.size))
