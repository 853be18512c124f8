"""HDF5 spike trains (`.h5`), the analysis form: many recordings in one SONATA file, exact integers kept.

    write("corpus.h5", {"a": events_a, "b": events_b})
    read("corpus.h5", "a")                                  # -> EventMatrix, equal to events_a
    trains = SpikeTrains("corpus.h5")                       # lazy; a Mapping from name to EventMatrix
    trains.window("a", 1000, 1256)                          # -> bool [units, 256], reads only what it needs

Layout, version 1, or 2 if recordings have levels (every dataset is one-dimensional and carries
Fletcher-32 checksums):

    /                         magic, version: a SONATA file
    /spikes/units             sorting = by_time; one flat population, the recordings one after the other
        timestamps            float64 ms, the middle of the event's step, to within 1/8 step
        node_ids              uint64 unit
    /clips                    one row a chunk of `chunk_steps` steps; a recording starts a new clip
        indptr                int64 [clips + 1]: the events of clip c are indptr[c]:indptr[c + 1]
        level                 uint8 code of the loudness, 0 where the recording has none
        compression           version 2: uint8 code of the level, 0 where the recording has none
    /recordings               one row a recording
        name, fingerprint     UTF-8, fixed length
        sample_rate, hop, n_samples, n_units, chunk_steps, has_levels; version 2: has_compression
        start_ms              float64; step = floor((timestamp - start_ms) * sample_rate / (1000 hop))

Behind the HDF5 file stands a seal, which HDF5 readers ignore: 8 bytes `SNNSEAL1` and the CRC-32 of all before,
4 bytes, little-endian. It is checked before HDF5 sees the file, because the HDF5 library can crash on damaged
metadata, and Fletcher-32 covers the data only. A file that another program has changed has lost it.

HDF5 costs kilobytes a file: never quote its size as a bit rate (`snn_codec.storage.spk` is for that).
"""

from __future__ import annotations

import difflib
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix, steps_for
from snn_codec.files import replacing
from snn_codec.storage.limits import check_cells, check_chunk

FORMAT = "snn_codec.spiketrains"
VERSIONS = 1, 2  # without and with levels
POPULATION = "spikes/units"
SONATA_MAGIC, SONATA_VERSION = 0x0A7A, (0, 1)
SORTING = {"none": 0, "by_id": 1, "by_time": 2}

HDF5_CHUNK = 4096  # rows; larger saves 3 % of the file and makes random access slower
BLOCK_STEPS = 2**13  # written at once, as lists of events take many times the memory of their cells
MAX_TEXT_BYTES = 255
MAX_INTEGER = 2**53  # of any metadata field, and of a timestamp in units of its resolution
SEAL = b"SNNSEAL1"

# What h5py and numpy raise on a file whose seal is right and whose content is not.
_H5PY_ERRORS = (
    OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError,
)  # fmt: skip

_NUMBERS = {1: ("sample_rate", "hop", "n_samples", "n_units", "chunk_steps", "has_loudness")}
_NUMBERS[2] = (*_NUMBERS[1], "has_levels")
_IN_FILE = {"has_loudness": "has_levels", "has_levels": "has_compression"}  # where a column has an older name


@dataclass(frozen=True)
class Recording:
    """What the file says about one recording, without its events."""

    name: str
    fingerprint: str
    sample_rate: int
    hop: int
    n_samples: int
    n_units: int
    chunk_steps: int
    has_loudness: int
    start_ms: float
    has_levels: int = 0

    @property
    def n_steps(self) -> int:
        """T, the number of steps."""
        return steps_for(self.n_samples, self.hop)

    @property
    def n_clips(self) -> int:
        """Rows in `/clips`."""
        return steps_for(self.n_steps, self.chunk_steps)

    @property
    def step_ms(self) -> float:
        """Length of a step in milliseconds."""
        return 1000 * self.hop / self.sample_rate


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
        try:
            with h5py.File(temporary, "w", libver=("v110", "v110")) as file:
                cells = _write(file, items, path, compress)
            seal(temporary)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error}); is the disk full?") from error
        check_cells(path, cells, temporary.stat().st_size)


