"""Loihi's integers: limits, refusals, and how near to floating point they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import tones
from scipy import sparse

from snn_codec.errors import UserError
from snn_codec.hardware.features import calibrated_peak, encode_with_features
from snn_codec.hardware.fold import fold
from snn_codec.hardware.integers import LARGEST_A, LARGEST_MANTISSA, UNITY, IntegerLayer, Synapse
from snn_codec.hardware.layer import Layer
from snn_codec.hardware.operations import operations
from snn_codec.hardware.quantise import quantise


def random_layer(seed=0, units=40, width=64, **settings):
    random = np.random.default_rng(seed)
    groups = settings.get("groups", 1)
    group = np.arange(units) // (units // groups)
    lateral = random.standard_normal((units, units)) * (group[None] < group[:, None]) / 2
    weight = random.standard_normal((units, width)) / np.sqrt(width)
    return Layer(weight, random.standard_normal(units) / 3, lateral, **settings)


def features(seed=0, width=64, steps=400):
    return np.random.default_rng(seed + 1).standard_normal((width, steps))


def agreement(layer, x, **bits):
    integers = quantise(layer, np.abs(x).max(), **bits)
    return (integers.spikes(integers.graded(x)) == layer.spikes(x)).mean()


LEAKY = {"beta": 0.9, "threshold": 1.0}
SETTINGS = {
    "plain": ({}, 0.997),
    "residual": ({"groups": 4}, 0.98),
    "zero": ({"reset": "zero", **LEAKY}, 0.995),
    "subtract": ({"reset": "subtract", **LEAKY}, 0.99),
    "none": ({"reset": "none", **LEAKY}, 0.99),
    "residual, leaky": ({"groups": 2, "reset": "subtract", "beta": 0.3, "threshold": 0.5}, 0.98),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_integers_come_near_floating_point(kind):
    settings, least = SETTINGS[kind]
    assert agreement(random_layer(**settings), features()) > least


@pytest.mark.parametrize("kind", SETTINGS)
def test_more_bits_come_nearer(kind):
    layer, x = random_layer(**SETTINGS[kind][0]), features()
    coarse = agreement(layer, x, input_bits=8, weight_bits=4)
    assert coarse < agreement(layer, x, weight_bits=8) < agreement(layer, x, weight_bits=15)


@pytest.mark.parametrize("weight_bits", range(2, 16))
@pytest.mark.parametrize("input_bits", [2, 8, 16])
@pytest.mark.parametrize("groups", [1, 4])
def test_all_widths_stay_within_the_limits(weight_bits, input_bits, groups):
    """The constructor checks them for the worst input; here is that input."""
    layer = quantise(random_layer(groups=groups), 1.0, input_bits=input_bits, weight_bits=weight_bits)
    worst = layer.largest_input * np.sign(layer.inputs[0].weight[:1].T)
    assert abs(sum(synapse(worst) for synapse in layer.inputs)[0]) <= LARGEST_A
    assert layer.spikes(worst).shape == (40, 1)


def test_two_synapses_hold_what_one_cannot():
    layer = quantise(random_layer(), 1.0, weight_bits=15)
    high, low = layer.inputs
    whole = high.weight * 128 + low.weight
    assert np.abs(whole).max() == 2**14 - 1 and high.exponent - low.exponent == 7
    assert ((np.abs(low.weight) <= 64) | (np.abs(high.weight) == 127)).all()


def test_a_unit_fits_the_rounded_weights_best():
    layer = random_layer()
    integers = quantise(layer, 4.0, weight_bits=4, input_bits=8)
    (synapse,) = integers.inputs
    step = (synapse.weight * layer.weight).sum(1) / np.square(synapse.weight).sum(1)
    unit = step * integers.scale * 2.0 ** (-1 - synapse.exponent)  # a weight counts twice
    bias = integers.bias_mantissa * 2.0**integers.bias_exponent / 64
    np.testing.assert_allclose(unit * (bias - 0.5), layer.bias, rtol=1e-3, atol=2e-5)  # the shift loses half


def test_nothing_is_coarser_than_the_registers_ask():
    integers = quantise(random_layer(), 4.0)
    rounded = integers.bias_exponent > 0
    assert rounded.any() and (np.abs(integers.bias_mantissa[rounded]) >= LARGEST_MANTISSA // 2).all()
    assert quantise(random_layer(), 4.0, input_bits=2).inputs[0].exponent == -1


@pytest.mark.parametrize("groups", [1, 4])
def test_a_whole_bias_is_the_nearest_unit(groups):
    layer = random_layer(groups=groups)
    fine, whole = (quantise(layer, 4.0, input_bits=8, whole_bias=asked) for asked in (False, True))
    units, near = (x.bias_mantissa * 2.0**x.bias_exponent / 64 for x in (fine, whole))
    assert (near == np.rint(near)).all() and np.abs(near - units).max() <= 0.5 + 1 / 64


def test_scaling_weights_and_bias_changes_no_spike_of_a_stateless_neuron():
    layer, x = random_layer(), features()
    factor = np.random.default_rng(5).uniform(0.01, 100, 40)
    other = replace(layer, weight=layer.weight * factor[:, None], bias=layer.bias * factor)
    one, two = quantise(layer, 4.0), quantise(other, 4.0)
    np.testing.assert_array_equal(one.spikes(one.graded(x)), two.spikes(two.graded(x)))


@pytest.mark.parametrize("weight_bits", [5, 8, 9, 15])
@pytest.mark.parametrize("groups", [1, 4])
def test_what_arrives_is_the_layer_in_units_of_its_own(weight_bits, groups):
    """A shift or a unit that is wrong by a factor of two would show in every neuron; and the registers are used."""
    layer, x = random_layer(groups=groups), features()
    integers = quantise(layer, 4.0, weight_bits=weight_bits)
    graded = integers.graded(x)
    arrives = sum(synapse(graded) for synapse in integers.inputs)
    drive = layer.weight @ (graded * integers.scale)
    units = (drive * arrives).sum(1) / np.square(arrives).sum(1)  # of the layer, for each unit of a
    error = np.abs(drive - units[:, None] * arrives).max(1) / np.abs(drive).max(1)
    assert (error < 2.0 ** (3 - min(weight_bits, 12))).all()
    bias = (integers.bias_mantissa * 2.0**integers.bias_exponent) / 64 * units
    lateral = integers.lateral * units[:, None]
    np.testing.assert_allclose(
        lateral, layer.lateral, atol=2.0 ** (3 - min(weight_bits, 12)) if groups > 1 else 9
    )
    lost = (layer.lateral - lateral).sum(1) / 2 if groups > 1 else 0
    np.testing.assert_allclose(bias - lost, layer.bias, atol=0.02 if weight_bits > 5 else 0.1)
    worst = np.abs(
        sum(synapse(np.sign(integers.inputs[0].weight[[0]].T) * 32767) for synapse in integers.inputs)
    ).max()
    reach = sum(s.reach(32767) * 2.0**s.exponent for s in integers.inputs)
    assert LARGEST_A / 4 < reach <= LARGEST_A and worst <= LARGEST_A


def test_input_beyond_the_full_scale_is_clipped():
    layer = quantise(random_layer(), 1.0, input_bits=8)
    assert layer.graded(np.array([[-9.0], [-1.0], [0.0], [0.5], [1.0], [9.0]])).T.tolist() == [
        [-127, -127, 0, 64, 127, 127]
    ]


def test_a_neuron_without_weights_follows_its_bias():
    layer = random_layer()
    layer.weight[3:5] = 0
    layer.bias[3:5] = 0.2, -0.2
    spikes = quantise(layer, 4.0).spikes(np.zeros((64, 3), np.int32))
    assert spikes[3].all() and not spikes[4].any()


def test_a_neuron_without_weights_and_bias_is_silent():
    layer = random_layer()
    layer.weight[3] = layer.bias[3] = 0
    integers = quantise(layer, 4.0)
    assert integers.bias_mantissa[3] >= 0 and (integers.inputs[0].weight[3] == 0).all()
    assert np.isfinite(quantise(layer, 4.0, whole_bias=True).bias_mantissa).all()


@pytest.mark.parametrize("times", [10, 100, 300])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_a_large_bias_keeps_its_ratio_to_the_weights(times, form):
    """It takes all of its register, and so decides the unit; the weights must be rounded to fit that unit."""
    layer = random_layer()
    layer.bias[:] = times * np.abs(layer.weight).max(1)
    integers = quantise(replace(layer, weight=form(layer.weight)), 4.0, input_bits=8)
    (synapse,) = integers.inputs
    weight = synapse.weight if form is np.asarray else synapse.weight.toarray()
    step = (weight * layer.weight).sum(1) / np.square(weight).sum(1)
    unit = step * integers.scale * 2.0 ** (-1 - synapse.exponent)
    bias = integers.bias_mantissa * 2.0**integers.bias_exponent / 64
    np.testing.assert_allclose(unit * (bias - 0.5), layer.bias, rtol=1e-3)


@pytest.mark.parametrize("settings", [{}, {"reset": "zero", **LEAKY}])
def test_a_bias_that_takes_all_of_its_register_leaves_room_for_rounding(settings):
    """What rounding of lateral weights takes off is added to it, as far as it fits; some were refused."""
    for seed in range(20):
        layer = random_layer(seed, units=8, width=16, groups=2, **settings)
        layer = replace(layer, weight=layer.weight / 1000, lateral=20 * layer.lateral, bias=20 * layer.bias)
        integers = quantise(layer, 3.0, whole_bias=True)
        assert np.abs(integers.bias_mantissa).max() <= LARGEST_MANTISSA
        x = features(seed, width=16)
        assert (integers.spikes(integers.graded(x)) == layer.spikes(x)).mean() > 0.9


def zeroed(layer):
    return replace(layer, weight=np.zeros_like(layer.weight))


REFUSED = {
    "not finite": (lambda layer: replace(layer, bias=layer.bias * np.nan), {}, "not finite"),
    "no weights": (zeroed, {}, "all 0"),
    "no features": (lambda layer: layer, {"peak": 0.0}, "all 0"),
    "weight bits": (lambda layer: layer, {"weight_bits": 16}, "not 16"),
    "input bits": (lambda layer: layer, {"input_bits": 17}, "not 17"),
    "huge bias": (lambda layer: replace(layer, bias=layer.bias + 1e9), {}, "dwarf"),
    "threshold": (lambda layer: replace(layer, beta=0.5, threshold=-1.0), {}, "at least 0"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_loihi_cannot_hold_is_refused_with_the_reason(kind):
    change, settings, reason = REFUSED[kind]
    with pytest.raises(UserError, match=reason):
        quantise(change(random_layer()), **({"peak": 4.0} | settings))


BROKEN = {
    "a weight": {"inputs": (Synapse(np.full((2, 3), 128), -9),)},
    "no weight": {"inputs": (Synapse(np.zeros((2, 3), int), -9),)},
    "the accumulator": {"inputs": (Synapse(np.full((2, 300), 127), -20),)},
    "what arrives": {"inputs": (Synapse(np.full((2, 3), 127), -1),)},
    "the mantissa": {"bias_mantissa": np.array([0, 4096])},
    "the exponent of a bias": {"bias_exponent": np.array([0, 8])},
    "the threshold": {"threshold": LARGEST_A + 1},
    "the decay": {"decay": UNITY + 1},
    "lateral": {"laterals": (Synapse(np.ones((2, 2), int), -2),)},
}


@pytest.mark.parametrize("kind", BROKEN)
def test_every_limit_is_checked(kind):
    right = {
        "inputs": (Synapse(np.ones((2, 3), int), -9),),
        "laterals": (),
        "bias_mantissa": np.zeros(2, int),
        "bias_exponent": np.zeros(2, int),
    }
    IntegerLayer(**right)
    with pytest.raises(UserError, match="weight" if kind == "no weight" else kind):
        IntegerLayer(**(right | BROKEN[kind]))


def test_known_membranes_of_one_neuron():
    """By hand: a = (2 q) >> 1 = q, v = floor(v / 2) + 64 a, a spike above 640."""
    layer = IntegerLayer(
        (Synapse(np.array([[1]]), -1),), (), np.zeros(1, int), np.zeros(1, int),
        decay=2048, threshold=10, reset="zero", input_bits=8,
    )  # fmt: skip
    x = np.array([[10, 5, 1, 10, 6, 4, 11, 0]])
    #  zero: v = 640, 640, 384, 832*, 384, 448, 928*, 0;  subtract: ..., 832*, 160, 336, 872*, -204
    assert layer.spikes(x).astype(int).tolist() == [[0, 0, 0, 1, 0, 0, 1, 0]]
    assert replace(layer, reset="none").spikes(x).astype(int).tolist() == [[0, 0, 0, 1, 1, 1, 1, 0]]
    assert replace(layer, reset="subtract").spikes(x).astype(int).tolist() == [[0, 0, 0, 1, 0, 0, 1, 0]]


def test_the_ground_truth_of_lava_dl():
    """A test network of lava-dl: 256 neurons, vth 6, du 4095, dv 415; its output is one step late."""
    with np.load(Path(__file__).parent / "ground_truth" / "lava_dl_dense.npz") as file:
        weight, none = file["weight"].astype(np.int32), np.zeros(256, int)
        x, expected = (np.unpackbits(file[name], axis=1)[:, :700] for name in ("input", "output"))
    layer = IntegerLayer(
        (Synapse(weight // 2, 0),), (), none, none, decay=415, threshold=6, reset="zero", input_bits=2
    )
    assert expected.sum() == 695 and not expected[:, 0].any()
    np.testing.assert_array_equal(layer.spikes(x.astype(np.int64))[:, :-1], expected[:, 1:])


def test_operations_by_hand():
    layer = IntegerLayer(
        (Synapse(np.array([[1, 0, 2], [3, 4, 5]]), -9),),
        (Synapse(np.array([[0, 0], [7, 0]]), 0),),
        np.zeros(2, int),
        np.zeros(2, int),
        groups=2,
    )
    graded = np.array([[1, 0], [5, 5], [0, 3]])
    spikes = np.array([[True, True], [False, True]])
    assert operations(layer, graded, spikes, 2.0) == {
        "events": 1.5,
        "bottleneck_macs": (2 * 1 + 1 * 2 + 2 * 1) / 2,
        "between_groups_synaptic_operations": 1.0,
        "decoder_synaptic_operations": 4.5,
        "dense_macs": (2 * (12 + 1)) / 2,
    }


def test_no_layer_does_more_operations_than_a_dense_one():
    layer = quantise(random_layer(groups=2), 4.0, weight_bits=15)
    graded = np.ones((layer.inputs[0].weight.shape[1], 3), int)
    spikes = np.ones((len(layer.bias_mantissa), 3), bool)
    assert (
        len(layer.inputs) == len(layer.laterals) == 2
    )  # synapses, of which the second has the rest of a weight
    counts = operations(layer, graded, spikes, 1.0)
    done = ("bottleneck_macs", "between_groups_synaptic_operations", "decoder_synaptic_operations")
    assert 0.5 * counts["dense_macs"] < sum(counts[name] for name in done) <= counts["dense_macs"]


def test_a_codec_decodes_alike_from_integers(codec):
    events, (x,) = encode_with_features(codec, [tones(8.0)], 22050)
    layer = quantise(fold(codec.bottleneck), calibrated_peak(codec))
    spikes = layer.spikes(layer.graded(x))
    assert (spikes == events.events).mean() > 0.95
    sound, other = codec.decode(events), codec.decode(events.replace(events=spikes))
    assert np.square(sound - other).sum() < 0.1 * np.square(sound).sum()
