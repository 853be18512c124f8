"""Features that go to another simulator, with the grid and loudness of their recording, and the spikes that come back.

    .npz       `data`: graded integers, int32 [width, steps], for a network of `snn_codec.hardware.netx`
    .nirdata   data of the node "input" of a graph of `snn_codec.hardware.nir`, in its steps: float32 [1, steps, width]

Both hold what an `EventMatrix` needs besides its events; without its loudness, and its levels if the model has any,
spikes could not be decoded, and without its floor not be filled in. In a .nirdata it is attributes of the file, which
readers of NIR pass over.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix, Metadata, steps_for
from snn_codec.files import replacing
from snn_codec.hardware.nir import STEP

FIELDS = ("sample_rate", "hop", "n_samples", "fingerprint", "loudness", "chunk_steps", "levels", "floor")
OPTIONAL = ("floor",)  # files of earlier versions have none


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
            file.attrs.update(_arrays(events), n_units=events.n_units)


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
    numbers: dict[str, Any] = {
        name: int(found[name]) for name in ("sample_rate", "hop", "n_samples", "chunk_steps")
    }
    codes: dict[str, Any] = {
        name: np.asarray(found[name], np.uint8) for name in ("loudness", "levels", "floor") if name in found
    }
    return int(found["n_units"]), cast(
        Metadata, {"fingerprint": str(found["fingerprint"]), **numbers, **codes}
    )


def features(path: str | os.PathLike) -> np.ndarray:
    """The features in a file: int32 (.npz) or float32 (.nirdata) `[width, steps]`.

    Raises:
        UserError: As `grid`.
    """
    found = _contents(path)
    if "data" not in found:
        raise UserError(f"{path}: holds no features; give what `export netx` or `export nir` wrote")
    return found["data"]


def spikes_back(path: str | os.PathLike, like: str | os.PathLike, *, late: int = 0) -> EventMatrix:
    """The spikes that another simulator made of a recording's features, as its events.

    Args:
        path: An .npy file, an .npz file with the array `data`, or NIRData, of spikes `[units, steps]` or
            `[steps, units]`; what is not 0 is a spike. With as many units as steps, it is `[units, steps]`.
        like: The file of features (`write_graded`, `write_features`).
        late: Steps at the beginning that are before the first input; steps after the last are left out.

    Raises:
        UserError: A file cannot be used, or the spikes are not of this recording.
    """
    units, metadata = grid(like)
    steps = steps_for(metadata["n_samples"], metadata["hop"])
    data = _contents(path).get("data")
    if data is None or data.ndim != 2:
        raise UserError(f"{path}: holds no matrix of spikes; save one of {units} units and {steps} steps")
    spikes = data if data.shape[0] == units else data.T
    if spikes.shape[0] != units or spikes.shape[1] - late < steps:
        raise UserError(
            f"{path}: has {data.shape[0]} x {data.shape[1]} cells, where {like} has {units} units and {steps} steps"
            + (f", {late} steps late" if late else "")
        )
    return EventMatrix(spikes[:, late : late + steps] != 0, **metadata)


def _contents(path: str | os.PathLike) -> dict[str, Any]:
    """What a file of features or spikes holds: its attributes, and the matrix `data`."""
    path = Path(path)
    try:
        if path.suffix == ".npy":
            return {"data": np.load(path)}
        if path.suffix == ".npz":
            with np.load(path) as file:
                return dict(file)
        with h5py.File(path, "r") as file:
            return dict(file.attrs) | _observable(file)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or "it is damaged, or of another kind"
        raise UserError(f"{path}: cannot be read ({reason}); give an .npy, .npz or NIRData file") from error


def _observable(file: h5py.File) -> dict[str, np.ndarray]:
    """The first observable of NIRData as `[width, steps]`."""
    for node in file["nodes"].values():
        for observable in node["observables"].values():
            if "data" in observable:
                return {"data": observable["data"][0].T}
            steps = np.floor(observable["time"][0] / STEP)
            known = np.isfinite(steps)
            data = np.zeros((int(observable.attrs["n_neurons"]), int(observable.attrs["t_max"] / STEP)), bool)
            data[observable["idx"][0][known], steps[known].astype(int)] = True
            return {"data": data}
    raise KeyError("observables")
