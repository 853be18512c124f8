"""Features that go to another simulator, and the spikes that come back."""

import numpy as np
import pytest

from snn_codec.events import EventMatrix
from snn_codec.hardware import exchange


def some_events(units=5, steps=70):
    """Events with loudness, levels and floor, of two chunks."""
    random = np.random.default_rng(0)
    return EventMatrix(
        random.random((units, steps)) < 0.3, 22050, 512, 512 * steps - 100, "f" * 8, np.array([7, 9], np.uint8), 64,
        np.array([3, 255], np.uint8), random.integers(0, 32, (2, 16)).astype(np.uint8),
    )  # fmt: skip


def written(folder, kind, events):
    """The file of features of these events."""
    path = folder / f"like.{kind}"
    features = np.zeros((3, events.n_steps))
    if kind == "npz":
        exchange.write_graded(path, features.astype(np.int32), events)
    else:
        if not hasattr(pytest.importorskip("nir"), "write_data"):
            pytest.skip("needs nir 1.0.8")
        exchange.write_features(path, features.astype(np.float32), events)
    return path


@pytest.mark.parametrize("kind", ["npz", "nirdata"])
def test_all_that_events_carry_comes_back(tmp_path, kind):
    for events in (some_events(), some_events().replace(loudness=None, levels=None, floor=None)):
        like = written(tmp_path, kind, events)
        np.save(tmp_path / "spikes.npy", events.events)
        assert exchange.spikes_back(tmp_path / "spikes.npy", like) == events
        like.unlink()


def test_features_of_before_there_was_a_floor_are_read(tmp_path):
    events = some_events()
    with np.load(written(tmp_path, "npz", events)) as file:
        np.savez(tmp_path / "old.npz", **{name: file[name] for name in file if name != "floor"})
    units, metadata = exchange.grid(tmp_path / "old.npz")
    assert EventMatrix(events.events, **metadata) == events.replace(floor=None) and units == events.n_units
