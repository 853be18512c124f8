"""netx files: what is in them, what they refuse, and that lava-dl's own reader runs them."""

import sys

import h5py
import numpy as np
import pytest
from test_quantise import features, random_layer

from snn_codec.errors import UserError
from snn_codec.hardware import netx, simulate
from snn_codec.hardware.quantise import quantise


@pytest.fixture
def layer():
    return quantise(random_layer(), 4.0, whole_bias=True)


@pytest.fixture
def net(layer, tmp_path):
    netx.write(tmp_path / "a.net", layer, step_rate=43.0, fingerprint="0123")
    return tmp_path / "a.net"


def test_what_is_written_is_read_back(layer, net):
    found, fingerprint = netx.read(net)
    assert fingerprint == "0123"
    x = layer.graded(features())
    np.testing.assert_array_equal(found.graded(features()), x)
    np.testing.assert_array_equal(found.spikes(x), layer.spikes(x))


def test_the_schema_of_netx(layer, net):
    with h5py.File(net) as file:
        assert file["layer/0/type"][0] == b"input" and file["layer/1/type"][0] == b"dense"
        assert "neuron" not in file["layer/0"]
        assert file["layer/1/weight"].shape == (40, 64) and file["layer/1/weight"].dtype == np.float32
        neuron = {name: data[()] for name, data in file["layer/1/neuron"].items()}
    assert neuron.pop("type") == b"CUBA"
    assert neuron == {"iDecay": 4096, "vDecay": 4096, "vThMant": 0, "refDelay": 1, "gradedSpike": 0}


@pytest.mark.lava
@pytest.mark.parametrize("groups", [1, 4])
def test_the_reader_of_lava_dl_makes_the_same_spikes(tmp_path, groups):
    layer = quantise(random_layer(groups=groups), 4.0, whole_bias=True)
    netx.write(tmp_path / "a.net", layer, step_rate=43.0, fingerprint="")
    x = layer.graded(features(steps=100))
    (found,) = simulate.in_lava(layer, [x], net=tmp_path / "a.net", python=sys.executable, timeout=600)
    np.testing.assert_array_equal(found, layer.spikes(x))


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_groups_are_written_and_read_back(tmp_path, groups):
    layer = quantise(random_layer(groups=groups), 4.0, whole_bias=True)
    netx.write(tmp_path / "a.net", layer, step_rate=43.0, fingerprint="0123")
    found, fingerprint = netx.read(tmp_path / "a.net")
    x = layer.graded(features())
    assert fingerprint == "0123" and found.groups == groups
    np.testing.assert_array_equal(found.spikes(x), layer.spikes(x))


def test_groups_are_one_recurrent_layer_whose_synapses_share_no_column(tmp_path):
    layer = quantise(random_layer(groups=4), 4.0, whole_bias=True)
    netx.write(tmp_path / "a.net", layer, step_rate=43.0, fingerprint="")
    with h5py.File(tmp_path / "a.net") as file:
        dense = file["layer/1"]
        weight, recurrent, delay = (dense[name][:] for name in ("weight", "weight_rec", "delay"))
        assert dense["type"][0] == b"dense_rec" and file["layer/0/shape"][0] == dense["shape"][0] == 104
    assert not weight[:64].any() and not weight[:, 64:].any()
    assert not recurrent[:64].any() and not recurrent[:, :64].any()
    assert delay[64:, 0].tolist() == [0] * 10 + [1] * 10 + [2] * 10 + [3] * 10
    assert delay[-1, [64, 74, 84]].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("layer", "settings", "reason"),
    [
        (random_layer(groups=4), {"weight_bits": 12}, "8 bits"),
        (random_layer(beta=0.9, reset="zero", threshold=1.0), {}, "leaky"),
        (random_layer(), {"weight_bits": 12}, "8 bits"),
        (random_layer(), {"whole_bias": False}, "whole units"),
    ],
)
def test_what_netx_cannot_express_is_refused(tmp_path, layer, settings, reason):
    integers = quantise(layer, 4.0, **({"whole_bias": True} | settings))
    with pytest.raises(UserError, match=reason):
        netx.write(tmp_path / "a.net", integers, step_rate=43.0, fingerprint="")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [0, 100, 0.5, -5, "cut", "empty", "text", "missing"])
def test_a_damaged_file_is_one_sentence(net, place):
    data = bytearray(net.read_bytes())
    if place == "missing":
        net.unlink()
    else:
        if place == "cut":
            del data[-100:]
        elif place == "empty":
            data.clear()
        elif place == "text":
            data = b"not a network"
        else:
            data[int(place * len(data)) if isinstance(place, float) else place] ^= 1
        net.write_bytes(data)
    with pytest.raises(UserError, match="a.net: "):
        netx.read(net)
