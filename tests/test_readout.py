"""A readout of events that hold the score, of events that do not, and of a spectrogram."""

from functools import partial

import numpy as np
import pytest
from conftest import tones
from rasters import raster

from snn_codec.analysis import readout
from snn_codec.analysis.notes import Score
from snn_codec.analysis.readout import Example
from snn_codec.errors import UserError

RATE, HOP, STEPS = 22050, 512, 1200


def score(seed, keys=10):
    """A note every fifth of a second, in microseconds."""
    random = np.random.default_rng(seed)
    onset = np.arange(200_000, 27_000_000, 200_000) + random.integers(0, 50_000, 134)
    pitch = random.integers(60, 60 + keys, len(onset))
    return Score(onset, onset + 150_000, pitch, pitch * 0 + 64, np.zeros((0, 2), np.int64), 10**6)


def example(seed, delay=2, miss=0.0):
    """Units 0 to 9 fire `delay` steps after their key, 10 to 14 whenever they like."""
    notes = score(seed)
    grid = notes.grid(STEPS, RATE, HOP)
    events = raster(15, STEPS, 0.3, seed)
    events[:10] = False
    heard = np.random.default_rng(seed).random(len(grid.onset)) >= miss
    events[grid.key[heard] - 39, np.minimum(grid.onset[heard] + delay, STEPS - 1)] = True
    return Example(events, notes, RATE, HOP)


def windows(one):
    return np.concatenate([rows for _, rows in readout._windows(one)])


def test_planted_notes_are_read():
    pytest.importorskip("mir_eval")
    trained = readout.fit([partial(example, seed) for seed in range(6)])
    rows = readout.evaluate(trained, [partial(example, seed) for seed in (10, 11)])
    assert len(rows) == 2 and min(row["f1"] for row in rows) > 0.98
    onsets, pitches = trained.notes(example(10))
    wanted = score(10).notes()
    assert pitches.tolist() == wanted.pitch.tolist()
    assert np.abs(onsets - wanted.onset).max() < HOP / RATE  # half a step, and another for the border of two


def test_what_is_not_there_is_missed():
    """A quarter of the notes have no event: recall falls by that, precision does not."""
    pytest.importorskip("mir_eval")
    trained = readout.fit([partial(example, seed, miss=0.25) for seed in range(6)])
    (row,) = readout.evaluate(trained, [partial(example, 12, miss=0.25)])
    assert row["recall"] == pytest.approx(0.75, abs=0.1) and row["precision"] > 0.95


def test_unrelated_events_score_at_chance():
    pytest.importorskip("mir_eval")

    def unrelated(seed):
        return example(seed)._replace(features=raster(15, STEPS, 0.3, seed + 100))

    trained = readout.fit([partial(unrelated, seed) for seed in range(6)])
    (row,) = readout.evaluate(trained, [partial(unrelated, 12)])
    assert row["f1"] < 0.25


def test_late_events_do_not_fit_into_the_tolerance():
    """What stands more than CONTEXT, 5 steps, away cannot be seen."""
    pytest.importorskip("mir_eval")
    late = 5 + 8  # later than a fifth of a second, so into other notes
    trained = readout.fit([partial(example, seed, late) for seed in range(6)])
    (row,) = readout.evaluate(trained, [partial(example, 12, late)])
    assert row["f1"] < 0.4


