"""Where notes begin, and what is heard ahead of them."""

import numpy as np
import pytest
from conftest import tones

from snn_codec.attacks import apart, energy_onsets, pre_echo
from snn_codec.metrics import MEASURES, Clip

RATE = 22050


def clicks(places, seconds=2.0, seed=0):
    """Decaying noise from each place on, over silence: float64 `[samples]`."""
    sound, random = np.zeros(round(seconds * RATE)), np.random.default_rng(seed)
    for place in places:
        tail = sound[round(place * RATE) :]
        tail += random.standard_normal(len(tail)) * np.exp(-np.arange(len(tail)) / (0.05 * RATE))
    return sound


def test_onsets_are_found_where_notes_begin():
    """Notes of tones start every 0.2 s, whatever their pitch; what is found is at most 12 ms early."""
    sound = tones(6.0, seed=1)
    found = energy_onsets(sound, RATE)
    wanted = np.arange(0.2, 6.0, 0.2)
    assert len(found) > 20
    late = found[:, None] - np.r_[0, wanted]
    late = late[np.arange(len(found)), np.abs(late).argmin(1)]
    assert late.min() > -0.012 and late.max() < 0.012
    assert energy_onsets(np.zeros(RATE), RATE).size == energy_onsets(sound[:500], RATE).size == 0


def test_only_onsets_that_stand_alone_count():
    assert apart([0.3, 0.301, 0.35, 0.6, 0.2]).tolist() == [0.2, 0.6]
    assert apart([0.1, 0.25, 0.5]).tolist() == [0.1, 0.25, 0.5] and apart([]).size == 0


def test_pre_echo_is_the_power_ahead_in_that_of_the_attack():
    """A known error in the window before the onset, a much larger one everywhere else."""
    onset, random = 1.0, np.random.default_rng(1)
    target = clicks([onset])
    target += 0.01 * random.standard_normal(len(target))
    place = round(onset * RATE)
    ahead, attack = slice(place - 662, place - 110), slice(place, place + 662)
    error = np.zeros(len(target))
    error[ahead] = 0.03
    wanted = 10 * np.log10(0.03**2 / np.mean(target[attack] ** 2))
    assert pre_echo(target + error, target, [onset], RATE) == pytest.approx(wanted, abs=0.1)
    own = 10 * np.log10(0.03**2 / np.mean(target[ahead] ** 2))
    assert pre_echo(target + error, target, [onset], RATE, own=True) == pytest.approx(own, abs=0.1)
    late = np.zeros(len(target))
    late[place:] = 0.1 * random.standard_normal(len(target) - place)
    assert pre_echo(target + late, target, [onset], RATE) < wanted - 20
    assert pre_echo(3 * (target + error), target, [onset], RATE) == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("onsets", [[], [0.01], [1.99]])
def test_there_is_no_pre_echo_without_an_attack_inside(onsets):
    target = clicks([1.0])
    assert np.isnan(pre_echo(target, target, onsets, RATE))
    assert np.isnan(pre_echo(np.zeros_like(target), target, [1.0], RATE))


def test_noise_that_is_spread_over_a_block_is_pre_echo_and_grows_with_it():
    sound, random = clicks([0.5, 1.2]), np.random.default_rng(2)
    noise = np.zeros(len(sound))
    for place in (0.5, 1.2):
        noise[round((place - 0.04) * RATE) : round((place + 0.05) * RATE)] = 1
    noise *= random.standard_normal(len(sound))
    clips = [Clip(sound + scale * noise, sound, RATE, np.array([0.5, 1.2])) for scale in (0, 0.01, 0.1)]
    clean, little, much = (MEASURES["pre_echo"].of(clip) for clip in clips)
    assert clean < -90 and little < much - 18
    assert MEASURES["attack_si_snr"].of(clips[1]) > MEASURES["attack_si_snr"].of(clips[2]) + 18


def test_measures_of_attacks_find_them_where_there_is_no_midi():
    sound = clicks([0.5, 1.2])
    noisy = sound + 0.01 * np.random.default_rng(3).standard_normal(len(sound))
    with_midi, without = (Clip(noisy, sound, RATE, onsets) for onsets in (np.array([0.5, 1.2]), np.zeros(0)))
    for name in ("attack_si_snr", "pre_echo"):
        assert MEASURES[name].on_request
        assert MEASURES[name].of(without) == pytest.approx(MEASURES[name].of(with_midi), abs=1.5)
    assert np.isnan(MEASURES["onset_si_snr"].of(without))
