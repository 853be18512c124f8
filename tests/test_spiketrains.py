import multiprocessing
import os
import pickle
import signal
import time

import h5py
import numpy as np
import pytest

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix, steps_for
from snn_codec.storage import spiketrains


def events(units=80, n_samples=100_000, density=0.3, seed=0, *, hop=512, rate=22050, levels=True, chunk=256):
    random = np.random.default_rng(seed)
    steps = steps_for(n_samples, hop)
    codes = (
        random.integers(0, 256, steps_for(steps, chunk)).astype(np.uint8) if levels else np.zeros(0, np.uint8)
    )
    matrix = random.random((units, steps)) < density
    return EventMatrix(matrix, rate, hop, n_samples, "0123456789abcdef", codes, chunk)


@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 513), (3, 512), (80, 131_072), (80, 131_073), (7, 700_000)])
def test_what_is_read_is_what_was_written(tmp_path, density, shape):
    matrix = events(*shape, density)
    spiketrains.write(tmp_path / "a.h5", {"a": matrix})
    assert spiketrains.read(tmp_path / "a.h5") == matrix


@pytest.mark.parametrize(
    "fields",
    [dict(hop=1, n_samples=900), dict(hop=441, rate=44100), dict(rate=1), dict(levels=False), dict(chunk=7)],
)
@pytest.mark.parametrize("compress", [False, True])
def test_any_grid_is_kept_exactly(tmp_path, fields, compress):
    matrix = events(**({"n_samples": 20_000} | fields))
    spiketrains.write(tmp_path / "a.h5", {"a": matrix}, compress=compress)
    assert spiketrains.read(tmp_path / "a.h5", "a") == matrix


def test_many_recordings_in_one_file(tmp_path):
    all_of_them = {f"piece {i} é": events(80, 1 + 30_000 * i, seed=i) for i in range(6)}
    spiketrains.write(tmp_path / "a.h5", iter(all_of_them.items()))
    trains = spiketrains.SpikeTrains(tmp_path / "a.h5")
    assert list(trains) == list(all_of_them) == spiketrains.names(tmp_path / "a.h5")
    assert all(trains[name] == matrix for name, matrix in all_of_them.items())
    with pytest.raises(UserError, match="holds 6 recordings"):
        spiketrains.read(tmp_path / "a.h5")
    with pytest.raises(UserError, match="no recording 'piece 9"):
        trains["piece 9 é"]


def test_windows_are_parts_of_the_whole(tmp_path):
    matrix = events(80, 700_000)
    spiketrains.write(tmp_path / "a.h5", {"a": matrix})
    with spiketrains.SpikeTrains(tmp_path / "a.h5") as trains:
        for start, stop in [(0, 0), (0, 1), (255, 257), (256, 512), (100, 1300), (0, matrix.n_steps)]:
            np.testing.assert_array_equal(trains.window("a", start, stop), matrix.events[:, start:stop])
        with pytest.raises(ValueError, match="not inside"):
            trains.window("a", 0, matrix.n_steps + 1)


def _read_in_worker(trains):
    return trains["a"]


def test_a_reader_travels_to_workers(tmp_path):
    matrix = events()
    spiketrains.write(tmp_path / "a.h5", {"a": matrix})
    trains = spiketrains.SpikeTrains(tmp_path / "a.h5")
    assert pickle.loads(pickle.dumps(trains))["a"] == matrix
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_read_in_worker, [trains] * 4) == [matrix] * 4


def test_the_file_is_sonata(tmp_path):
    """Read as any SONATA reader would: times in ms in the middle of their steps, sorted, and unit numbers."""
    matrix = events(80, 100_000, 0.05)
    spiketrains.write(tmp_path / "a.h5", {"a": matrix})
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


def test_damaged_events_are_noticed_and_cut_files_too(tmp_path):
    """Every flipped bit and zeroed stretch in the events, and every cut, is an error (or changed nothing)."""
    matrix, path = events(20, 200_000, 0.1), tmp_path / "a.h5"
    spiketrains.write(path, {"a": matrix})
    with h5py.File(path) as file:
        datasets = [file["spikes/units"][name].id for name in ("timestamps", "node_ids")]
        stored = [ds.get_chunk_info(i) for ds in datasets for i in range(ds.get_num_chunks())]
    places = np.concatenate([np.arange(c.byte_offset, c.byte_offset + c.size) for c in stored])
    whole, random, refused = path.read_bytes(), np.random.default_rng(0), 0
    for trial in range(300):
        data = bytearray(whole)
        place = int(random.choice(places))
        if trial % 3 == 0:
            data[place] ^= 1 << int(random.integers(8))
        elif trial % 3 == 1:
            data[place : place + 16] = bytes(16)
        else:
            data = data[: int(random.integers(len(data)))]
        path.write_bytes(data)
        try:
            assert spiketrains.read(path) == matrix
        except UserError:
            refused += 1
    assert refused > 240  # the rest hit bytes that hold nothing


def _write_slowly(path):
    def recordings():
        yield "new", events(seed=1)
        time.sleep(60)

    spiketrains.write(path, recordings(), force=True)


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.h5"
    old = events()
    spiketrains.write(path, {"old": old})
    process = multiprocessing.get_context("fork").Process(target=_write_slowly, args=(path,))
    process.start()
    while len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert spiketrains.read(path) == old


@pytest.mark.parametrize("name", ["", "a" * 300, "a\0b"])
def test_bad_names_are_refused(tmp_path, name):
    with pytest.raises(UserError):
        spiketrains.write(tmp_path / "a.h5", {name: events()})
    assert list(tmp_path.iterdir()) == []


def test_repeated_names_and_empty_files_are_refused(tmp_path):
    with pytest.raises(UserError):
        spiketrains.write(tmp_path / "a.h5", [("a", events()), ("a", events())])
    with pytest.raises(UserError):
        spiketrains.write(tmp_path / "a.h5", {})
    assert list(tmp_path.iterdir()) == []
