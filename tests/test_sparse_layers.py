"""Thousands of units with one input each, as of a thermometer code: sparse weights, exact integers, the same spikes."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array
from test_mdct import codec, tones
from test_quantise import features, random_layer

from snn_codec.hardware import matrices, simulate
from snn_codec.hardware.features import encode_with_features
from snn_codec.hardware.fold import fold
from snn_codec.hardware.layer import Layer
from snn_codec.hardware.operations import operations
from snn_codec.hardware.quantise import quantise

WIDTH, STEPS = 1024, 60


def coefficients(width=WIDTH, steps=STEPS):
    """Laplacian, of energies that fall by a factor of 1000 towards the last one: float64 `[width, steps]`."""
    random = np.random.default_rng(2)
    return random.laplace(size=(width, steps)) * np.geomspace(1, 1e-3, width)[:, None]


def thermometer(width=WIDTH, levels=3):
    """Unit (k, s, j) fires where s c_k > (j + 0.7) 1.5 e_k, with e_k as of `coefficients`: 2 levels width units."""
    k, sign, j = (part.ravel() for part in np.meshgrid(np.arange(width), [1, -1], np.arange(levels)))
    threshold = (j + 0.7) * 1.5 * np.geomspace(1, 1e-3, width)[k]
    gain = np.random.default_rng(3).uniform(0.1, 3, len(k))  # what a batch norm may leave
    weight = csr_array((sign * gain, (np.arange(len(k)), k)), (len(k), width))
    return Layer(weight, -threshold * gain, csr_array((len(k), len(k))))


def f1(found, expected):
    return 2 * np.count_nonzero(found & expected) / (found.sum() + expected.sum())


def test_six_thousand_units_in_integers_make_the_events_of_floating_point():
    layer, x = thermometer(), coefficients()
    expected = layer.spikes(x)
    integers = quantise(layer, 1.2 * np.abs(x).max(1))
    found = integers.spikes(integers.graded(x))
    assert expected.shape == (6144, STEPS) and 0.05 < expected.mean() < 0.3
    assert f1(found, expected) > 0.998
    assert f1(quantise(layer, 2.0).spikes(quantise(layer, 2.0).graded(x)), expected) < f1(found, expected)


def test_sparse_and_dense_weights_become_the_same_integers():
    layer, x = thermometer(60), coefficients(60)
    dense = replace(layer, weight=layer.weight.toarray())
    for settings in ({}, {"weight_bits": 12}, {"whole_bias": True, "input_bits": 8}):
        one, other = (quantise(kind, np.abs(x).max(1), **settings) for kind in (layer, dense))
        for a, b in zip(one.inputs, other.inputs, strict=True):
            np.testing.assert_array_equal(a.weight.toarray(), b.weight)
        np.testing.assert_array_equal(one.bias_mantissa, other.bias_mantissa)
        np.testing.assert_array_equal(one.spikes(one.graded(x)), other.spikes(other.graded(x)))
        counted = [
            operations(kind, kind.graded(x), kind.spikes(kind.graded(x)), 1.0) for kind in (one, other)
        ]
        assert counted[0] == counted[1]


def test_a_full_scale_for_each_feature_serves_small_features():
    layer = random_layer()
    size = np.geomspace(1, 1e-4, 64)
    layer, x = replace(layer, weight=layer.weight / size), features() * size[:, None]

    def agreement(peak):
        integers = quantise(layer, peak)
        return (integers.spikes(integers.graded(x)) == layer.spikes(x)).mean()

    assert agreement(np.abs(x).max(1)) > 0.997 > agreement(np.abs(x).max())


def test_an_input_with_one_weight_has_an_exact_threshold():
    """Of a threshold far above what a bias register holds at full weight, too."""
    for share in (0.01, 0.3, 0.9):
        layer = Layer(np.array([[2.0], [-2.0]]), np.array([-2.0, -2.0]) * share, np.zeros((2, 2)))
        integers = quantise(layer, 1.0)
        x = np.arange(-32767, 32768)[None]
        positive, negative = integers.spikes(x)
        assert abs(x[0, positive].min() / 32767 - share) < 3e-4
        assert abs(x[0, negative].max() / 32767 + share) < 3e-4
        assert positive.sum() + negative.sum() < 65535 * (1.001 - share)


def test_a_decoder_with_one_weight_for_a_unit_costs_one_operation_for_an_event():
    layer, x = thermometer(60), coefficients(60)
    integers = quantise(layer, np.abs(x).max(1))
    graded = integers.graded(x)
    spikes = integers.spikes(graded)
    counts = operations(integers, graded, spikes, 2.0, decoder=layer.weight.T.tocsr())
    assert counts["decoder_synaptic_operations"] == counts["events"] == spikes.sum() / 2
    assert counts["bottleneck_macs"] == 6 * np.count_nonzero(graded) / 2


@pytest.mark.lava
@pytest.mark.parametrize("arithmetic", ["fixed", "float"])
def test_lava_runs_sparse_synapses(arithmetic):
    layer, x = thermometer(100), coefficients(100, 40)
    if arithmetic == "fixed":
        layer = quantise(layer, np.abs(x).max(1))
        x = layer.graded(x)
    (found,) = simulate.in_lava(layer, [x], python=sys.executable, timeout=600)
    np.testing.assert_array_equal(found, layer.spikes(x))


def test_helpers_for_both_forms():
    dense = np.array([[0.0, -2, 3], [0, 0, 0], [4, 0, 0]])
    sparse = csr_array(dense)
    np.testing.assert_array_equal(matrices.row_sums(sparse), [1, 0, 4])
    np.testing.assert_array_equal(matrices.row_peaks(sparse), matrices.row_peaks(dense))
    np.testing.assert_array_equal(matrices.nonzero_columns(sparse), [1, 1, 1])
    rows, columns = np.array([1.0, 2, 3]), np.array([1.0, 10, 100])
    expected = dense * rows[:, None] * columns
    np.testing.assert_array_equal(matrices.scaled(dense, rows, columns), expected)
    np.testing.assert_array_equal(matrices.scaled(sparse, rows, columns).toarray(), expected)


def test_a_thermometer_is_folded_to_what_its_codec_fires():
    made, audio = codec(), tones(40 * 256)
    events, (found,) = encode_with_features(made, [audio], 22050, level=8)
    layer = fold(made.bottleneck)
    assert layer.weight.nnz == made.settings.units and events.n_events > 100
    np.testing.assert_array_equal(layer.spikes(found.astype(np.float64)), events.events)
    integers = quantise(layer, np.maximum(1.2 * np.abs(found).max(1), 1.0))
    assert f1(integers.spikes(integers.graded(found)), events.events) > 0.998