def read(path: str | os.PathLike, name: str | None = None) -> EventMatrix:
    """The recording `name`, or the only one of the file if `name` is None.

    Raises:
        UserError: As `SpikeTrains`, the file has no such recording, or `name` is None and it has several.
    """
    with SpikeTrains(path) as trains:
        if name is None:
            if len(trains) != 1:
                raise UserError(f"{path}: holds {len(trains)} recordings; name one of {_list(trains)}")
            name = next(iter(trains))
        return trains[name]


def names(path: str | os.PathLike) -> list[str]:
    """Names of the recordings of a file, in the file's order.

    Raises:
        UserError: As `SpikeTrains`.
    """
    with SpikeTrains(path) as trains:
        return list(trains)


def seal(path: str | os.PathLike) -> None:
    """Append the seal to a complete HDF5 file."""
    with open(path, "r+b") as file:
        checksum = _checksum(file, os.path.getsize(path))
        file.write(SEAL + checksum)


class SpikeTrains(Mapping[str, EventMatrix]):
    """Lazy reader of a file: a mapping from name to `EventMatrix`, in the file's order.

    Opening checks the seal, about a second a gigabyte, and reads the metadata; events are read on access.
    Pickling keeps the path, and a forked or spawned worker opens the file for itself, without checking the seal
    of an unchanged file again.

    Args:
        path: A file, or a seekable binary file object (which cannot be pickled).

    Raises:
        UserError: The file is missing, damaged, or no spike trains of this package; also on later access.
    """

    def __init__(self, path: str | os.PathLike | BinaryIO) -> None:
        self.path = path if hasattr(path, "seek") else Path(path)
        self._file: h5py.File | None = None
        self._process = 0
        self._sealed: tuple[int, int] | None = (
            None  # size and time of change of the file whose seal was right
        )
        self._open()

    def __getstate__(self) -> dict:
        return {"path": self.path, "_sealed": self._sealed, "_file": None, "_process": 0}

    def __enter__(self) -> SpikeTrains:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    def __len__(self) -> int:
        self._open()
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        self._open()
        return iter(self._rows)

    def __contains__(self, name: object) -> bool:
        self._open()
        return name in self._rows

    def __getitem__(self, name: str) -> EventMatrix:
        recording, clip = self._find(name)
        events = self._clips(recording, clip, 0, recording.n_clips)
        loudness = self._loudness[clip : clip + recording.n_clips * recording.has_loudness]
        levels = self._levels[clip : clip + recording.n_clips * recording.has_levels]
        fields = (recording.sample_rate, recording.hop, recording.n_samples, recording.fingerprint)
        return EventMatrix(events, *fields, loudness, recording.chunk_steps, levels)

    def info(self, name: str) -> Recording:
        """What is known about a recording without reading its events.

        Raises:
            UserError: No such recording.
        """
        return self._find(name)[0]

    def window(self, name: str, start: int, stop: int) -> np.ndarray:
        """The events of steps [start, stop) of a recording: bool `[units, stop - start]`.

        Reads only the clips that hold the window.

        Raises:
            UserError: No such recording, or the file was damaged since it was opened.
            ValueError: Not 0 <= start <= stop <= T.
        """
        recording, clip = self._find(name)
        if not 0 <= start <= stop <= recording.n_steps:
            raise ValueError(f"steps {start}..{stop} are not inside {name!r} (0..{recording.n_steps})")
        first, last = start // recording.chunk_steps, steps_for(stop, recording.chunk_steps)
        events = self._clips(recording, clip, first, max(first, last))
        offset = first * recording.chunk_steps
        return events[:, start - offset : stop - offset]

    def _find(self, name: str) -> tuple[Recording, int]:
        self._open()
        if name not in self._rows:
            near = difflib.get_close_matches(str(name), self._rows, n=3) or list(self._rows)[:3]
            raise UserError(f"{self.path}: has no recording {name!r}; near it: {', '.join(near)}")
        return self._rows[name]

    def _open(self) -> None:
        """Open the file if this process has not done so, and read and check everything but the events."""
        if self._file is not None and self._process == os.getpid():
            return
        with _damage(self.path):
            self._check_seal()
            file = h5py.File(self.path, "r")
        try:
            with _damage(self.path):
                size = file.id.get_filesize()
                self._rows, self._indptr, self._loudness, self._levels = _read_tables(file, size)
                self._times = _dataset(file, f"{POPULATION}/timestamps", "f")
                self._units = _dataset(file, f"{POPULATION}/node_ids", "u")
                if not len(self._times) == len(self._units) == self._indptr[-1]:
                    raise _Damaged("the number of events is not what its index says")
            for recording, _ in self._rows.values():
                check_chunk(self.path, recording.n_units, min(recording.chunk_steps, recording.n_steps))
                check_cells(self.path, recording.n_units * recording.n_steps, size)
        except BaseException:
            file.close()
            raise
        self._file, self._process = file, os.getpid()

    def _check_seal(self) -> None:
        if hasattr(self.path, "seek"):
            _check_seal(self.path)
            return
        with open(self.path, "rb") as file:
            status = os.fstat(file.fileno())
            if self._sealed != (status.st_size, status.st_mtime_ns):
                _check_seal(file)
                self._sealed = status.st_size, status.st_mtime_ns

    def _clips(self, recording: Recording, row: int, first: int, last: int) -> np.ndarray:
        """Events of the clips first..last of a recording that starts at row `row` of `/clips`."""
        offset = first * recording.chunk_steps
        steps = min(last * recording.chunk_steps, recording.n_steps) - offset
        events = np.zeros((recording.n_units, steps), bool)
        start_ms = recording.start_ms + offset * recording.step_ms
        begin, end = int(self._indptr[row + first]), int(self._indptr[row + last])
        with _damage(self.path, f"events of {recording.name!r}"):
            for block in range(begin, end, 2**18):
                part = slice(block, min(block + 2**18, end))
                unit = self._units[part]
                step = np.floor((self._times[part] - start_ms) / recording.step_ms)
                if not (np.all(unit < recording.n_units) and np.all((step >= 0) & (step < steps))):
                    raise _Damaged("an event lies outside its recording")
                events[unit.astype(np.int64), step.astype(np.int64)] = True
            if np.count_nonzero(events) != end - begin:
                raise _Damaged("an event is there twice")
        return events


