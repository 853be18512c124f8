import numpy as np
import pytest
import torch
from conftest import tones

from snn_codec import audio
from snn_codec.errors import UserError
from snn_codec.evaluation.evaluate import evaluate
from snn_codec.evaluation.summary import differences, summary
from snn_codec.metrics import (
    BANDS,
    MEASURES,
    WINDOWS,
    Clip,
    batch_mel_distance,
    magnitudes,
    mel_distance,
    mel_filters,
    onset_si_snr,
    si_snr,
    stft_distance,
)
from snn_codec.storage import spk


@pytest.mark.parametrize("decibels", [-10.0, 0.0, 9.49, 40.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, -3.0])
def test_si_snr_of_orthogonal_noise_is_the_ratio(decibels, scale):
    random = np.random.default_rng(0)
    target, noise = random.standard_normal((2, 50_000))
    target -= target.mean()
    noise -= noise.mean()
    noise -= target * (noise @ target) / (target @ target)
    noise *= 10 ** (-decibels / 20) * np.linalg.norm(target) / np.linalg.norm(noise)
    assert si_snr(scale * (target + noise) + 0.3, 1e-7 * target) == pytest.approx(decibels, abs=1e-3)


def test_silence_has_no_ratio():
    assert np.isnan(si_snr(tones(0.1), np.zeros(2205)))
    assert np.isnan(si_snr(np.zeros(2205), tones(0.1)))
    offset = np.full(2205, -1 / 32768, np.float32)  # silence of a converter whose zero is off
    assert np.isnan(si_snr(tones(0.1), offset)) and np.isnan(si_snr(offset, tones(0.1)))
    assert np.isnan(stft_distance(tones(0.5), np.zeros(11025)))


def test_stft_distance_orders_and_ignores_level():
    sound = tones(1.0)
    noise = np.random.default_rng(0).standard_normal(len(sound)) * sound.std()
    distances = [stft_distance(sound + amount * noise, sound) for amount in (0, 0.01, 0.1, 1)]
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert distances == sorted(distances) and distances[1] > 0.01
    assert stft_distance(1e-3 * (sound + noise), 1e-3 * sound) == pytest.approx(distances[3], rel=1e-3)


@pytest.mark.parametrize("size", WINDOWS)
def test_magnitudes_of_a_tone_stand_at_its_frequency(size):
    tone = torch.sin(2 * torch.pi * 1378.125 * torch.arange(8192) / 22050)  # bin 128 of 2048
    spectrum = magnitudes(tone[None], size)[0].mean(0)
    assert spectrum.argmax() == size // 16


def test_evaluation_has_a_row_for_every_whole_clip(codec, music):
    paths = sorted(music.glob("*.wav"))
    rows = evaluate(codec, paths)
    assert [row["recording"] for row in rows] == [path.name for path in paths]  # 7 s hold one clip each
    assert all(row["dense_kbps"] == pytest.approx(3.445, abs=1e-3) for row in rows)
    for row, path in zip(rows, paths, strict=True):
        events = codec.encode(audio.read(path)[0][: 256 * 512], 22050)
        _, payload = spk.pack_chunk(events.events)
        n_bytes = len(payload) + 3 + 1 + 4  # length and format, level, checksum
        assert row["kbps"] == pytest.approx(events.kbps(n_bytes))
    assert summary(rows)["si_snr"]["mean"] == pytest.approx(np.mean([row["si_snr"] for row in rows]))


def test_intervals_cover_the_mean():
    """Recordings differ, clips of one recording do not: the interval must be that of 10 values, not of 100."""
    hits = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        values = random.standard_normal(10)
        rows = [
            {
                "recording": f"{i}",
                "si_snr": value,
                "stft_distance": 0,
                "kbps": 0,
                "dense_kbps": 0,
                "density": 0,
                "events_per_second": 0,
            }
            for i, value in enumerate(values)
            for _ in range(10)
        ]
        result = summary(rows)["si_snr"]
        hits += result["low"] <= 0 <= result["high"]
        assert result["clips"] == 100
    assert 0.82 <= hits / 200 <= 0.98  # a percentile bootstrap of 10 values covers about 90 %


def test_clips_without_a_value_are_left_out():
    row = {
        "recording": "a",
        "stft_distance": 1.0,
        "kbps": 1.0,
        "dense_kbps": 1.0,
        "density": 0.5,
        "events_per_second": 1.0,
    }
    result = summary([row | {"si_snr": 3.0}, row | {"si_snr": float("nan")}])["si_snr"]
    assert (result["mean"], result["clips"]) == (3.0, 1)


def test_differences_are_paired():
    """Clips differ by 10 dB, models by 1 dB: the interval is that of the models."""
    random = np.random.default_rng(0)
    row = {
        "stft_distance": 1.0,
        "kbps": 1.0,
        "dense_kbps": 1.0,
        "density": 0.5,
        "events_per_second": 1.0,
        "clip": 0,
    }
    one = [row | {"recording": f"{i}", "si_snr": 10 * random.standard_normal()} for i in range(30)]
    other = [r | {"si_snr": r["si_snr"] - 1 + 0.1 * random.standard_normal()} for r in one]
    result = differences(one, other)["si_snr"]
    assert 0.9 < result["low"] < result["mean"] < result["high"] < 1.1
    with pytest.raises(UserError, match="same clips"):
        differences(one, other[1:])


def test_mel_distance_of_a_gain_is_that_gain_in_decibels():
    """Half the amplitude is 6.02 dB less in every band of noise, which is far above the floor."""
    noise = np.random.default_rng(0).standard_normal(22050)
    assert mel_distance(0.5 * noise, noise, 22050) == pytest.approx(20 * np.log10(2), abs=1e-3)


