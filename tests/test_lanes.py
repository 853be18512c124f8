"""A layer many times side by side makes the spikes that it makes alone."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from test_quantise import features, random_layer

from snn_codec.hardware import lanes
from snn_codec.hardware.layer import Layer
from snn_codec.hardware.quantise import quantise

KINDS = {
    "plain": {},
    "residual": {"groups": 4},
    "leaky": {"beta": 0.9, "threshold": 1.0, "reset": "subtract"},
    "residual, leaky": {"groups": 2, "beta": 0.3, "threshold": 0.5, "reset": "zero"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", ["float", 8, 15])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_lanes_make_the_same_spikes(kind, bits, count):
    layer, steps = random_layer(units=16, width=24, **KINDS[kind]), (50, 1, 33, 20)
    runs = [features(seed, 24, length) for seed, length in enumerate(steps)]
    if bits != "float":
        layer = quantise(layer, 4.0, weight_bits=bits)
        runs = [layer.graded(run) for run in runs]
    wide = lanes.side_by_side(layer, count)
    laid = lanes.laid_out(layer, runs, count)
    assert all(run.shape[0] == 24 * count for run in laid)
    found = lanes.taken_apart(layer, [wide.spikes(run) for run in laid], steps, count)
    for spikes, run in zip(found, runs, strict=True):
        np.testing.assert_array_equal(spikes, layer.spikes(run))


def test_stateless_steps_are_shared_equally_and_leaky_runs_stay_whole():
    runs = [features(0, 4, 10), features(1, 4, 3), features(2, 4, 7)]
    stateless, leaky = random_layer(units=8, width=4), random_layer(units=8, width=4, beta=0.5)
    assert [run.shape for run in lanes.laid_out(stateless, runs, 4)] == [(16, 5)]
    assert [run.shape for run in lanes.laid_out(leaky, runs, 2)] == [(8, 10), (8, 7)]


def test_there_are_as_many_lanes_as_pay():
    small, leaky = random_layer(units=80), random_layer(units=80, beta=0.5)
    assert lanes.lanes(small, [10_000]) == lanes.MOST_LANES
    assert lanes.lanes(small, [20]) == 3
    assert lanes.lanes(small, [0]) == 1
    assert lanes.lanes(leaky, [10_000]) == 1
    assert lanes.lanes(leaky, [10, 10, 10]) == 3
    wide = Layer(csr_array((38_400, 4)), np.zeros(38_400), csr_array((38_400, 38_400)))
    assert lanes.lanes(wide, [10_000]) == 1