def _write(file: h5py.File, items: Iterable[tuple[str, EventMatrix]], path: object, compress: bool) -> int:
    """Fill an empty HDF5 file; the cells of the largest recording."""
    population, recordings = file.create_group(POPULATION), []
    loudness, levels, indptr = [], [], [np.zeros(1, np.int64)]
    taken: set[str] = set()
    decimals, start_ms = 0, 0.0
    for name, events in items:
        recording = Recording(
            name, events.fingerprint, events.sample_rate, events.hop, events.n_samples, events.n_units,
            events.chunk_steps, int(len(events.loudness) > 0), start_ms, int(len(events.levels) > 0),
        )  # fmt: skip
        if not recordings:
            decimals = max(0, math.ceil(-math.log10(recording.step_ms / 16)))
            times, units = _create_population(population, decimals, compress)
        _check_recording(recording, taken, decimals, path)
        taken.add(name)
        for begin in range(0, events.n_steps, BLOCK_STEPS):
            step, unit = np.nonzero(events.events[:, begin : begin + BLOCK_STEPS].T)
            _append(times, np.round(start_ms + (begin + step + 0.5) * recording.step_ms, decimals))
            _append(units, unit.astype(np.uint64))
        starts = np.arange(0, events.n_steps, events.chunk_steps)
        per_clip = np.add.reduceat(np.count_nonzero(events.events, axis=0), starts)
        indptr.append(indptr[-1][-1] + np.cumsum(per_clip))
        for codes, given in ((loudness, events.loudness), (levels, events.levels)):
            codes.append(given if len(given) else np.zeros(recording.n_clips, np.uint8))
        recordings.append(recording)
        start_ms = math.ceil((start_ms + recording.n_steps * recording.step_ms) * 10**decimals) / 10**decimals
    if not recordings:
        raise UserError(f"{path}: no recordings to write; pass at least one")
    clips = file.create_group("clips")
    _write_column(clips, "indptr", np.concatenate(indptr), None)
    _write_column(clips, "level", np.concatenate(loudness), compress)
    version = VERSIONS[any(recording.has_levels for recording in recordings)]
    if version > 1:
        _write_column(clips, "compression", np.concatenate(levels), compress)
    _write_recordings(file.create_group("recordings"), recordings, compress, _NUMBERS[version])
    file.attrs["magic"] = np.uint32(SONATA_MAGIC)
    file.attrs["version"] = np.array(SONATA_VERSION, np.uint32)
    clips.attrs["format"] = FORMAT
    clips.attrs["format_version"] = np.int64(version)
    return max(recording.n_units * recording.n_steps for recording in recordings)


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
        _write_column(group, _IN_FILE.get(name, name), values, compress)
    _write_column(group, "start_ms", np.array([recording.start_ms for recording in recordings]), None)


