import csv
import sys

import h5py
import numpy as np
import pytest
from rasters import matrix, raster

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.storage.exporters import EXPORTERS, export

PAIR = {"a": matrix(raster(80, 300, 0.05)), "b é": matrix(raster(80, 40, 0.3, 1), loudness=False)}


def test_csv_has_a_row_an_event(tmp_path):
    export(tmp_path / "a.csv", "csv", PAIR)
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name, events in PAIR.items():
        again = np.zeros_like(events.events)
        for row in rows:
            if row["recording"] == name:
                again[int(row["unit"]), int(row["step"])] = True
                assert int(float(row["seconds"]) * 22050 / 512) == int(row["step"])
        np.testing.assert_array_equal(again, events.events)
    assert len(rows) == sum(events.n_events for events in PAIR.values())


def test_npz_holds_all_recordings(tmp_path):
    export(tmp_path / "a.npz", "npz", iter(PAIR.items()))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        for row, (name, events) in enumerate(PAIR.items()):
            part = slice(*file["indptr"][row : row + 2])
            again = np.zeros((file["n_units"][row], file["n_steps"][row]), bool)
            again[file["unit"][part], file["step"][part]] = True
            np.testing.assert_array_equal(again, events.events)
            assert file["recording"][row] == name and file["n_samples"][row] == events.n_samples


def test_csv_and_npz_are_written_chunk_by_chunk(tmp_path, monkeypatch):
    """As hours of lists of events would take gigabytes; npz with the bytes that numpy writes."""
    lists = {name: events.indices() for name, events in PAIR.items()}
    wanted = {
        field: np.array([getattr(events, field) for events in PAIR.values()])
        for field in ("sample_rate", "hop", "n_samples", "n_units", "n_steps", "fingerprint")
    }
    wanted["recording"] = np.array(list(PAIR))
    wanted["indptr"] = np.cumsum([0, *(len(unit) for _, unit in lists.values())])
    wanted["unit"] = np.concatenate([unit for _, unit in lists.values()])
    wanted["step"] = np.concatenate([step for step, _ in lists.values()])
    np.savez_compressed(tmp_path / "numpy.npz", **wanted)
    monkeypatch.delattr(EventMatrix, "indices")
    for kind in ("csv", "npz"):
        export(tmp_path / f"a.{kind}", kind, PAIR)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "numpy.npz").read_bytes()


def test_shd_has_the_layout_of_the_heidelberg_digits(tmp_path):
    export(tmp_path / "a.h5", "shd", PAIR)
    with h5py.File(tmp_path / "a.h5") as file:
        assert [key.decode() for key in file["extra/keys"][:]] == list(PAIR)
        for row, events in enumerate(PAIR.values()):
            again = np.zeros_like(events.events)
            again[file["spikes/units"][row], (file["spikes/times"][row] * 22050 / 512).astype(int)] = True
            np.testing.assert_array_equal(again, events.events)
            assert file["labels"][row] == row


def test_files_keep_the_rules_of_files(tmp_path, monkeypatch):
    export(tmp_path / "a.csv", "csv", PAIR)
    with pytest.raises(UserError, match="--force"):
        export(tmp_path / "a.csv", "csv", PAIR)
    with pytest.raises(UserError, match="cannot be exported as 'wav'; use one of shd, nwb"):
        export(tmp_path / "b.wav", "wav", PAIR)
    for kind in EXPORTERS:
        with pytest.raises(UserError, match="no recordings"):
            export(tmp_path / "b", kind, {})
    monkeypatch.setitem(sys.modules, "pynwb", None)
    monkeypatch.setitem(sys.modules, "nir", None)
    for kind, package in (("nwb", "pynwb"), ("nirdata", "nir")):
        with pytest.raises(UserError, match=f"needs the package {package}"):
            export(tmp_path / "b", kind, PAIR)
    with pytest.raises(UserError, match="65536"):
        export(tmp_path / "b", "shd", {"wide": matrix(raster(2**16 + 1, 1, 0.5))})
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
