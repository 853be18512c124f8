"""Writing spike trains, one recording at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping

import h5py
import numpy as np
from numpy.typing import DTypeLike

from snn_codec.cells import blocks
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.files import NewFile, new_file, replacing
from snn_codec.storage.h5.layout import (
    FORMAT,
    IN_FILE,
    MAX_INTEGER,
    MAX_TEXT_BYTES,
    NUMBERS,
    POPULATION,
    SONATA_MAGIC,
    SONATA_VERSION,
    SORTING,
    Recording,
)
from snn_codec.storage.h5.seal import seal
from snn_codec.storage.limits import check_chunk, check_memory, memory_of

HDF5_CHUNK = 4096  # rows; larger saves 3 % of the file and makes random access slower


def write(
    path: str | os.PathLike,
    recordings: Mapping[str, EventMatrix] | Iterable[tuple[str, EventMatrix]],
    *,
    compress: bool = False,
    force: bool = False,
) -> None:
    """Write recordings to one file, one at a time, so that an iterable of any length needs little memory.

    Without `compress` the data is packed by HDF5's own scale-offset filter, which every HDF5 reader has;
    with it by gzip, about half the size, which libsonata's wheel cannot read.

    Raises:
        UserError: No recordings, a bad or repeated name, recordings that one file cannot hold, or `path`
            cannot be written (`snn_codec.files.replacing`).
    """
    items = recordings.items() if isinstance(recordings, Mapping) else recordings
    with replacing(path, force=force) as temporary:
        with new_file(temporary) as disk:
            with h5py.File(disk, "w", libver=("v110", "v110")) as file:
                memory = _write(file, _while_there_is_room(items, disk), path, compress)
        seal(temporary)
        check_memory(path, memory, temporary.stat().st_size)


def _while_there_is_room(
    items: Iterable[tuple[str, EventMatrix]], disk: NewFile
) -> Iterator[tuple[str, EventMatrix]]:
    """The items, until one of them no longer fits on the disk."""
    for item in items:
        yield item
        disk.check()


def _write(file: h5py.File, items: Iterable[tuple[str, EventMatrix]], path: object, compress: bool) -> int:
    """Fill an empty HDF5 file; bytes of memory of the largest recording."""
    population = file.create_group(POPULATION)
    recordings: list[Recording] = []
    loudness: list[np.ndarray] = []
    levels: list[np.ndarray] = []
    floor: list[np.ndarray] = []
    indptr = [np.zeros(1, np.int64)]
    taken: set[str] = set()
    decimals, start_ms, memory = 0, 0.0, 0
    for name, events in items:
        recording = Recording(
            name, events.fingerprint, events.sample_rate, events.hop, events.n_samples, events.n_units,
            events.chunk_steps, int(len(events.loudness) > 0), start_ms, int(len(events.levels) > 0),
            events.floor.shape[1],
        )  # fmt: skip
        if not recordings:
            decimals = max(0, math.ceil(-math.log10(recording.step_ms / 16)))
            times, units = _create_population(population, decimals, compress)
        _check_recording(recording, taken, decimals, path)
        taken.add(name)
        for begin, end in blocks(events.n_units, events.n_steps):
            step, unit = events.cells.indices(begin, end)
            _append(times, np.round(start_ms + (begin + step + 0.5) * recording.step_ms, decimals))
            _append(units, unit.astype(np.uint64))
        starts = np.arange(0, events.n_steps, events.chunk_steps)
        per_clip = np.add.reduceat(events.step_counts(), starts)
        indptr.append(indptr[-1][-1] + np.cumsum(per_clip))
        for codes, given in ((loudness, events.loudness), (levels, events.levels)):
            codes.append(given if len(given) else np.zeros(recording.n_clips, np.uint8))
        floor.append(events.floor.reshape(-1))
        recordings.append(recording)
        memory = max(memory, memory_of(recording.n_units, recording.n_steps, events.n_events))
        start_ms = math.ceil((start_ms + recording.n_steps * recording.step_ms) * 10**decimals) / 10**decimals
    if not recordings:
        raise UserError(f"{path}: no recordings to write; pass at least one")
    clips = file.create_group("clips")
    _write_column(clips, "indptr", np.concatenate(indptr), None)
    _write_column(clips, "level", np.concatenate(loudness), compress)
    version = 2 if any(recording.has_levels for recording in recordings) else 1
    if any(recording.floor_bands for recording in recordings):
        version = 3
    if version > 1:
        _write_column(clips, "compression", np.concatenate(levels), compress)
    if version > 2:
        _write_column(clips, "floor", np.concatenate(floor), compress)
    _write_recordings(file.create_group("recordings"), recordings, compress, NUMBERS[version])
    file.attrs["magic"] = np.uint32(SONATA_MAGIC)
    file.attrs["version"] = np.array(SONATA_VERSION, np.uint32)
    clips.attrs["format"] = FORMAT
    clips.attrs["format_version"] = np.int64(version)
    return memory


def _create_population(group: h5py.Group, decimals: int, compress: bool) -> tuple[h5py.Dataset, h5py.Dataset]:
    """Empty `timestamps` and `node_ids`, as SONATA wants them."""
    group.attrs.create("sorting", SORTING["by_time"], dtype=h5py.enum_dtype(SORTING, basetype="u1"))
    times = _create(group, "timestamps", np.float64, compress, decimals)
    times.attrs["units"] = "ms"
    return times, _create(group, "node_ids", np.uint64, compress)


def _write_recordings(
    group: h5py.Group, recordings: list[Recording], compress: bool, numbers: tuple[str, ...]
) -> None:
    for name in ("name", "fingerprint"):
        texts = [getattr(recording, name).encode() for recording in recordings]
        dtype = h5py.string_dtype("utf-8", max(1, max(map(len, texts))))
        _write_column(group, name, np.array(texts, dtype), compress or None)
    for name in numbers:
        values = np.array([getattr(recording, name) for recording in recordings], np.int64)
        _write_column(group, IN_FILE.get(name, name), values, compress)
    _write_column(group, "start_ms", np.array([recording.start_ms for recording in recordings]), None)


def _write_column(group: h5py.Group, name: str, values: np.ndarray, compress: bool | None) -> None:
    _append(_create(group, name, values.dtype, compress, rows=min(len(values), HDF5_CHUNK)), values)


def _create(
    group: h5py.Group,
    name: str,
    dtype: DTypeLike,
    compress: bool | None,
    decimals: int | None = None,
    rows: int = HDF5_CHUNK,
) -> h5py.Dataset:
    """An empty, growing, checksummed dataset: gzip if `compress`, scale-offset if not, neither if it is None.

    h5py's own function refuses scale-offset with Fletcher-32, since it runs the checksum first, on bytes that
    a lossy filter would then change; here the checksum is the last filter, over the packed bytes.
    """
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((rows,))
    if compress:
        properties.set_shuffle()
        properties.set_deflate(6)
    elif compress is not None and decimals is not None:
        properties.set_scaleoffset(h5py.h5z.SO_FLOAT_DSCALE, decimals)
    elif compress is not None:
        properties.set_scaleoffset(h5py.h5z.SO_INT, h5py.h5z.SO_INT_MINBITS_DEFAULT)
    properties.set_fletcher32()
    space = h5py.h5s.create_simple((0,), (h5py.h5s.UNLIMITED,))
    kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, properties))


def _append(dataset: h5py.Dataset, values: np.ndarray) -> None:
    size = len(dataset)
    dataset.resize((size + len(values),))
    dataset[size:] = values


def _check_recording(recording: Recording, taken: set[str], decimals: int, path: object) -> None:
    """What the layout can hold: see the limits at the top."""
    name = recording.name
    if not isinstance(name, str) or not name or name in taken:
        raise UserError(f"{path}: {name!r} is no name, or that of two recordings; give each its own")
    for text in (name, recording.fingerprint):
        if not text.isprintable() or len(text.encode()) > MAX_TEXT_BYTES:
            raise UserError(
                f"{path}: {text!r} is not printable text of up to {MAX_TEXT_BYTES} bytes; shorten it"
            )
    end_ms = recording.start_ms + recording.n_steps * recording.step_ms
    numbers = [getattr(recording, name) for name in NUMBERS[1]]
    if max(*numbers, end_ms * 10**decimals) >= MAX_INTEGER:
        raise UserError(f"{path}: recording {recording.name!r} has a number that is too large for the file")
    if recording.step_ms * 10**decimals < 4:
        raise UserError(
            f"{path}: the steps of {recording.name!r} ({recording.step_ms:g} ms) are too short beside the "
            "first recording's; write recordings of such different step rates to separate files"
        )
    check_chunk(path, recording.n_units, min(recording.chunk_steps, recording.n_steps))
