"""NIR files: read back exactly, the same spikes in every reader, and refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_quantise import features, random_layer

from snn_codec.errors import UserError
from snn_codec.hardware import nir as nir_export

nir = pytest.importorskip("nir")

LEAKY = {"beta": 0.75, "reset": "zero", "threshold": 0.5}


def written(layer, path):
    nir_export.write(path, layer, step_seconds=512 / 22050, fingerprint="0123")
    return nir.read(str(path))


def in_snntorch(graph, x):
    from snntorch.import_nir import import_from_nir

    network, state, spikes = import_from_nir(graph), None, []
    for row in x:
        out, state = network(row[None], state)
        spikes.append(out[0])
    return torch.stack(spikes)


def in_norse(graph, x):
    norse = pytest.importorskip("norse.torch")
    network, state, spikes = norse.from_nir(graph, dt=1e-4), None, []
    for row in x:
        out, state = network(row[None], state)
        spikes.append(out[0])
    return torch.stack(spikes)


def in_sinabs(graph, x):
    sinabs = pytest.importorskip("sinabs")
    layers = pytest.importorskip("sinabs.layers")
    from sinabs.activation import SingleSpike

    network = sinabs.from_nir(graph, batch_size=1)
    for module in network.modules():
        if isinstance(module, layers.LIF):
            module.spike_fn = SingleSpike
    return network(x)[0]


@pytest.mark.parametrize("reader", [in_snntorch, in_norse, in_sinabs])
@pytest.mark.parametrize(
    "settings",
    [{}, LEAKY, {"groups": 4}, LEAKY | {"groups": 2}],
    ids=["stateless", "leaky", "groups", "leaky groups"],
)
def test_every_reader_makes_the_same_spikes(tmp_path, reader, settings):
    if reader is in_sinabs and "beta" in settings:
        pytest.skip("sinabs has another leak, and subtracts")
    layer = random_layer(**settings)
    layer = replace(layer, weight=layer.weight.astype(np.float32).astype(float))
    x = torch.from_numpy(features(steps=200).T).float()
    with torch.no_grad():
        spikes = reader(written(layer, tmp_path / "a.nir"), x)
    expected = layer.spikes(x.numpy().T.astype(float))
    assert spikes.shape == (200, 40) and 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(spikes.numpy().T > 0, expected)


def test_the_file_holds_shapes_and_the_real_step(tmp_path):
    layer = random_layer()
    graph = written(layer, tmp_path / "a.nir")
    np.testing.assert_array_equal(graph.nodes["affine"].weight, layer.weight)
    np.testing.assert_array_equal(graph.nodes["affine"].bias, layer.bias)
    lif = graph.nodes["lif0"]
    assert lif.tau.shape == lif.v_threshold.shape == lif.v_reset.shape == (40,)
    assert (lif.v_threshold == 0).all() and (lif.v_reset == 0).all()
    assert graph.metadata["dt"] == pytest.approx(512 / 22050)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (LEAKY | {"reset": "subtract"}, "subtract"),
        (LEAKY | {"reset": "none"}, "none"),
    ],
)
def test_what_nir_cannot_express_is_refused(tmp_path, settings, reason):
    with pytest.raises(UserError, match=reason):
        nir_export.write(tmp_path / "a.nir", random_layer(**settings), step_seconds=1.0, fingerprint="")
    assert list(tmp_path.iterdir()) == []