def test_mel_distance_is_zero_for_the_same_ignores_level_and_grows_with_noise():
    sound = tones(1.0)
    noise = np.random.default_rng(0).standard_normal(len(sound)) * sound.std()
    distances = [mel_distance(sound + amount * noise, sound, 22050) for amount in (0, 0.001, 0.01, 0.1, 1)]
    assert distances[0] == 0 and distances == sorted(distances) and distances[1] > 0.01
    quiet = mel_distance(1e-3 * (sound + 0.1 * noise), 1e-3 * sound, 22050)
    assert quiet == pytest.approx(distances[3], rel=1e-3)
    assert np.isnan(mel_distance(sound, np.zeros_like(sound), 22050))
    assert np.isnan(mel_distance(sound[:2000], sound[:2000], 22050))


@pytest.mark.parametrize("name", ["stft_distance", "mel_distance"])
def test_what_is_added_where_a_recording_has_nothing_counts_unless_only_its_band_is_looked_at(name):
    """A recording of 16 kHz, and noise 70 dB below it between 8 and 11 kHz, which no one hears."""
    noise = np.random.default_rng(0).standard_normal((2, 32_000))
    sound = np.concatenate(list(audio.resampled([noise[0]], 16_000, 22_050)))
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(len(sound)))
    spectrum[: round(len(spectrum) * 8000 / 11_025)] = 0
    added = np.fft.irfft(spectrum, len(sound))
    clip = Clip(sound + 10**-3.5 * added / added.std() * sound.std(), sound, 22_050, np.zeros(0))
    everywhere, in_band = (MEASURES[each].of(clip) for each in (name, f"{name}_7k"))
    assert in_band < 0.02 * everywhere
    softer = Clip(0.5 * sound, sound, 22_050, np.zeros(0))
    assert MEASURES["mel_distance_7k"].of(softer) == pytest.approx(20 * np.log10(2), abs=0.01)


def test_training_and_evaluation_have_one_mel_distance():
    random = np.random.default_rng(0)
    target, estimate = random.standard_normal((2, 22050)).astype(np.float32)
    level = np.sqrt(np.square(target).mean())
    pair = (torch.from_numpy(x[None] / level) for x in (estimate, target))
    assert float(batch_mel_distance(*pair, 22050)) == pytest.approx(
        mel_distance(estimate, target, 22050), rel=1e-6
    )


@pytest.mark.parametrize(("window", "bands"), BANDS.items())
def test_every_mel_band_has_a_bin(window, bands):
    bank = mel_filters(22050, window, bands)
    assert bank.shape == (window // 2 + 1, bands) and bank.max() <= 1 and (bank.sum(0) > 0.5).all()


def test_mel_bands_reach_from_the_lowest_frequency_to_half_the_sample_rate():
    bank = mel_filters(22050, 2048, 64, lowest_hz=0.0)
    assert bank[1:-1].max(1).min() > 1e-3 and bank[[0, -1]].max() < 1e-6
    (centre,) = mel_filters(22050, 22050, 1, lowest_hz=0.0).argmax(0)  # bins of one hertz
    assert centre == round(700 * (np.sqrt(1 + 11025 / 700) - 1))  # half as many mel as 11025 Hz


def test_a_clip_without_a_code_has_no_rate():
    clip = Clip(tones(0.1), tones(0.1), 22050, np.zeros(0))
    assert all(
        np.isnan(MEASURES[name].of(clip)) for name in ("kbps", "dense_kbps", "density", "events_per_second")
    )


def test_mel_distance_is_floored():
    """What is 100 dB below the level and what is not there at all are the same."""
    sound = tones(1.0)
    noise = np.random.default_rng(0).standard_normal(len(sound)) * sound.std()
    assert mel_distance(sound + 1e-6 * noise, sound, 22050) < 0.01


def test_onset_si_snr_hears_only_the_windows():
    """Noise at 6 dB inside -10..+70 ms of two onsets, far more of it elsewhere; a third onset is past the end."""
    random = np.random.default_rng(0)
    target = random.standard_normal(22050)
    inside = np.zeros(22050, bool)
    onsets = np.array([2205, 3308, 13230])  # the first two overlap
    for onset in onsets:
        inside[onset - 220 : onset + 1544] = True
    noise = random.standard_normal(22050)
    part, signal = noise[inside], target[inside] - target[inside].mean()
    part -= part.mean()
    part -= signal * (part @ signal) / (signal @ signal)
    noise[inside] = part * 10 ** (-6 / 20) * np.linalg.norm(signal) / np.linalg.norm(part)
    noise[~inside] *= 30
    found = onset_si_snr(3 * (target + noise), target, [*onsets / 22050, 5.0], 22050)
    assert found == pytest.approx(6, abs=0.05)
    assert si_snr(target + noise, target) < -20


def test_an_onset_before_the_clip_counts_as_far_as_it_reaches_in():
    sound = tones(1.0, seed=3)
    noisy = sound.copy()
    noisy[round(0.04 * 22050) :] = 1
    assert onset_si_snr(noisy, sound, [-0.035], 22050) > 60
    assert np.isnan(onset_si_snr(sound, sound, [-0.08, 1.2], 22050))
    assert np.isnan(onset_si_snr(sound, sound, [], 22050))


def test_gradients_pass_a_distance_that_was_first_used_without_them():
    sound = torch.from_numpy(tones(0.2))[None]
    with torch.inference_mode():
        batch_mel_distance(sound, 0.5 * sound, 22049)  # a rate that no other test has
    sound.requires_grad_(True)
    batch_mel_distance(sound, 0.5 * sound.detach(), 22049).backward()
    assert sound.grad.isfinite().all() and sound.grad.any()
