"""Eq. 9 against its definition, planted lags, and chance."""

import numpy as np
import pytest
from rasters import raster

from snn_codec.analysis import correlation
from snn_codec.analysis.correlation import Correlation


def direct(events, onsets, lags):
    """The definition, onset by onset."""
    counts = np.zeros((len(events), len(onsets), 2 * lags + 1), np.int64)
    for key, step in np.argwhere(onsets):
        if lags <= step < onsets.shape[1] - lags:
            counts[:, key] += events[:, step - lags : step + lags + 1][:, ::-1]
    return counts


@pytest.mark.parametrize(
    ("lengths", "lags"),
    [([1], 4), ([9, 8], 4), ([100, 3000, 768, 769], 5), ([50_000], 3), ([700, 1025], 128)],
)
def test_counts_are_those_of_the_definition(lengths, lags):
    sums, wanted = Correlation(5, 7, lags), 0
    for number, steps in enumerate(lengths):
        events, onsets = raster(5, steps, 0.5, number), raster(7, steps, 0.05, number + 50)
        sums.add(events, onsets)
        wanted = wanted + direct(events, onsets, lags)
    np.testing.assert_array_equal(sums.counts(), wanted)
    assert sums.recordings == len(lengths)


def test_a_unit_that_fires_three_steps_after_a_key():
    """All of its events are near an onset of that key and, as the onsets are far apart, of no other."""
    onsets = np.zeros((88, 60_000), bool)
    steps = np.arange(300, 59_000, 600)
    onsets[39, steps], onsets[40, steps + 300] = True, True
    events = np.zeros((2, 60_000), bool)
    events[1, steps + 3] = True
    sums = Correlation(2)
    sums.add(events, onsets)
    counts = sums.counts()
    assert counts.sum() == counts[1, 39, 128 - 3] == len(steps) == sums.onsets[39]
    prominence = correlation.prominence(counts)
    assert prominence[1, 39] == 1 and np.isnan(prominence[0]).all() and np.isnan(prominence[1, 40])
    assert correlation.corrected(prominence, correlation.chance())[1, 39] == 1
    assert correlation.prominence(counts, 2)[1, 39] == 0
    np.testing.assert_array_equal(correlation.over_keys(prominence)[1][39], 1)


@pytest.mark.parametrize(("half_width", "wanted"), [(4, 0.0350), (6, 0.0506)])
@pytest.mark.parametrize("density", [0.05, 0.5])
def test_chance_on_unrelated_events(half_width, wanted, density):
    sums = Correlation(20)
    for number in range(3):
        sums.add(raster(20, 20_000, density, number), raster(88, 20_000, 0.01, 100 + number))
    found = correlation.prominence(sums.counts(), half_width)
    assert correlation.chance(half_width) == pytest.approx(wanted, abs=5e-5)
    error = found.std() / np.sqrt(found.size)
    assert found.mean() == pytest.approx(correlation.chance(half_width), abs=4 * error) and error < 1e-4
    assert correlation.over_keys(found).mean() == pytest.approx(1 / 88)


def test_prominence_in_closed_form():
    """Each onset is answered at lag 3 with probability p, on a background of rate r: (p' + 13 r) / (p' + 257 r)."""
    random, steps = np.random.default_rng(5), 200_000
    onsets = raster(1, steps, 0.01, 3)
    events = raster(1, steps, 0.02, 4)
    answered = np.flatnonzero(onsets[0])[:-1] + 3
    events[0, answered[(random.random(len(answered)) < 0.6) & (answered < steps)]] = True
    sums = Correlation(1, 1)
    sums.add(events, onsets)
    # an onset also sees the answers to the others, at a rate of 0.01 x 0.6 a step, so that r = 1 - 0.98 x 0.994
    rate, extra = 1 - 0.98 * (1 - 0.006), 0.6 * 0.98 * (1 - 0.006)
    expected = (extra + 13 * rate) / (extra + 257 * rate)
    assert correlation.prominence(sums.counts())[0, 0] == pytest.approx(expected, rel=0.03)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="10 steps of events, but 11"):
        Correlation(3, 4).add(raster(3, 10, 0.5, 0), raster(4, 11, 0.5, 0))
