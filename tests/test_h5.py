import io
import multiprocessing
import os
import pickle
import signal
import sys
import time

import h5py
import numpy as np
import pytest

from snn_codec.cli.info import described
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix, steps_for
from snn_codec.storage import h5


def events(
    units=80, n_samples=100_000, density=0.3, seed=0, *, hop=512, rate=22050, loudness=True, chunk=256
):
    random = np.random.default_rng(seed)
    steps = steps_for(n_samples, hop)
    codes = (
        random.integers(0, 256, steps_for(steps, chunk)).astype(np.uint8)
        if loudness
        else np.zeros(0, np.uint8)
    )
    matrix = random.random((units, steps)) < density
    return EventMatrix(matrix, rate, hop, n_samples, "0123456789abcdef", codes, chunk)


@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 513), (3, 512), (80, 131_072), (80, 131_073), (7, 700_000)])
def test_what_is_read_is_what_was_written(tmp_path, density, shape):
    matrix = events(*shape, density)
    h5.write(tmp_path / "a.h5", {"a": matrix})
    assert h5.read(tmp_path / "a.h5") == matrix


@pytest.mark.parametrize(
    "fields",
    [
        dict(hop=1, n_samples=900),
        dict(hop=441, rate=44100),
        dict(rate=1),
        dict(loudness=False),
        dict(chunk=7),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_any_grid_is_kept_exactly(tmp_path, fields, compress):
    matrix = events(**({"n_samples": 20_000} | fields))
    h5.write(tmp_path / "a.h5", {"a": matrix}, compress=compress)
    assert h5.read(tmp_path / "a.h5", "a") == matrix


@pytest.mark.parametrize("compress", [False, True])
def test_compression_levels_are_kept_beside_recordings_without(tmp_path, compress):
    plain = events(n_samples=300_000)
    codes = np.array([0, 248, 255], np.uint8)
    prompted = events(n_samples=300_000, seed=1).replace(levels=codes)
    h5.write(tmp_path / "a.h5", {"plain": plain, "prompted": prompted}, compress=compress)
    with h5.SpikeTrains(tmp_path / "a.h5") as trains:
        assert trains["plain"] == plain and trains["prompted"] == prompted
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["clips"].attrs["format_version"] == 2
    h5.write(tmp_path / "b.h5", {"plain": plain})
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["clips"].attrs["format_version"] == 1 and "compression" not in file["clips"]


def test_many_recordings_in_one_file(tmp_path):
    all_of_them = {f"piece {i} é": events(80, 1 + 30_000 * i, seed=i) for i in range(6)}
    h5.write(tmp_path / "a.h5", iter(all_of_them.items()))
    trains = h5.SpikeTrains(tmp_path / "a.h5")
    assert list(trains) == list(all_of_them) == h5.names(tmp_path / "a.h5")
    assert all(trains[name] == matrix for name, matrix in all_of_them.items())
    with pytest.raises(UserError, match="holds 6 recordings"):
        h5.read(tmp_path / "a.h5")
    with pytest.raises(UserError, match="no recording 'piece 9"):
        trains["piece 9 é"]


def test_windows_are_parts_of_the_whole(tmp_path):
    matrix = events(80, 700_000)
    h5.write(tmp_path / "a.h5", {"a": matrix})
    with h5.SpikeTrains(tmp_path / "a.h5") as trains:
        for start, stop in [(0, 0), (0, 1), (255, 257), (256, 512), (100, 1300), (0, matrix.n_steps)]:
            np.testing.assert_array_equal(trains.window("a", start, stop), matrix.events[:, start:stop])
        with pytest.raises(ValueError, match="not inside"):
            trains.window("a", 0, matrix.n_steps + 1)


def _read_in_worker(trains):
    return trains["a"]


def test_a_reader_travels_to_workers(tmp_path):
    matrix = events()
    h5.write(tmp_path / "a.h5", {"a": matrix})
    trains = h5.SpikeTrains(tmp_path / "a.h5")
    again = pickle.loads(pickle.dumps(trains))
    assert repr(again).startswith("SpikeTrains('") and again["a"] == matrix
    assert repr(again) == repr(trains)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_read_in_worker, [trains] * 4) == [matrix] * 4


def test_the_file_is_sonata(tmp_path):
    """Read as any SONATA reader would: times in ms in the middle of their steps, sorted, and unit numbers."""
    matrix = events(80, 100_000, 0.05)
    h5.write(tmp_path / "a.h5", {"a": matrix})
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["magic"] == 0x0A7A and list(file.attrs["version"]) == [0, 1]
        (population,) = file["spikes"].values()
        assert h5py.check_enum_dtype(population.attrs.get_id("sorting").dtype) == {
            "none": 0,
            "by_id": 1,
            "by_time": 2,
        }
        assert population["timestamps"].attrs["units"] in ("ms", b"ms")
        times, units = population["timestamps"][:], population["node_ids"][:]
        assert population["timestamps"].fletcher32
    assert (np.diff(times) >= 0).all()
    steps = np.floor(times / 1000 * 22050 / 512).astype(int)
    middle = (steps + 0.5) * 512 / 22.050
    assert np.abs(times - middle).max() < 512 / 22.050 / 4
    again = np.zeros_like(matrix.events)
    again[units, steps] = True
    np.testing.assert_array_equal(again, matrix.events)


def test_every_damage_is_noticed(tmp_path):
    """Wherever a bit flips, a stretch is zeroed, or the file is cut or grows; HDF5 never sees the damage."""
    path = tmp_path / "a.h5"
    h5.write(path, {"a": events(20, 200_000, 0.1)})
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for trial in range(1000):
        data, place = bytearray(whole), int(random.integers(len(whole)))
        if trial % 4 == 0:
            data[place] ^= 1 << int(random.integers(8))
        elif trial % 4 == 1:
            data[place : place + 16] = bytes(byte ^ 0xFF for byte in data[place : place + 16])
        elif trial % 4 == 2:
            del data[place:]
        else:
            data[place:place] = random.bytes(8)
        with pytest.raises(UserError, match="damaged|cut off"):
            h5.SpikeTrains(io.BytesIO(bytes(data)))


def _altered(path, target, change):
    """A copy with a right seal in which `change` has altered the HDF5 content."""
    target.write_bytes(path.read_bytes()[:-12])
    with h5py.File(target, "r+") as file:
        change(file)
    h5.seal(target)
    return target


def _grow(name, rows):
    def change(file):
        file[name].resize((rows,))

    return change


def _set(name, value, row=0):
    def change(file):
        file[name][row] = value

    return change


def _replaced(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


@pytest.mark.parametrize(
    "change",
    [
        *[_grow(f"recordings/{name}", 2**40) for name in ("name", "start_ms", "hop")],
        *[_grow(f"clips/{name}", 2**40) for name in ("indptr", "level")],
        *[_grow(f"spikes/units/{name}", 2**40) for name in ("timestamps", "node_ids")],
        *[_set("recordings/n_samples", value) for value in (0, -1, 2**52, 2**62)],
        *[_set("recordings/n_units", value) for value in (0, 19, 2**31)],
        *[_set("recordings/chunk_steps", value) for value in (0, 1)],
        *[_set("recordings/sample_rate", value) for value in (0, 1)],
        _set("recordings/hop", 1),
        _set("recordings/has_levels", 2),
        _set("recordings/name", b"\xff\xfe"),
        _set("recordings/name", b"b"),
        *[_set("recordings/start_ms", value) for value in (np.nan, -1.0, 1e30, 50.0)],
        *[_set("clips/indptr", value, 1) for value in (-5, 2**62)],
        *[_set("spikes/units/node_ids", value, 5) for value in (20, 2**64 - 1)],
        *[_set("spikes/units/timestamps", value, 5) for value in (-1.0, 1e9)],
        _replaced("clips/indptr", np.zeros((2, 2), np.int64)),
        _replaced("clips/level", np.zeros(1, np.float64)),
        _replaced("spikes/units/timestamps", np.zeros(3, "S5")),
        _replaced("spikes/units/timestamps", h5py.SoftLink("/nowhere")),
        _replaced("recordings/name", h5py.ExternalLink("other.h5", "/x")),
        lambda file: file["clips"].attrs.__setitem__("format_version", 2),
        lambda file: file["clips"].attrs.__setitem__("format", 3),
        lambda file: file.__delitem__("clips"),
        lambda file: file.__delitem__("spikes"),
    ],
)
def test_absurd_contents_with_a_right_seal_are_refused(tmp_path, change):
    path = tmp_path / "a.h5"
    h5.write(path, {"a": events(20, 60_000, 0.1), "b": events(5, 3000)})
    altered = _altered(path, tmp_path / "altered.h5", change)
    with pytest.raises(UserError, match="altered.h5"):
        trains = h5.SpikeTrains(altered)
        trains["a"], trains["b"]


def test_an_unaltered_copy_is_read(tmp_path):
    """So that the test above sees what its changes do."""
    path = tmp_path / "a.h5"
    h5.write(path, {"a": events()})
    assert h5.read(_altered(path, tmp_path / "b.h5", lambda file: None)) == events()


def _write_slowly(path):
    def recordings():
        yield "new", events(seed=1)
        time.sleep(60)

    h5.write(path, recordings(), force=True)


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.h5"
    old = events()
    h5.write(path, {"old": old})
    process = multiprocessing.get_context("fork").Process(target=_write_slowly, args=(path,))
    process.start()
    while len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert h5.read(path) == old


@pytest.mark.parametrize("name", ["", "a" * 300, "a\0b"])
def test_bad_names_are_refused(tmp_path, name):
    with pytest.raises(UserError):
        h5.write(tmp_path / "a.h5", {name: events()})
    assert list(tmp_path.iterdir()) == []


def test_repeated_names_and_empty_files_are_refused(tmp_path):
    with pytest.raises(UserError):
        h5.write(tmp_path / "a.h5", [("a", events()), ("a", events())])
    with pytest.raises(UserError):
        h5.write(tmp_path / "a.h5", {})
    assert list(tmp_path.iterdir()) == []


def _changed(path, what):
    """What h5py leaves when it has opened the file for writing and closed it."""
    with h5py.File(path, "a") as file:
        if what == "added":
            file["more"] = np.arange(10_000)
        elif what == "annotated":
            file["recordings"].attrs["note"] = "checked by hand"
        elif what == "altered":
            file["spikes/units/node_ids"][5] = 2000
        elif what == "deleted":
            del file["clips/indptr"]


@pytest.mark.parametrize("what", ["opened", "added", "annotated"])
def test_a_file_that_another_program_changed_gets_a_seal_when_its_content_is_whole(tmp_path, what):
    path, again = tmp_path / "a.h5", tmp_path / "again.h5"
    h5.write(path, {"a": events(), "b": events(seed=1)})
    assert h5.is_sealed(path)
    _changed(path, what)
    assert not h5.is_sealed(path)
    with pytest.raises(UserError, match="changed by another program .info tells which"):
        h5.read(path, "a")
    before = path.read_bytes()
    h5.reseal(path, again)
    assert path.read_bytes() == before
    with h5.SpikeTrains(again) as trains:
        assert dict(trains) == {"a": events(), "b": events(seed=1)}
    with h5py.File(again) as file:
        assert ("more" in file, "note" in file["recordings"].attrs) == (what == "added", what == "annotated")
    with pytest.raises(UserError, match="--force"):
        h5.reseal(path, path)
    h5.reseal(path, path, force=True)
    assert path.read_bytes() == again.read_bytes()
    h5.reseal(path, again, force=True)  # sealed already: a copy
    assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("what", ["altered", "deleted", "cut", "flipped", "foreign", "text"])
def test_a_damaged_or_foreign_file_gets_no_seal(tmp_path, what):
    path, again = tmp_path / "a.h5", tmp_path / "again.h5"
    h5.write(path, {"a": events()})
    whole = path.read_bytes()
    if what in ("altered", "deleted"):
        _changed(path, what)
    elif what == "cut":
        path.write_bytes(whole[:-500])
    elif what == "flipped":
        with h5py.File(path) as file:
            place = file["spikes/units/node_ids"].id.get_chunk_info(0).byte_offset
        path.write_bytes(whole[: place + 40] + bytes([whole[place + 40] ^ 4]) + whole[place + 41 :])
    elif what == "text":
        path.write_text("no HDF5")
    else:
        with h5py.File(path, "w") as file:
            file["x"] = np.arange(9)
    with pytest.raises(UserError, match=r"a\.h5: ") as error:
        h5.reseal(path, again)
    assert str(tmp_path / ".") in str(error.value) and ".again" not in str(error.value)
    assert not again.exists() and list(tmp_path.iterdir()) == [path]


def test_a_file_that_crashes_the_library_is_damaged(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    h5.write(path, {"a": events()})
    _changed(path, "opened")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="the HDF5 library cannot read it; the file is damaged"):
        h5.check_content(path)


def test_info_counts_events_without_reading_them(tmp_path, monkeypatch):
    made = {"a": events(12, 600 * 512, 0.1), "b": events(12, 40 * 512, 0.5, chunk=7)}
    h5.write(tmp_path / "a.h5", made)
    monkeypatch.delattr(h5.SpikeTrains, "_clips")
    found = described(tmp_path / "a.h5")["recordings"]
    assert {name: row["events"] for name, row in found.items()} == {
        name: each.n_events for name, each in made.items()
    }
    assert found["a"]["bits"] == made["a"].costs
