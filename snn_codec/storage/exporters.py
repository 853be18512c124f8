"""Export of events to formats of other programs; only `.h5` and `.spk` can be read back.

    shd       the layout of the Spiking Heidelberg Digits (tonic, snntorch); labels count the recordings
    nwb       Neurodata Without Borders, one recording (pynwb, neo); needs pynwb
    nirdata   data for the Neuromorphic Intermediate Representation; needs nir 1.0.8
    csv       one row an event: recording, unit, step, seconds
    npz       arrays `unit` and `step` of the events, `indptr` and the other columns by recording

An event's time is the middle of its step, so that rounding down to steps gives the step back.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.files import new_file, replacing
from snn_codec.storage import npz

Recordings = Mapping[str, EventMatrix] | Iterable[tuple[str, EventMatrix]]


def export(path: str | os.PathLike, kind: str, recordings: Recordings, *, force: bool = False) -> None:
    """Write recordings to `path` in one of `EXPORTERS`.

    Raises:
        UserError: There is no such exporter, no recordings or more than the format can hold, a package is missing, or
            `path` cannot be written (`snn_codec.files.replacing`).
    """
    if kind not in EXPORTERS:
        raise UserError(f"{path}: cannot be exported as {kind!r}; use one of {', '.join(EXPORTERS)}")
    items = list(recordings.items() if isinstance(recordings, Mapping) else recordings)
    if not items:
        raise UserError(f"{path}: no recordings to write; pass at least one")
    with replacing(path, force=force) as temporary:
        try:
            EXPORTERS[kind](temporary, items)
        except _CannotHold as error:
            raise UserError(f"{path}: {error}") from error
        except ImportError as error:
            raise UserError(f"{path}: {kind} needs the package {error.name}; install it with pip") from error


class _CannotHold(Exception):
    """The form cannot hold these recordings."""


def _times(events: EventMatrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit, step and second of every event, by step and then by unit."""
    step, unit = events.indices()
    return unit, step, events.seconds(step)


def _by_chunk(events: EventMatrix) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Step and unit of every event, chunk by chunk: lists of hours take hundreds of megabytes."""
    for number, cells in enumerate(events.chunk_cells()):
        step, unit = cells.indices()
        yield step + number * events.chunk_steps, unit


def _shd(path: Path, items: list[tuple[str, EventMatrix]]) -> None:
    import h5py

    with new_file(path) as disk, h5py.File(disk, "w") as file:
        for name, dtype in (("times", np.float64), ("units", np.uint16)):
            if max(events.n_units for _, events in items) > 2**16:
                raise _CannotHold("shd holds 65536 units at most")
            data = file.create_dataset(f"spikes/{name}", (len(items),), h5py.vlen_dtype(dtype))
            for row, (_, events) in enumerate(items):
                unit, _, second = _times(events)
                data[row] = second if name == "times" else unit
        file["labels"] = np.arange(len(items), dtype=np.uint16 if len(items) < 2**16 else np.uint32)
        file["extra/keys"] = np.array([name.encode() for name, _ in items])
        file["extra/speaker"] = np.zeros(len(items), np.uint16)
        for field in ("sample_rate", "hop", "n_samples", "n_units"):
            file[f"extra/{field}"] = np.array([getattr(events, field) for _, events in items])


def _nwb(path: Path, items: list[tuple[str, EventMatrix]]) -> None:
    import h5py
    import pynwb

    if len(items) > 1:
        raise _CannotHold(f"nwb holds one recording, not {len(items)}; choose one with --recording")
    ((name, events),) = items
    grid = {field: getattr(events, field) for field in ("sample_rate", "hop", "n_samples", "n_units")}
    file = pynwb.NWBFile(
        session_description=f"Events of snn_codec, coded from {name}",
        identifier=f"{name} {events.fingerprint}".strip(),
        session_start_time=datetime(1970, 1, 1, tzinfo=timezone.utc),  # not known
        notes=json.dumps(grid | {"fingerprint": events.fingerprint}),
    )
    unit, _, second = _times(events)
    order = np.argsort(unit, kind="stable")
    trains = np.split(second[order], np.cumsum(events.unit_counts())[:-1])
    for number, train in enumerate(trains):
        file.add_unit(id=number, spike_times=train, obs_intervals=[[0.0, events.n_steps / events.step_rate]])
    with new_file(path) as disk, h5py.File(disk, "w") as container:
        with pynwb.NWBHDF5IO(file=container, mode="w") as out:
            out.write(file)


def _nirdata(path: Path, items: list[tuple[str, EventMatrix]]) -> None:
    import nir

    if not hasattr(nir, "write_data"):
        raise _CannotHold("nirdata needs nir 1.0.8 or newer; upgrade it with pip")
    grids = {(events.n_units, events.step_rate) for _, events in items}
    if len(grids) > 1:
        raise _CannotHold("nirdata holds recordings of one number of units and one step rate")
    ((n_units, step_rate),) = grids
    longest = max(events.n_events for _, events in items)
    index = np.full((len(items), longest), -1)
    time = np.full((len(items), longest), np.inf)
    for row, (_, events) in enumerate(items):
        unit, _, second = _times(events)
        index[row, : len(unit)], time[row, : len(unit)] = unit, second
    n_steps = max(events.n_steps for _, events in items)
    # nir takes int(t_max / dt) for the number of steps, which must not be rounded down to one less
    data = nir.EventData(index, time, n_units, (n_steps + 0.25) / step_rate)
    node = nir.NIRNodeData(observables={"spikes": data})
    with new_file(path) as disk:
        nir.write_data(disk, nir.NIRGraphData(nodes={"units": node}))


def _csv(path: Path, items: list[tuple[str, EventMatrix]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["recording", "unit", "step", "seconds"])
        for name, events in items:
            for step, unit in _by_chunk(events):
                second = np.round(events.seconds(step), 6).tolist()
                table.writerows(
                    (name, *row) for row in zip(unit.tolist(), step.tolist(), second, strict=True)
                )


def _npz(path: Path, items: list[tuple[str, EventMatrix]]) -> None:
    fields = ("sample_rate", "hop", "n_samples", "n_units", "n_steps", "fingerprint")
    arrays: dict[str, Any] = {
        field: np.array([getattr(events, field) for _, events in items]) for field in fields
    }
    arrays["recording"] = np.array([name for name, _ in items])
    arrays["indptr"] = np.cumsum([0, *(events.n_events for _, events in items)])
    shape = (int(arrays["indptr"][-1]),)
    arrays["unit"] = npz.Parts(shape, np.int64, (unit for _, each in items for _, unit in _by_chunk(each)))
    arrays["step"] = npz.Parts(shape, np.int64, (step for _, each in items for step, _ in _by_chunk(each)))
    npz.write(path, arrays)


EXPORTERS: dict[str, Callable[[Path, list[tuple[str, EventMatrix]]], None]] = {
    "shd": _shd,
    "nwb": _nwb,
    "nirdata": _nirdata,
    "csv": _csv,
    "npz": _npz,
}
