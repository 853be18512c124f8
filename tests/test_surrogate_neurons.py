"""Neurons by name, as a study of surrogates has them."""

import pytest

from snn_codec.errors import UserError
from snn_codec.surrogate_study import neurons


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ("stateless", {"beta": 0.0, "reset": "none", "threshold": 0.0}),
        ("leaky:0.5", {"beta": 0.5, "reset": "none", "threshold": 0.0}),
        ("zero:0.90", {"beta": 0.9, "reset": "zero", "threshold": 0.0}),
        ("subtract:0.9", {"beta": 0.9, "reset": "subtract", "threshold": 1.0}),
        ("subtract:0.9:0.5", {"beta": 0.9, "reset": "subtract", "threshold": 0.5}),
    ],
)
def test_neurons(spec, fields):
    assert neurons.fields(spec) == fields
    label = neurons.label(*neurons.parse(spec))
    assert neurons.fields(label) == fields and neurons.label(*neurons.parse(label)) == label


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("lif:0.5", "is not known; write stateless"),
        ("leaky", "is not known"),
        ("stateless:0.5", "is not known"),
        ("zero:0.5:1:2", "is not known"),
        ("zero:x", "must be numbers"),
        ("zero:0", "above 0 and below 1"),
        ("zero:1", "above 0 and below 1"),
        ("subtract:0.5:0", "above 0 if it is subtracted"),
        ("zero:0.5:nan", "threshold must be a number"),
    ],
)
def test_neurons_that_cannot_be(spec, words):
    with pytest.raises(UserError, match=f"neuron '{spec}': .*{words}"):
        neurons.parse(spec)
