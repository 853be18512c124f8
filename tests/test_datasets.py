import numpy as np
import pytest
import soundfile
from conftest import tones

from snn_codec import corpus, loudness
from snn_codec import settings as config
from snn_codec.training.augmentation import augment, equaliser, loudest_step, room_response
from snn_codec.training.datasets import Crops, StepSampler

PLAIN = config.Training(seconds=0.5, augmentation=config.Augmentation(probability=0.0, attenuation_db=0.0))


def test_a_crop_depends_on_seed_and_number_alone(maestro):
    settings = config.Training(seconds=0.5)
    crops, again = (Crops(corpus.paths(maestro, "train"), 22050, settings) for _ in range(2))
    for index in (5, 0, 123_456_789):
        np.testing.assert_array_equal(crops[index], again[index])
    assert not np.array_equal(crops[0], crops[1])
    other = Crops(corpus.paths(maestro, "train"), 22050, config.Training(seconds=0.5, seed=1))
    assert not np.array_equal(crops[0], other[0])


def test_a_plain_crop_is_a_stretch_of_a_recording(maestro):
    path = corpus.paths(maestro, "train")[0]
    sound, _ = soundfile.read(path, dtype="float32")
    crops = Crops([path], 22050, PLAIN)
    for index in range(5):
        crop = crops[index].numpy()
        assert crop.shape == (11025,)
        assert loudest_step(crop) == pytest.approx(1, rel=1e-3)
        lag = np.argmax(np.abs(np.correlate(sound, crop, "valid")))
        part = sound[lag : lag + 11025]
        assert np.corrcoef(part, crop)[0, 1] ** 2 > 0.9999


def test_short_recordings_are_filled_up(tmp_path):
    soundfile.write(tmp_path / "short.wav", tones(0.1), 22050)
    crop = Crops([tmp_path / "short.wav"], 22050, PLAIN)[0].numpy()
    assert crop.shape == (11025,)
    assert crop[:2205].any() and not crop[2205:].any()


def test_filters_make_no_clicks_where_a_crop_is_cut(tmp_path):
    """A low tone, brightened by a tilt: its crops are that tone, softer, from the first sample to the last."""
    tone = np.sin(2 * np.pi * 60 * np.arange(22050 * 4) / 22050).astype(np.float32)
    soundfile.write(tmp_path / "low.wav", 0.5 * tone, 22050)
    bright = config.Augmentation(
        probability=1.0, attenuation_db=0.0, tuning_cents=0.0, noise_db=0.0, reverb=0.0, equaliser_db=0.0
    )
    crops = Crops([tmp_path / "low.wav"], 22050, config.Training(seconds=0.5, augmentation=bright))
    for index in range(20):
        size = np.abs(crops[index].numpy())
        assert max(size[:64].max(), size[-64:].max()) < 1.1 * size[1000:-1000].max()


def test_a_crop_is_as_loud_as_a_step_of_its_model_has_it(maestro):
    crops = Crops(corpus.paths(maestro, "train"), 22050, PLAIN, hop=2048)
    for index in range(3):
        assert loudness.measure(crops[index].numpy()[:10240], 2048) == 160


def test_ranks_share_out_the_crops():
    alone = list(StepSampler(2, 5, 4, 0, 1))
    assert alone == list(range(8, 20))
    pair = [list(StepSampler(1, 3, 2, rank, 2)) for rank in range(2)]
    assert sorted(pair[0] + pair[1]) == list(range(4, 12))
    assert len(StepSampler(1, 3, 2, 0, 2)) == len(pair[0])


# --- augmentation ---


def test_no_augmentation_only_normalises():
    crop = tones(0.5)
    out = augment(crop, 22050, PLAIN.augmentation, np.random.default_rng(0))
    assert np.abs(np.abs(out) - np.abs(crop) / loudest_step(crop)).max() < 1e-5


def test_full_augmentation_keeps_bounds():
    settings = config.Augmentation(probability=1.0)
    for seed in range(10):
        out = augment(tones(0.5), 22050, settings, np.random.default_rng(seed))
        assert 10 ** (-settings.attenuation_db / 20) * 0.99 <= loudest_step(out) <= 1.02
        assert np.isfinite(out).all()


def test_the_equaliser_stays_in_its_range():
    curve = 20 * np.log10(equaliser(4096, 22050, 9.0, 0.0, np.random.default_rng(1)))
    assert curve.shape == (2049,)
    assert np.abs(curve).max() <= 4.5 and np.ptp(curve) > 1
    tilts = [20 * np.log10(equaliser(22050, 22050, 0.0, 4.0, np.random.default_rng(i))) for i in range(50)]
    octaves = [tilt[4000] - tilt[2000] for tilt in tilts]
    assert -2 <= min(octaves) < -1 and 3 < max(octaves) <= 4
    assert all(abs(tilt[500]) < 1e-9 for tilt in tilts)


def test_a_room_starts_with_the_direct_sound():
    response = room_response(22050, 0.3, np.random.default_rng(1))
    tail = np.sqrt(np.square(response[1:]).sum())
    assert response[0] == 1 and 0 < tail <= 0.3
    assert np.square(response[-2000:]).sum() < 1e-2 * tail**2
