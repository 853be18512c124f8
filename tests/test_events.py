import doctest
import pickle
import sys

import numpy as np
import pytest
from rasters import raster

from snn_codec import costs
from snn_codec import events as events_module
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix, steps_for


def matrix(units=3, steps=5, n_samples=None, **fields):
    events = np.zeros((units, steps), bool)
    return EventMatrix(events, 22050, 512, n_samples or steps * 512, **fields)


@pytest.mark.parametrize("n_samples", [1, 511, 512, 513, 1024, 2**17, 2**17 + 1])
def test_every_length_has_its_steps(n_samples):
    steps = steps_for(n_samples, 512)
    events = matrix(steps=steps, n_samples=n_samples)
    assert (events.n_steps - 1) * 512 < n_samples <= events.n_steps * 512
    for wrong in (steps - 1, steps + 1):
        if wrong > 0:
            with pytest.raises(ValueError, match="steps"):
                matrix(steps=wrong, n_samples=n_samples)


def test_derived_figures_of_a_paper_clip():
    events = np.zeros((80, 256), bool)
    events[::8, ::16] = True
    clip = EventMatrix(events, 22050, 512, 2**17)
    assert (clip.n_units, clip.n_steps, clip.n_events, clip.n_chunks) == (80, 256, 160, 1)
    assert clip.density == 160 / 20480
    assert clip.step_rate == pytest.approx(43.066, abs=1e-3)
    assert clip.duration == pytest.approx(5.944, abs=1e-3)
    assert clip.events_per_second == pytest.approx(160 / 5.9443, rel=1e-4)
    assert clip.kbps(clip.costs["dense"] / 8) == pytest.approx(3.445, abs=1e-3)  # the paper's FREE


def test_the_matrix_is_copied_and_frozen():
    source = np.zeros((2, 1), bool)
    events = EventMatrix(source, 22050, 512, 10)
    source[0, 0] = True
    assert events.n_events == 0
    with pytest.raises(ValueError, match="read-only"):
        events.events[0, 0] = True
    with pytest.raises(AttributeError):
        events.hop = 1


def test_equality_looks_at_everything():
    base = dict(
        events=np.eye(3, dtype=bool),
        sample_rate=22050,
        hop=512,
        n_samples=1500,
        fingerprint="a",
        loudness=np.array([7], np.uint8),
    )
    changes = dict(
        events=~np.eye(3, dtype=bool),
        sample_rate=44100,
        n_samples=1501,
        fingerprint="b",
        loudness=np.array([8], np.uint8),
        chunk_steps=128,
    )
    assert EventMatrix(**base) == EventMatrix(**base)
    for name, value in changes.items():
        assert EventMatrix(**base) != EventMatrix(**(base | {name: value})), name
    assert EventMatrix(**base) != "events"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (dict(events=np.zeros((2, 1))), TypeError),
        (dict(events=np.zeros(3, bool)), TypeError),
        (dict(events=np.zeros((0, 1), bool)), ValueError),
        (dict(hop=512.0), TypeError),
        (dict(n_samples=True), TypeError),
        (dict(n_samples=0), ValueError),
        (dict(sample_rate=-1), ValueError),
        (dict(loudness=np.zeros(2, np.uint8)), ValueError),
        (dict(loudness=np.zeros(1)), ValueError),
        (dict(floor=np.zeros((1, 5))), ValueError),
        (dict(floor=np.zeros(1, np.uint8)), ValueError),
        (dict(floor=np.zeros((2, 5), np.uint8)), ValueError),
        (dict(floor=np.zeros((1, 0), np.uint8)), ValueError),
        (dict(floor=np.zeros((1, 65), np.uint8)), ValueError),
        (dict(floor=np.full((1, 5), 32, np.uint8)), ValueError),
    ],
)
def test_contradictions_are_refused(fields, error):
    base = dict(events=np.zeros((2, 1), bool), sample_rate=22050, hop=512, n_samples=5)
    with pytest.raises(error):
        EventMatrix(**(base | fields))


@pytest.mark.parametrize("bands", [1, 64])
def test_what_a_chunk_carries_is_copied_and_frozen(bands):
    codes = {"loudness": np.full(1, 9, np.uint8), "levels": np.full(1, 8, np.uint8)}
    codes["floor"] = np.full((1, bands), 31, np.uint8)
    events = EventMatrix(np.zeros((2, 1), bool), 22050, 512, 5, **codes)
    for name, given in codes.items():
        given[:] = 0
        kept = getattr(events, name)
        assert kept.all() and kept.shape == given.shape
        with pytest.raises(ValueError, match="read-only"):
            kept[:] = 1