def test_a_coarse_grid_is_read_as_well():
    """Steps of 93 ms: a window of two of them to both sides, onsets in their own step only, found in its middle."""
    pytest.importorskip("mir_eval")
    hop = 4 * HOP

    def coarse(seed):
        notes = score(seed)
        grid = notes.grid(STEPS // 4, RATE, hop)
        events = np.zeros((12, STEPS // 4), np.float32)
        events[grid.key - 39, np.minimum(grid.onset + 2, STEPS // 4 - 1)] = 3.0
        return Example(events, notes, RATE, hop)

    assert windows(coarse(0)).shape == (STEPS // 4, 12 * 5 + 1)
    trained = readout.fit([partial(coarse, seed) for seed in range(6)])
    (row,) = readout.evaluate(trained, [partial(coarse, 10)])
    assert row["f1"] > 0.9


@pytest.mark.parametrize("steps", [1, 3, 100, STEPS - 1])
def test_a_long_recording_is_taken_in_blocks(steps, monkeypatch):
    """The windows at the borders of blocks are those of the whole."""
    one = example(3)
    whole, sums = windows(one), readout._sums(one)
    likely = readout.Readout(readout._solved(sums, 0.1), 0.5, 0.1)(one)
    monkeypatch.setattr(readout, "BLOCK_CELLS", steps * whole.shape[1])
    blocks = [rows for _, rows in readout._windows(one)]
    assert {len(rows) for rows in blocks[:-1]} == {steps} and np.array_equal(np.concatenate(blocks), whole)
    for part, of_whole in zip(readout._sums(one), sums, strict=True):
        np.testing.assert_allclose(part, of_whole, rtol=1e-12)
    trained = readout.Readout(readout._solved(sums, 0.1), 0.5, 0.1)
    np.testing.assert_allclose(trained(one), likely, atol=1e-6)


def test_ridge_solves_its_equations():
    """Against least squares on rows that write the penalty out."""
    one = example(3)
    square, cross, wanted = sums = readout._sums(one)
    weights = readout._solved(sums, 0.1)
    rows = windows(one).astype(float)
    assert rows.shape == (STEPS, 15 * 11 + 1) and np.allclose(rows.T @ rows, square)
    spread = rows[:, :-1].std(0) * np.sqrt(0.1 * STEPS)
    spread = np.maximum(spread, np.sqrt(0.1 * 1e-6 * STEPS))
    extended = np.vstack([rows, np.hstack([np.diag(spread), np.zeros((len(spread), 1))])])
    gradient = extended.T @ extended @ weights - cross
    assert np.abs(gradient).max() < 1e-3 * np.abs(cross).max()
    assert readout._squared_error(weights, sums) >= 0 and wanted.shape == (88,)


def test_fewer_steps_than_features_are_enough():
    """Three recordings of 4 s: 346 steps to solve for 881 weights, of bands that are much alike."""
    pytest.importorskip("mir_eval")

    def heard(seed):
        features = readout.mel(tones(4.0, seed=seed), RATE, HOP, 80)
        return Example(features, score(seed), RATE, HOP)

    trained = readout.fit([partial(heard, seed) for seed in range(3)])
    assert trained.weights.shape == (80 * 11 + 1, 88) and np.isfinite(trained.weights).all()


def test_what_has_no_solution_asks_for_more_music():
    square = np.array([[1.0, 2.0], [2.0, 1.0]])  # no sum of squares
    with pytest.raises(UserError, match="give more music"):
        readout._solved([square, np.zeros((2, 88)), np.zeros(88)], 1e-5)


def test_mel_bands_find_their_tones():
    time = np.arange(RATE) / RATE
    low, high = (readout.mel(np.sin(2 * np.pi * tone * time), RATE, HOP, 80) for tone in (110, 3520))
    assert low.shape == (80, 44) and low.dtype == np.float32
    assert 0 <= low.min() and low.max() == pytest.approx(1)
    assert low[:, 20].argmax() < 10 and 45 < high[:, 20].argmax() < 60
    click = np.zeros(RATE)
    click[10 * HOP + HOP // 2] = 1
    assert readout.mel(click, RATE, HOP, 20).sum(0).argmax() == 10
    assert (readout.mel(click, RATE, HOP, 128).max(1) > 0).all()  # no band is empty
    assert not readout.mel(np.zeros(1000), RATE, HOP, 20).any()


def test_too_little_to_learn_from():
    pytest.importorskip("mir_eval")
    with pytest.raises(UserError, match="at least two recordings"):
        readout.fit([partial(example, 0)])
