"""The folded layer is the trained bottleneck: the same spikes from the same features."""

import numpy as np
import pytest
import torch
from conftest import settled, small_model, tones

from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.hardware.features import calibrated_peak, encode_with_features, kept_steps
from snn_codec.hardware.fold import fold
from snn_codec.hardware.layer import delays

NEURONS = {
    "plain": config.Spiking(),
    "threshold": config.Spiking(threshold=0.3),
    "residual": config.Spiking(groups=4),
    "zero": config.Spiking(beta=0.9, reset="zero", threshold=0.5),
    "subtract": config.Spiking(beta=0.7, reset="subtract", threshold=0.5),
    "no reset": config.Spiking(beta=0.5, reset="none", threshold=0.1),
    "residual, leaky": config.Spiking(groups=2, beta=0.6, reset="zero", threshold=0.2),
}


@pytest.fixture(scope="session", params=NEURONS)
def leaky_or_not(request):
    codec = settled(small_model(bottleneck=NEURONS[request.param]))
    for norm in codec.bottleneck.norms:  # trained norms are not the identity
        with torch.no_grad():
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.3, 0.3)
    return codec


def test_the_layer_spikes_as_the_bottleneck(leaky_or_not):
    codec = leaky_or_not
    events, runs = encode_with_features(codec, [tones(14.0)], 22050)
    spikes = [fold(codec.bottleneck).spikes(run) for run in runs]
    if not codec.bottleneck.stateless:
        assert len(runs) == events.n_chunks > 1
        spikes = [part[:, keep] for part, keep in zip(spikes, kept_steps(codec, events), strict=True)]
    assert 0.05 < events.density < 0.95
    np.testing.assert_array_equal(np.concatenate(spikes, 1), events.events)


@pytest.mark.parametrize("steps", [1, 2, 255, 256, 257, 270, 512, 513])
def test_features_of_every_length_are_aligned(codec, steps):
    sound = tones(12.0)[: steps * 512 - 100]
    events, (features,) = encode_with_features(codec, [sound], 22050)
    assert features.shape == (16, steps) and features.dtype == np.float32
    np.testing.assert_array_equal(fold(codec.bottleneck).spikes(features), events.events)
    assert codec.encode(sound, 22050) == events


def test_features_are_those_after_the_conformer_layers(prompted):
    codec = Codec.load(prompted)
    events, (features,) = encode_with_features(codec, [tones(7.0)], 22050)
    np.testing.assert_array_equal(fold(codec.bottleneck).spikes(features), events.events)
    assert codec.encode(tones(7.0), 22050) == events and len(events.levels)


def test_delays_let_each_group_wait_for_those_before(codec):
    inputs, laterals = delays(80, 4)
    assert inputs[::20].tolist() == [0, 1, 2, 3]
    assert laterals[60, [0, 20, 40]].tolist() == [2, 1, 0]
    assert not np.triu(fold(codec.bottleneck).lateral).any()


def test_the_full_scale_is_the_same_every_time(codec):
    peak = calibrated_peak(codec)
    assert peak == calibrated_peak(codec)
    _, (features,) = encode_with_features(codec, [tones(5.0)], 22050)
    assert np.abs(features).max() < peak < 10 * np.abs(features).max()


def test_a_bottleneck_without_neurons_is_refused():
    pytest.importorskip("vector_quantize_pytorch")
    with pytest.raises(UserError, match="no spiking neurons"):
        fold(settled(small_model(bottleneck=config.RVQ())).bottleneck)