def _write_column(group: h5py.Group, name: str, values: np.ndarray, compress: bool | None) -> None:
    _append(_create(group, name, values.dtype, compress, rows=min(len(values), HDF5_CHUNK)), values)


def _create(
    group: h5py.Group,
    name: str,
    dtype: object,
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
    numbers = [getattr(recording, name) for name in _NUMBERS[1]]
    if max(*numbers, end_ms * 10**decimals) >= MAX_INTEGER:
        raise UserError(f"{path}: recording {recording.name!r} has a number that is too large for the file")
    if recording.step_ms * 10**decimals < 4:
        raise UserError(
            f"{path}: the steps of {recording.name!r} ({recording.step_ms:g} ms) are too short beside the "
            "first recording's; write recordings of such different step rates to separate files"
        )
    check_chunk(path, recording.n_units, min(recording.chunk_steps, recording.n_steps))


def _checksum(file: BinaryIO, size: int) -> bytes:
    """CRC-32 of the first `size` bytes of a file, after which it stands."""
    file.seek(0)
    checksum = 0
    while size > 0:
        block = file.read(min(size, 2**20))
        if not block:
            raise _Damaged("is cut off")
        checksum = zlib.crc32(block, checksum)
        size -= len(block)
    return checksum.to_bytes(4, "little")


def _check_seal(file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END) - len(SEAL) - 4
    file.seek(max(0, size))
    stored = file.read()
    if size < 0 or stored[: len(SEAL)] != SEAL:
        raise _Foreign("was not written by this package, or is cut off, or was changed by another program")
    if stored[len(SEAL) :] != _checksum(file, size):
        raise _Damaged("does not match its checksum")


def _read_tables(file: h5py.File, size: int) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray]:
    """Recordings by name with their first clip, and `/clips`, all checked against each other."""
    clips = file["clips"] if "clips" in file else None
    if clips is None or clips.attrs.get("format") != FORMAT:
        raise _Foreign("holds other data")
    version = clips.attrs.get("format_version")
    if version not in VERSIONS:
        known = " and ".join(map(str, VERSIONS))
        raise _Foreign(f"is version {version} of the format, and this program reads {known}")
    indptr = _column(file, "clips/indptr", "i", size)
    if not len(indptr) or indptr[0] != 0 or np.any(np.diff(indptr) < 0):
        raise _Damaged("the clip index is not ascending")
    n_clips = len(indptr) - 1
    loudness = levels = _column(file, "clips/level", "u", size, n_clips)
    if version > 1:
        levels = _column(file, "clips/compression", "u", size, n_clips)
    if loudness.dtype != np.uint8 or levels.dtype != np.uint8:
        raise _Damaged("levels are not bytes")
    rows: dict[str, tuple[Recording, int]] = {}
    clip = 0
    for recording in _read_recordings(file, size, _NUMBERS[version]):
        numbers = [getattr(recording, name) for name in _NUMBERS[1]]
        if recording.name in rows or not 1 <= min(numbers[:-1]) <= max(numbers) < MAX_INTEGER:
            raise _Damaged(f"recording {recording.name!r} is there twice or has an impossible number")
        if (
            not {recording.has_loudness, recording.has_levels} <= {0, 1}
            or not 0 <= recording.start_ms < MAX_INTEGER
        ):
            raise _Damaged(f"recording {recording.name!r} has an impossible number")
        if recording.n_clips > n_clips - clip:
            raise _Damaged("the recordings have more clips than the file")
        rows[recording.name] = recording, clip
        clip += recording.n_clips
    if not rows or clip != n_clips:
        raise _Damaged("the file has clips of no recording")
    return rows, indptr, loudness, levels


