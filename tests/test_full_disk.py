"""Every file that this package writes, on a disk that is full after some bytes."""

import io

import h5py
import numpy as np
import pytest
from processes import room_for
from rasters import entropy_model, matrix, raster

from snn_codec.errors import UserError
from snn_codec.files import new_file
from snn_codec.hardware import streams
from snn_codec.storage import event_files, h5
from snn_codec.storage.exporters import EXPORTERS

RECORDINGS = [("a", matrix(raster(80, 4000, 0.2)))]
KINDS = {kind: event_files.write for kind in ("spk", "h5", *EXPORTERS)}
KINDS |= {kind: streams.write for kind in ("lava", "sonata")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("room", [0, 5000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, kind, room):
    if kind == "nwb":
        pytest.importorskip("pynwb")
    path = tmp_path / f"a.{kind}"
    with room_for(room), pytest.raises(UserError, match=f"a.{kind}: cannot be written, the file is larger"):
        KINDS[kind](path, kind, RECORDINGS)
    assert list(tmp_path.iterdir()) == []
    KINDS[kind](path, kind, RECORDINGS)
    assert list(tmp_path.iterdir()) == [path]


def test_an_entropy_model_needs_room_as_well(tmp_path):
    with room_for(100), pytest.raises(UserError, match="cannot be written, the file is larger"):
        entropy_model(80).save(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [0, 5000])
def test_a_copy_with_a_new_seal_needs_room_as_well(tmp_path, room):
    path, again = tmp_path / "a.h5", tmp_path / "again.h5"
    h5.write(path, RECORDINGS)
    h5py.File(path, "a").close()
    with room_for(room), pytest.raises(UserError, match="again.h5: cannot be written, the file is larger"):
        h5.reseal(path, again)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("room", [0, 100, 3000, 40_000])
def test_hdf5_goes_on_in_memory_and_the_error_comes_at_the_end(tmp_path, room):
    values = np.random.default_rng(0).random(20_000)
    with room_for(room), pytest.raises(OSError, match="File too large"):
        with new_file(tmp_path / "a.h5") as disk:
            with h5py.File(disk, "w") as file:
                for name in "abc":
                    file.create_dataset(name, data=values, chunks=(1000,), compression="gzip")
                np.testing.assert_array_equal(file["a"][:], values)
            disk.seek(0)
            with h5py.File(io.BytesIO(disk.read()), "r") as file:
                np.testing.assert_array_equal(file["c"][:], values)


def test_with_room_the_file_is_what_hdf5_makes(tmp_path):
    with new_file(tmp_path / "a.h5") as disk, h5py.File(disk, "w") as file:
        file["a"] = np.arange(1000)
        disk.check()
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["a"][:], np.arange(1000))
