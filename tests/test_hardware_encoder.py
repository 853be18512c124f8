"""An encoder that is a lapped transform and a thermometer, from 16-bit audio to events in integers."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import tones
from scipy.sparse import csr_array
from test_quantise import random_layer

from snn_codec.errors import UserError
from snn_codec.hardware import simulate
from snn_codec.hardware.encoder import (
    FULL_SCALE,
    encoder_operations,
    frames,
    integer_encoder,
    split,
)
from snn_codec.hardware.layer import Layer


def lapped(size, width):
    """The lowest `width` rows of the MDCT of `size` new samples with a sine window, `[width, 2 size]`."""
    n, k = np.arange(2 * size), np.arange(width)[:, None]
    window = np.sin(np.pi * (n + 0.5) / (2 * size))
    return np.sqrt(2 / size) * window * np.cos(np.pi / size * (n + 0.5 + size / 2) * (k + 0.5))


def thermometer(step, levels=4):
    """Units (k, s, j) that fire where s c_k > (j + 0.6) step_k."""
    k, sign, j = (part.ravel() for part in np.meshgrid(np.arange(len(step)), [1, -1], np.arange(levels)))
    weight = csr_array((sign.astype(float), (np.arange(len(k)), k)), (len(k), len(step)))
    return Layer(weight, -(j + 0.6) * step[k], csr_array((len(k), len(k))))


@pytest.fixture(scope="module")
def case():
    """(matrix, layer, audio as 16-bit frames, features in floating point)."""
    sound = tones(4.0)
    sound *= 0.5 / np.abs(sound).max()
    matrix = lapped(512, 256)
    audio = frames(sound, 1024, 512, 512, peak=1.0)
    exact = matrix @ (audio / FULL_SCALE)
    return matrix, thermometer(1.5 * exact.std(1) + 1e-4), audio, exact


def test_the_events_of_integers_are_those_of_floating_point(case):
    matrix, layer, audio, exact = case
    encoder = integer_encoder(matrix, layer, 1.5 * np.abs(exact).max(1), peak=1.0)
    found, expected = encoder.spikes(audio), layer.spikes(exact)
    assert expected.shape == (2048, 173) and expected.sum() > 2000
    assert 2 * np.count_nonzero(found & expected) / (found.sum() + expected.sum()) > 0.998


def test_features_are_exact_to_a_part_of_their_size(case):
    matrix, layer, audio, exact = case
    transform = integer_encoder(matrix, layer, 1.01 * np.abs(exact).max(1), peak=1.0).transform
    error = transform.graded(audio) * transform.scale[:, None] - exact
    assert (np.abs(error).max(1) < 1e-3 * np.abs(exact).max(1) + 3e-5).all()
    assert np.abs((error / transform.scale[:, None]).mean()) < 0.5  # steps


def test_loud_noise_of_both_signs_overflows_nothing(case):
    matrix, layer, _, exact = case
    encoder = integer_encoder(matrix, layer, np.abs(exact).max(1), peak=1.0)
    worst = (FULL_SCALE * np.sign(matrix[[0, 100, 255]])).astype(np.int32).T
    features = encoder.transform.graded(np.concatenate([worst, -worst], 1))
    assert (features[[0, 100, 255], [0, 1, 2]] == FULL_SCALE).all()
    assert (features[[0, 100, 255], [3, 4, 5]] == -FULL_SCALE).all()
    assert 2**22 < np.abs(encoder.transform.arriving(np.concatenate([worst, -worst], 1))).max() < 2**23


def test_weights_of_a_transform_fit_in_8_bits(case):
    matrix, layer, _, exact = case
    transform = integer_encoder(matrix, layer, np.abs(exact).max(1), peak=1.0).transform
    assert {np.abs(synapse.weight).max() for synapse in transform.synapses} == {127}


def test_audio_splits_into_two_bytes():
    audio = np.arange(-FULL_SCALE, FULL_SCALE + 1)
    high, low = split(audio)
    np.testing.assert_array_equal(256 * high + low, audio)
    assert high.min() >= -128 and high.max() <= 128 and low.min() == -128 and low.max() == 127


def test_frames_lie_where_they_should():
    audio = np.arange(1, 11) / FULL_SCALE
    assert frames(audio, 4, 3, 1, peak=1.0).T.tolist() == [
        [0, 1, 2, 3],
        [3, 4, 5, 6],
        [6, 7, 8, 9],
        [9, 10, 0, 0],
    ]


def test_what_cannot_be_an_encoder_is_refused(case):
    matrix, layer, _, exact = case
    with pytest.raises(UserError, match="one group"):
        integer_encoder(np.ones((64, 8)), random_layer(groups=4), np.ones(64), peak=1.0)
    with pytest.raises(UserError, match="leave that feature out"):
        integer_encoder(np.vstack([matrix[:-1], 0 * matrix[-1:]]), layer, np.abs(exact).max(1), peak=1.0)


def test_operations_of_a_transform_by_hand():
    layer = Layer(csr_array(np.array([[1.0], [-1.0]])), np.array([-0.1, -0.1]), csr_array((2, 2)))
    encoder = integer_encoder(np.array([[1.0, 0.5, 0.0]]), layer, np.ones(1), peak=1.0)
    audio = np.array([[256, 0], [0, 0], [1, 1]], np.int32)
    counts = encoder_operations(encoder, audio, 0.5)
    # 1 in steps of 2^-14 has a high part only, 1/2 has both; h = 1 meets the first weight once, in the first step
    parts = [np.count_nonzero(synapse.weight[:, 0]) for synapse in encoder.transform.synapses[:2]]
    assert counts["transform_macs"] == sum(parts) / 0.5
    assert counts["dense_transform_macs"] == 4 * 2 * 3 / 0.5
    assert counts["events"] == 0


@pytest.mark.lava
def test_lava_makes_the_same_events_from_audio(case):
    matrix, layer, audio, exact = case
    encoder = integer_encoder(matrix, layer, 1.5 * np.abs(exact).max(1), peak=1.0)
    audio = audio[:, :30]
    (found,) = simulate.in_lava(encoder, [audio], python=sys.executable, timeout=600)
    np.testing.assert_array_equal(found, encoder.spikes(audio))
    clipping = replace(
        encoder, transform=integer_encoder(matrix, layer, 0.2 * np.abs(exact).max(1), peak=1.0).transform
    )
    (found,) = simulate.in_lava(clipping, [audio], python=sys.executable, timeout=600)
    np.testing.assert_array_equal(found, clipping.spikes(audio))