def _read_recordings(file: h5py.File, size: int, names: tuple[str, ...]) -> Iterator[Recording]:
    starts = _column(file, "recordings/start_ms", "f", size)
    texts = [_column(file, f"recordings/{name}", "S", size, len(starts)) for name in ("name", "fingerprint")]
    columns = [f"recordings/{_IN_FILE.get(name, name)}" for name in names]
    numbers = [_column(file, column, "i", size, len(starts)).tolist() for column in columns]
    for row, start_ms in enumerate(starts.tolist()):
        name, fingerprint = (bytes(text[row]).decode() for text in texts)
        values = {number: column[row] for number, column in zip(names, numbers, strict=True)}
        yield Recording(name, fingerprint, **values, start_ms=start_ms)


def _dataset(file: h5py.File, name: str, kind: str) -> h5py.Dataset:
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 or dataset.dtype.kind != kind:
        raise _Damaged(f"{name} is not the kind of data it should be")
    if dataset.is_virtual or dataset.external:
        raise _Damaged(f"{name} points to another file")
    return dataset


def _column(file: h5py.File, name: str, kind: str, size: int, rows: int | None = None) -> np.ndarray:
    """A metadata column, read whole; its rows are bounded by the file's size before anything is allocated."""
    dataset = _dataset(file, name, kind)
    if dataset.dtype.itemsize > MAX_TEXT_BYTES or len(dataset) > size:
        raise _Damaged(f"{name} is larger than the file")
    if rows is not None and len(dataset) != rows:
        raise _Damaged(f"{name} has {len(dataset)} rows, not {rows}")
    return dataset[()]


class _Damaged(Exception):
    """The file is one of ours, and something in it is wrong."""


class _Foreign(Exception):
    """The file is not one of ours, or not of this version."""


@contextmanager
def _damage(path: object, what: str = "") -> Iterator[None]:
    """Turn whatever h5py, numpy or the checks above raise on a bad file into one sentence."""
    where = f"{path}: {what}: " if what else f"{path}: "
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder; give a file name") from error
    except PermissionError as error:
        raise UserError(f"{path}: may not be read; check its permissions") from error
    except _Foreign as error:
        raise UserError(f"{path}: {error}; give an .h5 file of spike trains") from error
    except _Damaged as error:
        raise UserError(f"{where}{error}; the file is damaged") from error
    except _H5PY_ERRORS as error:
        reason = str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{where}not readable as HDF5 spike trains, or damaged ({reason})") from error


def _list(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
