"""Features that go to another simulator, and the spikes that come back."""

import h5py
import numpy as np
import pytest

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.hardware import exchange, streams


def some_events(units=5, steps=70):
    """Events with loudness, levels and floor, of several chunks."""
    random = np.random.default_rng(0)
    chunks = -(-steps // 64)
    loudness, levels = random.integers(0, 200, (2, chunks)).astype(np.uint8)
    floor = random.integers(0, 32, (chunks, 16)).astype(np.uint8)
    spikes = random.random((units, steps)) < 0.3
    return EventMatrix(spikes, 22050, 512, 512 * steps - 100, "f" * 8, loudness, 64, levels, floor)


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


def test_a_floor_of_many_hours_is_written(tmp_path):
    """More than the 64 KB that an attribute holds."""
    events = EventMatrix.from_indices(
        np.zeros(1, int), np.zeros(1, int), 1, sample_rate=22050, hop=1, n_samples=5000, chunk_steps=1,
        loudness=np.zeros(5000, np.uint8), floor=np.arange(5000 * 16, dtype=np.uint8).reshape(5000, 16) % 32,
    )  # fmt: skip
    assert EventMatrix(events.events, **exchange.grid(written(tmp_path, "nirdata", events))[1]) == events


def test_nirdata_of_before_has_its_floor_in_an_attribute(tmp_path):
    events = some_events()
    like = written(tmp_path, "nirdata", events)
    with h5py.File(like, "r+") as file:
        file.attrs["floor"] = file["floor"][()]
        del file["floor"]
    assert EventMatrix(events.events, **exchange.grid(like)[1]) == events


def event_data(path, events, step_seconds, shift=0.0, dtype=np.float64, steps=None):
    """NIRData of events at times of so many seconds a step."""
    nir = pytest.importorskip("nir")
    if not hasattr(nir, "write_data"):
        pytest.skip("needs nir 1.0.8")
    step, unit = events.indices()
    time = np.append((step + shift) * step_seconds, np.inf).astype(dtype)[None]
    index = np.append(unit, -1)[None]
    data = nir.EventData(index, time, events.n_units, (steps or events.n_steps) * step_seconds)
    nir.write_data(
        str(path), nir.NIRGraphData(nodes={"units": nir.NIRNodeData(observables={"spikes": data})})
    )
    return path


@pytest.mark.parametrize("step_seconds", [1e-4, 512 / 22050])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shift", [0, 0.5])
def test_an_event_on_the_border_of_a_step_is_in_that_step(tmp_path, step_seconds, dtype, shift):
    """In steps of the graph, or in seconds of the recording; k times a step is often rounded down."""
    events = some_events(steps=2000)
    like = written(tmp_path, "npz", events)
    path = event_data(tmp_path / "a.nirdata", events, step_seconds, shift, dtype)
    assert exchange.spikes_back(path, like) == events


def test_what_export_spikes_wrote_comes_back(tmp_path):
    events = some_events()
    like = written(tmp_path, "nirdata", events)
    streams.write(tmp_path / "x.nirdata", "nir", [("piece", events)])
    assert exchange.spikes_back(tmp_path / "x.nirdata", like) == events


def test_spikes_after_the_end_are_left_out_if_asked(tmp_path):
    events, longer = some_events(), some_events(steps=80)
    like = written(tmp_path, "npz", events)
    np.save(tmp_path / "a.npy", longer.events)
    event_data(tmp_path / "a.nirdata", longer, 1e-4)
    after = int(longer.events[:, 73:].sum())
    for name in ("a.npy", "a.nirdata"):
        with pytest.raises(UserError, match=rf"{name}: has {after} spikes after the last of 70 steps.*--cut"):
            exchange.spikes_back(tmp_path / name, like, late=3)
        found = exchange.spikes_back(tmp_path / name, like, late=3, cut=True)
        np.testing.assert_array_equal(found.events, longer.events[:, 3:73])


def test_what_is_no_spike_is_refused(tmp_path):
    events = some_events()
    like = written(tmp_path, "npz", events)
    for number, reason in (
        (np.nan, "holds nan, where"), (np.inf, "holds inf, where"), (0.25, "holds 0.25, where"),
        (2, "holds 2, where"), (-1, "holds -1, where"),
    ):  # fmt: skip
        spikes = events.events.astype(float)
        spikes[2, 3] = number
        np.save(tmp_path / "a.npy", spikes)
        with pytest.raises(UserError, match=f"a.npy: {reason} spikes are 0 or 1; save which units fired"):
            exchange.spikes_back(tmp_path / "a.npy", like)
    np.save(tmp_path / "a.npy", events.events.astype("U1"))
    with pytest.raises(UserError, match="a.npy: holds <U1, where"):
        exchange.spikes_back(tmp_path / "a.npy", like)


def test_event_data_that_cannot_be_of_the_recording_is_refused(tmp_path):
    events = some_events().replace(events=np.eye(5, 70, 3, dtype=bool))
    like, path = written(tmp_path, "npz", events), tmp_path / "a.nirdata"
    for change, reason in (
        (lambda group: group["idx"].__setitem__((0, 1), 5), "lies outside"),
        (lambda group: group["idx"].__setitem__((0, slice(0, 2)), 5), "lies outside"),
        (lambda group: group["time"].__setitem__((0, 1), -1.0), "is damaged"),
        (lambda group: group["time"].__setitem__((0, 1), 1e300), "is damaged"),
        (lambda group: group.attrs.__setitem__("t_max", np.nan), "is damaged"),
        (lambda group: group.attrs.__setitem__("t_max", 0.0069), "has 5 x 69 cells"),
        (lambda group: group.attrs.__setitem__("n_neurons", 6), "has 6 x 70 cells"),
    ):
        event_data(path, events, 1e-4)
        with h5py.File(path, "r+") as file:
            change(file["nodes/units/observables/spikes"])
        with pytest.raises(UserError, match=f"a.nirdata: .*{reason}"):
            exchange.spikes_back(path, like)
    event_data(path, events, 1e-4)
    with h5py.File(path, "r+") as file:
        group = file["nodes/units/observables/spikes"]
        group["time"][0, 1] = group["time"][0, 0]
        group["idx"][0, 1] = group["idx"][0, 0]
    with pytest.raises(UserError, match="there twice; save each spike once"):
        exchange.spikes_back(path, like)
    streams.write(tmp_path / "two.nirdata", "nir", [("a", events), ("b", events)])
    with pytest.raises(UserError, match="two.nirdata: holds 2 samples"):
        exchange.spikes_back(tmp_path / "two.nirdata", like)


def test_a_file_is_what_it_holds_whatever_its_name(tmp_path):
    events = some_events()
    like = written(tmp_path, "npz", events)
    np.savez(tmp_path / "a.npz", data=events.events)
    (tmp_path / "a.npz").rename(tmp_path / "zip.npy")
    np.save(tmp_path / "a.npy", events.events)
    (tmp_path / "a.npy").rename(tmp_path / "plain.npz")
    for name in ("zip.npy", "plain.npz"):
        assert exchange.spikes_back(tmp_path / name, like) == events


def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path):
    events = some_events()
    like = written(tmp_path, "npz", events)
    np.save(tmp_path / "spikes.npy", events.events)
    for name in ("folder", "folder.npz"):
        (tmp_path / name).mkdir()
        with pytest.raises(UserError, match=rf"{name}: cannot be read \(Is a directory\); give an .npy"):
            exchange.spikes_back(tmp_path / name, like)
    with open(tmp_path / "huge.npy", "wb") as file:  # says that it holds 7 TB
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
        )
    with pytest.raises(UserError, match=r"huge.npy: cannot be read \(it is damaged"):
        exchange.spikes_back(tmp_path / "huge.npy", like)
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file["nodes"] = 3
    with pytest.raises(UserError, match=r"odd.h5: cannot be read \(it is damaged"):
        exchange.features(tmp_path / "odd.h5")
    with np.load(like) as file:
        right = dict(file)
    for field, value in (
        ("n_units", "x"), ("n_units", 0), ("n_samples", [1, 2]), ("hop", 0), ("hop", 256), ("loudness", [1, 2, 3]),
        ("floor", [1, 2]), ("levels", ["x", "y"]), ("loudness", right["loudness"] + 256.0),
        ("loudness", right["loudness"] - 1000.0), ("loudness", right["loudness"] + 0.5),
    ):  # fmt: skip
        np.savez(tmp_path / "wrong.npz", **(right | {field: value}))
        with pytest.raises(UserError, match=r"wrong.npz: is not of a recording \(.*\); export the features"):
            exchange.spikes_back(tmp_path / "spikes.npy", tmp_path / "wrong.npz")