def test_one_unit_and_one_step_are_enough():
    assert EventMatrix(np.ones((1, 1), bool), 22050, 512, 1).n_events == 1


def test_a_large_recording_is_held_as_a_list_and_is_the_same():
    events = raster(3000, 1500, 0.003)
    whole = EventMatrix(events, 22050, 2048, 1500 * 2048, "a")
    assert whole.cells.nbytes < events.nbytes / 50
    assert whole.n_events == events.sum() and whole.density == events.mean()
    assert whole.costs == costs.all_bits(3000, 1500, int(events.sum()))
    np.testing.assert_array_equal(whole.events, events)
    np.testing.assert_array_equal(np.concatenate(list(whole.chunks()), 1), events)
    assert [chunk.shape[1] for chunk in whole.chunks()] == [256] * 5 + [220]
    np.testing.assert_array_equal(
        np.concatenate([part.window(0, part.shape[1]) for part in whole.chunk_cells()], 1), events
    )
    assert whole == EventMatrix.from_indices(*whole.indices(), 3000, **whole.metadata)
    assert pickle.loads(pickle.dumps(whole)) == whole
    events[5, 7] ^= True
    assert whole != whole.replace(events=events)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 5), (2, 4), (5, 5)])
def test_a_window_is_a_part_of_the_matrix(start, stop):
    source = raster(3, 5, 0.5)
    events = EventMatrix(source, 22050, 512, 5 * 512)
    np.testing.assert_array_equal(events.window(start, stop), source[:, start:stop])


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 6)])
def test_a_window_outside_is_refused(start, stop):
    with pytest.raises(ValueError, match="not inside"):
        matrix().window(start, stop)


def test_replace_changes_one_field_and_checks_it():
    events = matrix(levels=np.array([8], np.uint8), loudness=np.array([3], np.uint8), fingerprint="a")
    other = events.replace(fingerprint="b")
    assert other.fingerprint == "b" and other.replace(fingerprint="a") == events
    with pytest.raises(ValueError, match="levels must be"):
        events.replace(levels=np.zeros(2, np.uint8))


def test_sequences_are_turned_back_whole():
    events = matrix(levels=np.array([8], np.uint8), n_samples=2500).replace(events=raster(3, 5, 0.4))
    fields = events.metadata
    assert EventMatrix.from_integers(events.to_integers(bits=2), 3, bits=2, **fields) == events
    assert EventMatrix.from_tokens(events.to_tokens(max_shift=2), 3, max_shift=2, **fields) == events
    generated = EventMatrix.from_tokens([0, 3, 5], 3, sample_rate=22050, hop=512)
    assert (generated.n_steps, generated.n_samples) == (4, 4 * 512)
    with pytest.raises(ValueError, match="4 steps"):
        EventMatrix.from_tokens([0, 3, 5], 3, **fields)


def test_a_dataframe_has_a_row_an_event():
    pytest.importorskip("pandas")
    events = EventMatrix(np.array([[0, 1], [1, 1]], bool), 100, 10, 20)
    frame = events.to_dataframe()
    assert frame.to_dict("list") == {"step": [0, 1, 1], "unit": [1, 0, 1], "seconds": [0.05, 0.15, 0.15]}


def test_neo_has_a_train_a_unit():
    pytest.importorskip("neo")
    events = EventMatrix(np.array([[0, 1, 0], [0, 0, 0], [1, 1, 0]], bool), 100, 10, 30)
    trains = events.to_neo().spiketrains
    assert [train.times.rescale("s").magnitude.tolist() for train in trains] == [[0.15], [], [0.05, 0.15]]
    assert {float(train.t_stop) for train in trains} == {0.3}


@pytest.mark.parametrize(("method", "package"), [("to_dataframe", "pandas"), ("to_neo", "neo")])
def test_a_missing_package_is_named(monkeypatch, method, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"pip install {package}"):
        getattr(matrix(), method)()


def test_a_matrix_says_what_it_is_and_how_to_get_an_array():
    assert repr(matrix(fingerprint="abc")) == "EventMatrix(3 units x 5 steps, 0 events, 0.116 s, model abc)"
    with pytest.raises(TypeError, match=r"use \.events"):
        np.asarray(matrix())


def test_examples_in_docstrings_are_true():
    assert doctest.testmod(events_module).attempted > 5
    assert doctest.testmod(events_module).failed == 0
