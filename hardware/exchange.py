"""Features that go to another simulator, with the grid and loudness of their recording, and the spikes that come back.

    .npz       `data`: graded integers, int32 [width, steps], for a network of `snn_codec.hardware.netx`
    .nirdata   data of the node "input" of a graph of `snn_codec.hardware.nir`, in its steps: float32 [1, steps, width]

Both hold what an `EventMatrix` needs besides its events; without its loudness, and its levels if the model has any,
spikes could not be decoded, and without its floor not be filled in. In a .nirdata it is attributes of the file, and a
dataset for the floor, as attributes end at 64 KB; readers of NIR pass over both.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple, cast

import h5py
import numpy as np

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix, Metadata, steps_for
from snn_codec.files import replacing
from snn_codec.hardware.nir import STEP

FIELDS = ("sample_rate", "hop", "n_samples", "fingerprint", "loudness", "chunk_steps", "levels", "floor")
OPTIONAL = ("floor",)  # files of earlier versions have none
MOST_SECONDS = 1e9  # of a simulation
ROUNDING = 0.01  # of a step; times of k steps may be a little less than k times the step
UNREADABLE = (
    OSError, ValueError, LookupError, EOFError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def write_graded(
    path: str | os.PathLike, graded: np.ndarray, events: EventMatrix, *, force: bool = False
) -> None:
    """Write graded integers `[width, steps]` of the recording with these events to an .npz file.

    Raises:
        UserError: `path` cannot be written (`snn_codec.files.replacing`).
    """
    with replacing(path, force=force) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, data=graded, n_units=events.n_units, **_arrays(events))


def write_features(
    path: str | os.PathLike, features: np.ndarray, events: EventMatrix, *, force: bool = False
) -> None:
    """Write features `[width, steps]` of the recording with these events as NIRData.

    Raises:
        UserError: The package nir is missing or too old, or `path` cannot be written.
    """
    try:
        import nir

        write_data = nir.write_data
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"{path}: NIRData needs nir 1.0.8 or newer; install it with pip install nir"
        ) from error
    data = nir.TimeGriddedData(np.ascontiguousarray(features.T[None], np.float32), STEP)
    node = nir.NIRNodeData(observables={"features": data})
    with replacing(path, force=force) as temporary:
        write_data(str(temporary), nir.NIRGraphData(nodes={"input": node}))
        with h5py.File(temporary, "r+") as file:
            arrays = _arrays(events)
            file["floor"] = arrays.pop("floor")
            file.attrs.update(arrays, n_units=events.n_units)


def _arrays(events: EventMatrix) -> dict[str, Any]:
    return {name: np.asarray(getattr(events, name)) for name in FIELDS if name != "fingerprint"} | {
        "fingerprint": events.fingerprint
    }


def grid(path: str | os.PathLike) -> tuple[int, Metadata]:
    """Of the recording whose features a file holds: the number of units, and what an `EventMatrix` has besides events.

    Raises:
        UserError: The file is missing, damaged, or was not written by `export netx` or `export nir`.
    """
    found = _contents(path)
    missing = [name for name in (*FIELDS, "n_units") if name not in found and name not in OPTIONAL]
    if missing:
        raise UserError(
            f"{path}: lacks {missing[0]}; give the features that `export netx` or `export nir` wrote"
        )
    try:
        units, metadata = int(found["n_units"]), _metadata(found)
        EventMatrix.from_indices(np.zeros(0, int), np.zeros(0, int), units, **metadata)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, MemoryError) as error:
        raise UserError(f"{path}: is not of a recording ({error}); export the features again") from error
    return units, metadata


def _metadata(found: dict[str, Any]) -> Metadata:
    numbers = {name: int(found[name]) for name in ("sample_rate", "hop", "n_samples", "chunk_steps")}
    codes = {name: _codes(name, found[name]) for name in ("loudness", "levels", "floor") if name in found}
    return cast(Metadata, {"fingerprint": str(found["fingerprint"]), **numbers, **codes})


def _codes(name: str, values: Any) -> np.ndarray:
    codes = np.asarray(values)
    if codes.dtype != np.uint8 and np.any((codes < 0) | (codes > 255) | (codes % 1 != 0)):
        raise ValueError(f"{name} must be whole numbers from 0 to 255")
    return codes.astype(np.uint8)


def features(path: str | os.PathLike) -> np.ndarray:
    """The features in a file: int32 (.npz) or float32 (.nirdata) `[width, steps]`.

    Raises:
        UserError: The file is missing, damaged, or holds no matrix.
    """
    found = _contents(path)
    if not isinstance(found.get("data"), np.ndarray) or found["data"].ndim != 2:
        raise UserError(f"{path}: holds no features; give what `export netx` or `export nir` wrote")
    return found["data"]


def spikes_back(
    path: str | os.PathLike, like: str | os.PathLike, *, late: int = 0, cut: bool = False
) -> EventMatrix:
    """The spikes that another simulator made of a recording's features, as its events.

    Args:
        path: An .npy file, an .npz file with the array `data`, or NIRData. A matrix is `[units, steps]` or
            `[steps, units]`, of 0 and 1; with as many units as steps, it is `[units, steps]`. Events of NIRData have
            their times in steps of the graph (`snn_codec.hardware.nir.STEP`); or in seconds of the recording, if their
            `t_max` is as long as it.
        like: The file of features (`write_graded`, `write_features`).
        late: Steps at the beginning that are before the first input; they are left out.
        cut: Leave out spikes after the last step, too, which are refused otherwise.

    Raises:
        UserError: A file cannot be used, or the spikes are not of this recording.
    """
    units, metadata = grid(like)
    steps = steps_for(metadata["n_samples"], metadata["hop"])
    found = _contents(path)
    spikes = found.get("data")
    wanted = f"{units} units and {steps} steps" + (f", {late} steps late" if late else "")
    if isinstance(spikes, _Times):
        seconds = metadata["hop"] / metadata["sample_rate"]
        spikes = spikes.in_steps(seconds if spikes.end / seconds + ROUNDING >= steps else STEP)
    elif spikes is None or spikes.ndim != 2:
        raise UserError(f"{path}: holds no matrix of spikes; save one of {wanted}")
    elif spikes.shape[1] == units != spikes.shape[0]:
        spikes = spikes.T
    if spikes.shape[0] != units or spikes.shape[1] < late + steps:
        raise UserError(f"{path}: has {spikes.shape[0]} x {spikes.shape[1]} cells, where {like} has {wanted}")
    unit, step = (spikes.unit, spikes.step) if isinstance(spikes, _Steps) else _ones(path, spikes)
    after = int(np.sum(step >= late + steps))
    if after and not cut:
        raise UserError(
            f"{path}: has {after} spikes after the last of {steps} steps; if its steps are those of {like}, leave "
            "them out with --cut"
        )
    kept = (step >= late) & (step < late + steps)
    try:
        return EventMatrix.from_indices(step[kept] - late, unit[kept], units, **metadata)
    except ValueError as error:
        raise UserError(f"{path}: {error}; save each spike once, in a step of {like}") from error


def _ones(path: str | os.PathLike, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit and step of the spikes in a matrix `[units, steps]`."""
    if data.dtype.kind not in "biuf":
        raise UserError(f"{path}: holds {data.dtype}, where spikes are 0 or 1; save numbers")
    other = data[(data != 0) & (data != 1)]
    if other.size:
        raise UserError(
            f"{path}: holds {other[0]:g}, where spikes are 0 or 1; save which units fired, not potentials or "
            "amplitudes"
        )
    unit, step = np.nonzero(data)
    return unit, step


