"""Codecs of a lapped transform and a thermometer: folded, quantised, and run from audio to events in integers."""

import numpy as np
import pytest
import torch
from conftest import SMALL, settled, small_model
from test_mdct import codec as mdct_codec
from test_mdct import tones

from snn_codec import loudness
from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.hardware.encoder import PEAK, encoder_of, frames
from snn_codec.hardware.features import encode_with_audio, encode_with_features, full_scale
from snn_codec.hardware.fold import decoder_matrix, encoder_matrix, fold
from snn_codec.hardware.quantise import quantise


def f1(found, expected):
    return 2 * np.count_nonzero(found & expected) / (found.sum() + expected.sum())


@pytest.fixture(scope="module")
def case():
    """(codec, events, features)"""
    codec = mdct_codec()
    with torch.no_grad():
        codec.bottleneck.log_scale.normal_(0, 0.3)
    events, (features,) = encode_with_features(codec, [tones(20000)], 22050, level=4)
    return codec, events, features


def test_a_thermometer_folds_to_a_sparse_layer(case):
    codec, events, features = case
    layer = fold(codec.bottleneck)
    assert layer.weight.nnz == layer.weight.shape[0] == events.n_units
    assert events.n_events > 500
    np.testing.assert_array_equal(layer.spikes(features), events.events)


@pytest.mark.parametrize("groups", [1, 4])
def test_a_folded_layer_has_the_membranes_of_the_bottleneck(groups):
    """With batch norms that have seen something, and weights of all sizes and signs."""
    bottleneck = settled(small_model(bottleneck=config.Spiking(groups=groups))).bottleneck
    with torch.no_grad():
        for norm in bottleneck.norms:
            norm.weight.normal_()
            norm.bias.normal_()
    features = torch.randn(1, 30, SMALL.width)
    with torch.no_grad():
        events, membranes = bottleneck.encode_with_membrane(features)
    layer, drive = fold(bottleneck), features[0].T.numpy().astype(float)
    lateral = layer.lateral @ events[0].numpy() if groups > 1 else 0
    found = layer.weight @ drive + layer.bias[:, None] + lateral - layer.threshold
    np.testing.assert_allclose(found, membranes[0], atol=1e-4)
    np.testing.assert_array_equal(layer.spikes(drive), events[0] > 0.5)


def test_the_decoder_meets_the_weights_of_a_dense_bottleneck_and_nothing_without_neurons():
    bottleneck = settled(small_model()).bottleneck
    np.testing.assert_array_equal(decoder_matrix(bottleneck), bottleneck.decode_weight.detach())
    for take in (fold, decoder_matrix):
        with pytest.raises(UserError, match="has no spiking neurons"):
            take(torch.nn.Identity())


def test_its_integers_make_nearly_all_of_its_events(case):
    codec, events, features = case
    layer = fold(codec.bottleneck)
    integers = quantise(layer, full_scale(codec, layer))
    assert np.shape(integers.scale) == (64,)
    assert f1(integers.spikes(integers.graded(features)), events.events) > 0.998


def test_the_read_out_is_what_the_decoder_gets(case):
    codec, events, _ = case
    with torch.no_grad():
        read = codec.bottleneck.decode(torch.tensor(events.events[None]).float())[0].numpy()
    np.testing.assert_allclose(decoder_matrix(codec.bottleneck) @ events.events, read.T, atol=1e-5)


def test_the_encoder_is_a_matrix_whose_events_are_those_of_the_codec(case):
    """In floating point and in integers, but for the first and last step, whose neighbours are not silent."""
    codec, events, features = case
    matrix, before = encoder_matrix(codec, level=4)
    assert matrix.shape == (64, 512) and before == 128
    gain = loudness.gain(events.loudness, events.chunk_steps * events.hop, 0, events.n_samples)
    audio = frames(tones(20000) / gain, matrix.shape[1], events.hop, before)
    exact = matrix @ (audio * PEAK / 32767)
    np.testing.assert_allclose(exact[:, 1:-1], features[:, 1:-1], atol=2e-3)
    encoder = encoder_of(codec, level=4)
    np.testing.assert_array_equal(encoder.frames(tones(20000) / gain, events.hop), audio)
    assert f1(encoder.spikes(audio)[:, 1:-1], events.events[:, 1:-1]) > 0.995


def test_the_audio_that_the_encoder_gets_is_that_of_the_codec(case):
    codec, events, _ = case
    same, sound = encode_with_audio(codec, [tones(20000)[:7000], tones(20000)[7000:]], 22050, level=4)
    gain = loudness.gain(events.loudness, events.chunk_steps * events.hop, 0, events.n_samples)
    assert same == events and sound.shape == (events.n_steps * events.hop,)
    np.testing.assert_allclose(sound[: events.n_samples], tones(20000) / gain, rtol=1e-6)
    assert not sound[events.n_samples :].any()


def test_a_level_scales_the_matrix(case):
    codec = case[0]
    one, other = (encoder_matrix(codec, level=level)[0] for level in (0, 7))
    np.testing.assert_allclose(one, 2 * other, atol=1e-5)


def test_an_encoder_that_is_a_network_is_refused(codec):
    with pytest.raises(UserError, match="not a matrix"):
        encoder_matrix(codec)
