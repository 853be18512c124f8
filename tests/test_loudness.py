import numpy as np
import pytest

from snn_codec import loudness


def test_a_level_is_the_loudest_step_in_decibels():
    audio = np.zeros(2048)
    audio[512:1024] = 0.1
    assert loudness.measure(audio, 512) == 160 - 20
    assert loudness.measure(audio[:600], 512) == round(160 - 20 + 10 * np.log10(88 / 512))


def test_silence_and_extremes_have_codes():
    assert loudness.measure(np.zeros(512), 512) == 0
    assert loudness.measure(np.full(512, 1e-30), 512) == 0
    assert loudness.measure(np.full(512, 1e30), 512) == 255
    for decibels, code in ((-160.2, 0), (-159.7, 0), (-159.3, 1), (-155, 5)):
        assert loudness.measure(np.full(512, 10 ** (decibels / 20)), 512) == code


def test_the_gain_is_that_of_the_middle_of_a_sample():
    """Chunks of four samples: knots of 120, 140 and 140 at samples 2, 4 and 6 are -40, -20 and -20 dB."""
    decibels = 20 * np.log10(loudness.gain(np.array([120, 140], np.uint8), 4, 0, 8))
    np.testing.assert_allclose(decibels, [-40, -40, -35, -25, -20, -20, -20, -20], atol=1e-4)


@pytest.mark.parametrize("codes", [[100], [100, 140], [140, 100, 0, 0, 160], [0, 0, 0]])
def test_normalised_audio_never_exceeds_its_level(codes):
    size = 64 * 512
    codes = np.array(codes, np.uint8)
    gain = loudness.gain(codes, size, 0, size * len(codes))
    own = 10 ** ((np.repeat(codes.astype(float), size) - 160) / 20)
    assert (gain >= own * 0.999).all()
    assert np.abs(np.diff(20 * np.log10(gain))).max() < 0.02  # no step that could click


def test_any_part_of_the_gain_is_that_part_of_the_whole():
    size, codes = 1000, np.array([10, 200, 90, 90, 0, 150], np.uint8)
    whole = loudness.gain(codes, size, 0, 6000)
    random = np.random.default_rng(0)
    for start, stop in np.sort(random.integers(0, 6001, (200, 2)), 1):
        np.testing.assert_array_equal(loudness.gain(codes, size, start, stop), whole[start:stop])


def test_the_gain_needs_only_the_neighbours():
    size = 1000
    long = loudness.gain(np.array([10, 200, 90, 140, 0, 150], np.uint8), size, 2500, 3500)
    short = loudness.gain(np.array([10, 200, 90, 140, 0], np.uint8), size, 2500, 3500)
    np.testing.assert_array_equal(long, short)
