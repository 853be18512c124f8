"""The metadata of a file, read whole and checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import h5py
import numpy as np

from snn_codec.floor import MAX_BANDS, TOP
from snn_codec.storage.h5.faults import Damaged, Foreign
from snn_codec.storage.h5.layout import (
    FORMAT,
    IN_FILE,
    MAX_INTEGER,
    MAX_TEXT_BYTES,
    NUMBERS,
    VERSIONS,
    Recording,
)


class Tables(NamedTuple):
    """Recordings by name with their first clip and first code of the floor, and `/clips`."""

    rows: dict[str, tuple[Recording, int, int]]
    indptr: np.ndarray
    loudness: np.ndarray
    levels: np.ndarray
    floor: np.ndarray


def read_tables(file: h5py.File, size: int) -> Tables:
    """The metadata of a file, all checked against each other."""
    clips = file["clips"] if "clips" in file else None
    if clips is None or clips.attrs.get("format") != FORMAT:
        raise Foreign("holds other data")
    version = clips.attrs.get("format_version")
    if version not in VERSIONS:
        known = ", ".join(map(str, VERSIONS))
        raise Foreign(f"is version {version} of the format, and this program reads {known}")
    indptr = _read_column(file, "clips/indptr", "i", size)
    if not len(indptr) or indptr[0] != 0 or np.any(np.diff(indptr) < 0):
        raise Damaged("the clip index is not ascending")
    n_clips = len(indptr) - 1
    loudness = levels = _read_column(file, "clips/level", "u", size, n_clips)
    if version > 1:
        levels = _read_column(file, "clips/compression", "u", size, n_clips)
    floor = np.zeros(0, np.uint8)
    if version > 2:
        floor = _read_column(file, "clips/floor", "u", size)
    if loudness.dtype != np.uint8 or levels.dtype != np.uint8 or floor.dtype != np.uint8:
        raise Damaged("levels are not bytes")
    rows: dict[str, tuple[Recording, int, int]] = {}
    clip = code = 0
    for recording in _read_recordings(file, size, NUMBERS[version]):
        numbers = [getattr(recording, name) for name in NUMBERS[1]]
        if recording.name in rows or not 1 <= min(numbers[:-1]) <= max(numbers) < MAX_INTEGER:
            raise Damaged(f"recording {recording.name!r} is there twice or has an impossible number")
        if (
            not {recording.has_loudness, recording.has_levels} <= {0, 1}
            or not 0 <= recording.start_ms < MAX_INTEGER
            or not 0 <= recording.floor_bands <= MAX_BANDS
        ):
            raise Damaged(f"recording {recording.name!r} has an impossible number")
        if recording.n_clips > n_clips - clip:
            raise Damaged("the recordings have more clips than the file")
        rows[recording.name] = recording, clip, code
        clip += recording.n_clips
        code += recording.n_clips * recording.floor_bands
    if not rows or clip != n_clips or code != len(floor):
        raise Damaged("the file has clips of no recording")
    if np.any(floor > TOP):
        raise Damaged("a code of the floor is impossible")
    return Tables(rows, indptr, loudness, levels, floor)


def _read_recordings(file: h5py.File, size: int, names: tuple[str, ...]) -> Iterator[Recording]:
    starts = _read_column(file, "recordings/start_ms", "f", size)
    texts = [
        _read_column(file, f"recordings/{name}", "S", size, len(starts)) for name in ("name", "fingerprint")
    ]
    columns = [f"recordings/{IN_FILE.get(name, name)}" for name in names]
    numbers = [_read_column(file, column, "i", size, len(starts)).tolist() for column in columns]
    for row, start_ms in enumerate(starts.tolist()):
        name, fingerprint = (bytes(text[row]).decode() for text in texts)
        values = {number: column[row] for number, column in zip(names, numbers, strict=True)}
        yield Recording(name, fingerprint, **values, start_ms=start_ms)


def open_dataset(file: h5py.File, name: str, kind: str) -> h5py.Dataset:
    """A one-dimensional dataset of this file whose type is of the numpy kind `kind`."""
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 or dataset.dtype.kind != kind:
        raise Damaged(f"{name} is not the kind of data it should be")
    if dataset.is_virtual or dataset.external:
        raise Damaged(f"{name} points to another file")
    return dataset


def _read_column(file: h5py.File, name: str, kind: str, size: int, rows: int | None = None) -> np.ndarray:
    """A metadata column, read whole; its rows are bounded by the file's size before anything is allocated."""
    dataset = open_dataset(file, name, kind)
    if dataset.dtype.itemsize > MAX_TEXT_BYTES or len(dataset) > size:
        raise Damaged(f"{name} is larger than the file")
    if rows is not None and len(dataset) != rows:
        raise Damaged(f"{name} has {len(dataset)} rows, not {rows}")
    return dataset[()]
