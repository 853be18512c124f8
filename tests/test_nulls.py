"""Null models against brute force, and against events whose relation to the notes is known."""

import numpy as np
import pytest
from rasters import raster
from scipy import stats

from snn_codec.analysis import nulls


def bursty(units, steps, seed, rate=-1.0):
    """Events with slow waves and bursts of their own, unrelated to anything."""
    random = np.random.default_rng(seed)
    drive = np.zeros((units, steps))
    noise = random.normal(0, 0.25, (units, steps))
    for step in range(1, steps):
        drive[:, step] = 0.97 * drive[:, step - 1] + noise[:, step]
    return random.random((units, steps)) < 1 / (1 + np.exp(-rate - drive))


def near(events, onsets, half_width):
    counts = np.zeros((len(events), len(onsets)))
    for key, step in np.argwhere(onsets):
        for away in range(-half_width, half_width + 1):
            counts[:, key] += events[:, (step + away) % events.shape[1]]
    return counts


def test_moments_of_shifts_are_those_of_every_eighth_shift():
    events, onsets = bursty(3, 640, 0), raster(4, 640, 0.03, 1)
    found = nulls.shifts(events, onsets, 3)
    every = np.array([near(np.roll(events, turn, 1), onsets, 3) for turn in range(0, 640, nulls._stride(3))])
    np.testing.assert_array_equal(found.observed, every[0])
    np.testing.assert_allclose(found.mean, events.mean(1)[:, None] * 7 * onsets.sum(1), rtol=1e-12)
    np.testing.assert_allclose(found.variance, ((every - found.mean) ** 2).mean(0), rtol=1e-4)
    np.testing.assert_allclose(found.third, ((every - found.mean) ** 3).mean(0), rtol=1e-3, atol=1e-2)


def test_moments_of_jitter_are_those_of_all_jitters():
    """Two onsets move independently, each in its interval of 11 steps: all 121 pairs of places."""
    events, onsets = bursty(3, 400, 0), np.zeros((2, 400), bool)
    onsets[0, [100, 230]] = onsets[1, [150, 399]] = True  # the last is in no whole interval; they begin at 2
    found = nulls.jitter(events, onsets, 2, 11)
    pairs, moved = [], np.zeros((1, 400), bool)
    for one in range(90, 101):
        for other in range(222, 233):
            moved[:] = False
            moved[0, [one, other]] = True
            pairs.append(near(events, moved, 2)[:, 0])
    np.testing.assert_array_equal(found.onsets, [2, 1])
    np.testing.assert_array_equal(found.observed, near(events, onsets & (np.arange(400) < 398), 2))
    np.testing.assert_allclose(found.mean[:, 0], np.mean(pairs, 0))
    np.testing.assert_allclose(found.variance[:, 0], np.var(pairs, 0))
    np.testing.assert_allclose(found.third[:, 0], stats.moment(pairs, 3), atol=1e-9)


@pytest.mark.parametrize("null", [nulls.shifts, nulls.jitter])
@pytest.mark.parametrize("rate", [-4.0, -1.0, 0.0])
def test_unrelated_events_are_not_found(null, rate):
    """Rare and frequent events in bursts: no false unit at 5 %, and p-values that keep their promise."""
    found = sum(
        (null(bursty(30, 4000, seed, rate), raster(40, 4000, 0.01, 90 + seed)) for seed in range(1, 4)),
        start=null(bursty(30, 4000, 0, rate), raster(40, 4000, 0.01, 90)),
    )
    assert found.tested.mean() > 0.9
    p = found.p()[found.tested]
    assert found.selective().sum() == 0
    for level in (0.1, 0.01):  # pairs of one unit are alike, so the error is wider than the binomial's
        assert np.mean(p <= level) < 1.5 * level
    assert np.nanstd(found.z()) == pytest.approx(1, abs=0.1)


def test_only_planted_units_are_found():
    """Unit u < 10 answers key 3 u with probability 1 / 2, up to 2 steps early or late; the others nothing."""
    random, total = np.random.default_rng(7), None
    for seed in range(3):
        onsets, events = raster(40, 10_000, 0.005, seed), bursty(20, 10_000, 50 + seed, -5.0)
        for unit in range(10):
            steps = np.flatnonzero(onsets[3 * unit, :9900])
            steps = steps[random.random(len(steps)) < 0.5]
            events[unit, steps + 2 + random.integers(-2, 3, len(steps))] = True
        found = nulls.jitter(events, onsets)
        total = found if total is None else total + found
    selective = total.selective()
    assert np.flatnonzero(selective.any(1)).tolist() == list(range(10))
    assert selective[np.arange(10), 3 * np.arange(10)].all()
    assert selective.sum() <= 11  # the rate is 5 % of pairs: one false key of a tuned unit is within it
    without = total - found
    assert (without.onsets < total.onsets).all()
    np.testing.assert_allclose((without + found).variance, total.variance)


def test_slow_relations_are_shifts_only():
    """A unit that is busy when a key is, without any timing, fails one null and passes the other."""
    random = np.random.default_rng(3)
    busy = np.logical_xor.accumulate(random.random(20_000) < 0.005)
    onsets = (random.random((1, 20_000)) < 0.02) & busy
    events = (random.random((1, 20_000)) < 0.3) & busy
    assert nulls.shifts(events, onsets).z()[0, 0] > 5
    assert abs(nulls.jitter(events, onsets).z()[0, 0]) < 3


def test_what_cannot_be_tested_is_not():
    events, onsets = raster(3, 1000, 0.3, 0), raster(2, 1000, 0.05, 1)
    events[0], events[1], onsets[1] = False, True, False
    for null in (nulls.shifts, nulls.jitter):
        found = null(events, onsets)
        assert found.tested.tolist() == [[False, False], [False, False], [True, False]]
        assert np.isfinite(found.p()).sum() == 1 and not found.selective()[:2].any()
        assert not null(events[:, :10], onsets[:, :10]).tested.any()
