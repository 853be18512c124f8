"""Rates, intervals and synchrony of rows, worked out by hand."""

import numpy as np
import pytest
from rasters import matrix, raster

from snn_codec.analysis.trains import EDGES, contrast, trains

RATE = 22050 / 512


def test_rates_and_intervals_of_three_units():
    events = np.zeros((3, 431), bool)
    events[0, ::10] = True
    events[1, [0, 10, 40]] = True
    found = trains(matrix(events, loudness=False))
    seconds = (431 * 512 - 256) / 22050
    np.testing.assert_allclose(found.rate, [44 / seconds, 3 / seconds, 0])
    np.testing.assert_allclose(found.interval, [10 / RATE, 20 / RATE, np.nan])
    np.testing.assert_allclose(found.variation, [0, np.std([10, 30], ddof=1) / 20, np.nan], atol=1e-12)
    assert found.histogram.sum() == 45
    assert found.histogram[np.searchsorted(EDGES, 10 / RATE) - 1] == 44


def test_intervals_outside_the_histogram_are_at_its_ends():
    events = np.zeros((1, 2000), bool)
    events[0, [0, 1999]] = True
    assert trains(matrix(events, loudness=False)).histogram[-1] == 1


def test_synchrony_tells_together_from_apart():
    pytest.importorskip("elephant")
    together = np.repeat(raster(1, 800, 0.03), 6, axis=0)
    apart = raster(6, 800, 0.03, seed=1)
    assert contrast(together, RATE) > 0.95 > 0.6 > contrast(apart, RATE)
    assert np.isnan(contrast(together[:1], RATE)) and np.isnan(contrast(np.zeros((4, 50), bool), RATE))
    assert trains(matrix(together, loudness=False)).synchrony == pytest.approx(contrast(together, RATE))
