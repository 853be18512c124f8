"""Units whose tuning is planted."""

import numpy as np
import pytest
from rasters import raster

from snn_codec.analysis import nulls
from snn_codec.analysis.correlation import Correlation
from snn_codec.analysis.notes import Grid
from snn_codec.analysis.tuning import Dependence, _peak, tuning

STEPS = 40_000


def played(seed=0):
    random = np.random.default_rng(seed)
    onset = np.sort(random.choice(np.arange(200, STEPS - 200), 4000, replace=False))
    key, velocity = random.integers(20, 68, 4000), random.integers(20, 110, 4000)
    pedal = np.logical_xor.accumulate(random.random(STEPS) < 0.005)
    return Grid(onset, onset + 20, key, velocity, pedal)


def tuned(events, grid):
    sums, dependence = Correlation(len(events)), Dependence(len(events))
    sums.add(events, grid.onsets())
    dependence.add(events, grid)
    return tuning(sums.counts(), nulls.jitter(events, grid.onsets()), dependence.correlations())


def answers(grid, kept, delay, share=1.0, seed=1):
    chosen = kept & (np.random.default_rng(seed).random(len(kept)) < share)
    events = np.zeros(STEPS, bool)
    events[grid.onset[chosen] + delay] = True
    return events


def test_key_latency_octaves_and_fifths():
    grid, key = played(), played().key
    events = np.stack(
        [
            answers(grid, key == 39, 3),  # C4, three steps late
            answers(grid, key % 12 == 3, -2),  # all C, two steps early
            answers(grid, np.isin(key % 12, (3, 10)), 1),  # C and G
            raster(1, STEPS, 0.5, 9)[0],  # nothing
            np.zeros(STEPS, bool),
        ]
    )
    found = tuned(events, grid)
    assert found.best[0] == 39 and found.best[1] % 12 == 3 and found.best[2] % 12 in (3, 10)
    assert found.latency[:3].tolist() == [3, -2, 1]
    assert 0.6 < found.response[0] < 1
    assert found.octave[1] > 0.8 > 0.3 > abs(found.octave[0]) and found.fifth[2] > 0.2 > 0 > found.fifth[1]
    assert found.selectivity[0] > 0.5 > 0.05 > found.selectivity[3]
    assert found.selectivity[0] > found.selectivity[1] > found.selectivity[3]
    assert found.best[4] == -1 and all(np.isnan(column[4]) for column in found[1:])


def test_units_that_fire_by_chance_are_neither_late_nor_early():
    """At two events in a thousand steps hardly any place has more than one, so that many are equal."""
    found = tuned(raster(200, STEPS, 0.002, 50), played())
    assert len(set(found.latency)) > 30 and abs(found.latency.mean()) < 3
    counts = np.array([[0, 2, 0, 0, 2, 0, 1], [3, 0, 0, 0, 0, 3, 0], [0, 2, 1, 0, 1, 2, 0]])
    assert _peak(counts).tolist() == [-1, -2, 2]


def test_velocity_and_pedal():
    grid = played()
    loud, held = grid.velocity > 64, grid.pedal[grid.onset]
    events = np.stack([answers(grid, loud, 1), answers(grid, ~held, 1), answers(grid, loud | True, 1, 0.5)])
    found = tuned(events, grid)
    assert found.velocity[0] > 0.4 and found.pedal[1] < -0.4
    assert abs(found.velocity[1]) < 0.06 and abs(found.pedal[0]) < 0.06
    assert max(abs(found.velocity[2]), abs(found.pedal[2])) < 0.06


def test_dependence_is_within_keys():
    """A unit of one key that is always played loud depends on the key, not on the velocity."""
    grid = played()
    grid = grid._replace(velocity=np.where(grid.key == 39, 100, 50) + np.arange(4000) % 3)
    dependence = Dependence(1)
    dependence.add(answers(grid, grid.key == 39, 0)[None], grid)
    velocity, _ = dependence.correlations()
    assert abs(velocity[0]) < 0.06


@pytest.mark.parametrize("onset", [0, 5, 99])
def test_windows_at_the_ends(onset):
    grid = Grid(*(np.array([value]) for value in (onset, 100, 10, 64)), np.zeros(100, bool))
    events = raster(3, 100, 0.5, 2)
    dependence = Dependence(3, 2)
    dependence.add(events, grid)
    np.testing.assert_array_equal(dependence._b[:, 10], events[:, max(onset - 2, 0) : onset + 3].sum(1))
