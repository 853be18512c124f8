"""Neurons of norse and slayer in the bottleneck: the same spikes, and gradients."""

import pytest
import torch
from conftest import settled, small_model

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.hardware.neurons import with_neuron

FRAMEWORKS = [
    pytest.param("norse", marks=pytest.mark.filterwarnings("ignore")),
    pytest.param("slayer", marks=[pytest.mark.lava, pytest.mark.filterwarnings("ignore")]),
]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("groups", [1, 4])
def test_the_same_weights_give_the_same_spikes(framework, groups):
    if framework == "norse":
        pytest.importorskip("norse")
    settings = config.Spiking(groups=groups, threshold=0.2)
    bottleneck = settled(small_model(bottleneck=settings)).bottleneck
    features = torch.randn(3, 700, 16, generator=torch.Generator().manual_seed(0))
    other = with_neuron(bottleneck, framework)
    expected, found = bottleneck.encode(features), other.encode(features)
    assert 0.1 < expected.mean() < 0.9
    assert torch.equal(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), other.encode_weight)
    assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_what_differs_between_frameworks_is_refused(codec):
    with pytest.raises(UserError, match="no such framework"):
        with_neuron(codec.bottleneck, "brian")
    leaky = settled(small_model(bottleneck=config.Spiking(beta=0.5))).bottleneck
    with pytest.raises(UserError, match="leaky"):
        with_neuron(leaky, "norse")
