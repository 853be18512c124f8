"""Outside programs open our files and find the same events."""

import numpy as np
import pytest
from rasters import matrix, raster

from snn_codec.errors import UserError
from snn_codec.storage import h5
from snn_codec.storage.exporters import export

pytestmark = pytest.mark.interop

ONE = matrix(raster(80, 300, 0.05))
TWO = matrix(raster(80, 100, 0.3, 1))
STEP = 512 / 22050


def rebuilt(units, seconds, like=ONE, start=0.0):
    """The matrix of these events, by rounding down to steps as an outside program would."""
    events = np.zeros_like(like.events)
    step = np.floor((np.asarray(seconds) - start) / STEP).astype(int)
    events[np.asarray(units).astype(int), step] = True
    assert len(step) == events.sum()
    return events


@pytest.fixture()
def sonata(tmp_path):
    h5.write(tmp_path / "a.h5", {"one": ONE, "two": TWO})
    return tmp_path / "a.h5"


def test_libsonata(sonata):
    libsonata = pytest.importorskip("libsonata")
    population = libsonata.SpikeReader(str(sonata))["units"]
    assert population.sorting == "by_time"
    border = h5.SpikeTrains(sonata).info("two").start_ms
    for events, start, stop in ((ONE, 0, border), (TWO, border, 1e9)):
        found = population.get(tstart=start, tstop=np.nextafter(stop, 0))
        units, times = zip(*found, strict=True)
        np.testing.assert_array_equal(
            rebuilt(units, np.array(times) / 1000, events, start / 1000), events.events
        )
    few = population.get(node_ids=[3, 7], tstart=0, tstop=np.nextafter(border, 0))
    assert len(few) == ONE.events[[3, 7]].sum()


@pytest.mark.parametrize("compress", [False, True])
def test_bmtk(tmp_path, compress):
    reader = pytest.importorskip("bmtk.utils.reports.spike_trains")
    h5.write(tmp_path / "a.h5", {"one": ONE}, compress=compress)
    trains = reader.SpikeTrains.load(str(tmp_path / "a.h5"))
    assert trains.populations == ["units"] and trains.units() == "ms"
    frame = trains.to_dataframe()
    np.testing.assert_array_equal(rebuilt(frame["node_ids"], frame["timestamps"] / 1000), ONE.events)
    np.testing.assert_array_equal(
        trains.get_times(node_id=5), trains.get_times(node_id=5, population="units")
    )


def test_neo_reads_nwb_and_pynwb_finds_it_valid(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    path = str(tmp_path / "a.nwb")
    export(path, "nwb", {"one": ONE})
    with pynwb.NWBHDF5IO(path, "r") as file:
        assert not pynwb.validate(io=file)
        units = file.read().units
        seconds = [units.get_unit_spike_times(unit) for unit in range(80)]
    found = rebuilt(np.repeat(np.arange(80), [len(times) for times in seconds]), np.concatenate(seconds))
    np.testing.assert_array_equal(found, ONE.events)
    neo = pytest.importorskip("neo")
    (block,) = neo.io.NWBIO(path, "r").read_all_blocks()
    trains = block.segments[0].spiketrains
    found = rebuilt(
        np.repeat(np.arange(80), [len(train) for train in trains]),
        np.concatenate([train.rescale("s").magnitude for train in trains]),
    )
    np.testing.assert_array_equal(found, ONE.events)
    assert float(trains[0].t_stop) == pytest.approx(ONE.n_steps * STEP)
    with pytest.raises(UserError, match="one recording"):
        export(path, "nwb", {"one": ONE, "two": TWO}, force=True)


def test_tonic_reads_shd(tmp_path, monkeypatch):
    datasets = pytest.importorskip("tonic.datasets")
    folder = tmp_path / "SHD"
    folder.mkdir()
    export(folder / "shd_train.h5", "shd", {"one": ONE, "two": TWO})
    (folder / "shd_train.h5.zip").touch()  # by which tonic sees that it need not download
    monkeypatch.setattr(datasets.SHD, "download", lambda self: pytest.fail("looked for the data elsewhere"))
    dataset = datasets.SHD(save_to=str(tmp_path), train=True)
    assert len(dataset) == 2 and list(dataset.classes) == [b"one", b"two"]
    for row, events in enumerate((ONE, TWO)):
        found, label = dataset[row]
        assert label == row
        np.testing.assert_array_equal(rebuilt(found["x"], found["t"] / 1e6, events), events.events)


def test_snntorch_reads_shd(tmp_path):
    shd = pytest.importorskip("snntorch.spikevision.spikedata.shd")
    export(tmp_path / "a.h5", "shd", {"one": ONE, "two": TWO})
    found, labels = shd.load_shd_hdf5(tmp_path / "a.h5")
    assert labels == [0, 1]
    np.testing.assert_array_equal(rebuilt(found[1][:, 1], found[1][:, 0] / 1e6, TWO), TWO.events)


def test_nir(tmp_path):
    nir = pytest.importorskip("nir", minversion="1.0.8")
    export(tmp_path / "a.h5", "nirdata", {"one": ONE, "two": TWO})
    data = nir.read_data(tmp_path / "a.h5").nodes["units"].observables["spikes"]
    grid = data.to_time_gridded(STEP)
    assert grid.data.shape == (2, ONE.n_steps, 80)
    np.testing.assert_array_equal(grid.data[0].T, ONE.events)
    np.testing.assert_array_equal(grid.data[1].T[:, : TWO.n_steps], TWO.events)
    with pytest.raises(UserError, match="one number of units"):
        export(tmp_path / "b.h5", "nirdata", {"one": ONE, "small": matrix(raster(3, 5, 0.5))})