class _Steps(NamedTuple):
    """Unit and step of each event, and how many units and steps there are."""

    unit: np.ndarray
    step: np.ndarray
    shape: tuple[int, int]


class _Times(NamedTuple):
    """Unit and second of each event of NIRData, how many units there are, and the second of the end."""

    unit: np.ndarray
    second: np.ndarray
    units: int
    end: float

    def in_steps(self, seconds: float) -> _Steps:
        """In steps of so many seconds."""
        step = np.floor(self.second / seconds + ROUNDING)
        return _Steps(self.unit, step.astype(np.int64), (self.units, int(self.end / seconds + ROUNDING)))


def _contents(path: str | os.PathLike) -> dict[str, Any]:
    """What a file of features or spikes holds: its attributes, and `data`, a matrix or events."""
    path, kinds = Path(path), "give an .npy, .npz or NIRData file"
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {kinds}") from error
    try:
        if path.suffix in (".npy", ".npz"):
            loaded = np.load(path)
            if isinstance(loaded, np.ndarray):
                return {"data": loaded}
            with loaded:
                return dict(loaded)
        with h5py.File(path, "r") as file:
            # in earlier versions it was an attribute
            floor = {"floor": file["floor"][()]} if "floor" in file else {}
            return dict(file.attrs) | floor | _observable(path, file)
    except UserError:
        raise
    except UNREADABLE as error:
        raise UserError(f"{path}: cannot be read (it is damaged, or of another kind); {kinds}") from error


def _observable(path: Path, file: h5py.File) -> dict[str, Any]:
    """The first observable of NIRData: `data` as `[width, steps]`, or events."""
    for node in file["nodes"].values():
        for observable in node["observables"].values():
            samples = observable["data" if "data" in observable else "time"]
            if len(samples) != 1:
                raise UserError(f"{path}: holds {len(samples)} samples; save the one of the recording")
            return {"data": samples[0].T if "data" in observable else _times(observable)}
    raise KeyError("observables")


def _times(observable: h5py.Group) -> _Times:
    unit, second = observable["idx"][0].astype(np.int64), observable["time"][0].astype(np.float64)
    real = (unit >= 0) & np.isfinite(second)  # the others fill the row up
    end = float(observable.attrs["t_max"])
    if not np.all((second[real] >= 0) & (second[real] < MOST_SECONDS)) or not 0 <= end < MOST_SECONDS:
        raise ValueError("times")
    return _Times(unit[real], second[real], int(observable.attrs["n_neurons"]), end)
