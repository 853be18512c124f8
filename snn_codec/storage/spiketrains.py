"""HDF5 spike trains (`.h5`), the analysis form: many recordings in one SONATA file, exact integers kept.

    write("corpus.h5", {"a": events_a, "b": events_b})
    read("corpus.h5", "a")                                  # -> EventMatrix, equal to events_a
    trains = SpikeTrains("corpus.h5")                       # lazy; a Mapping from name to EventMatrix
    trains.window("a", 1000, 1256)                          # -> bool [units, 256], reads only what it needs

Layout, version 1 (every dataset is one-dimensional and carries Fletcher-32 checksums):

    /                         magic, version: a SONATA file
    /spikes/units             sorting = by_time; one flat population, the recordings one after the other
        timestamps            float64 ms, the middle of the event's step, to within 1/8 step
        node_ids              uint64 unit
    /clips                    one row a chunk of `chunk_steps` steps; a recording starts a new clip
        indptr                int64 [clips + 1]: the events of clip c are indptr[c]:indptr[c + 1]
        level                 uint8 level code, 0 where the recording has none
        crc32                 uint32 of the clip's cells, shape, level and place in the file
    /recordings               one row a recording
        name, fingerprint     UTF-8, fixed length
        sample_rate, hop, n_samples, n_units, chunk_steps, has_levels
        start_ms              float64; step = floor((timestamp - start_ms) * sample_rate / (1000 hop))
        crc32                 uint32 of the row

HDF5 costs kilobytes a file: never quote its size as a bit rate (`snn_codec.costs` counts bits).
"""

from __future__ import annotations

import difflib
import math
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix, steps_for
from snn_codec.files import replacing

FORMAT = "snn_codec.spiketrains"
VERSION = 1
POPULATION = "spikes/units"
SONATA_MAGIC, SONATA_VERSION = 0x0A7A, (0, 1)
SORTING = {"none": 0, "by_id": 1, "by_time": 2}

HDF5_CHUNK = 4096  # rows; larger saves 3 % of the file and makes random access slower
MAX_NAME_BYTES = 255
MAX_INTEGER = 2**53  # of any metadata field, and of a timestamp in units of its resolution
# What a file may ask a reader to allocate: cells a clip, and cells a recording (one byte each), as
# MIN_CELLS + CELLS_PER_BYTE * size of the file. Silence is cheap to store, so the factor is generous.
MAX_CLIP_CELLS = 2**24
MIN_CELLS, CELLS_PER_BYTE = 2**26, 2**15

# What h5py and numpy raise on damaged files, as far as ten thousand mutated files showed.
_H5PY_ERRORS = (
    OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError,
)  # fmt: skip

_NUMBERS = ("sample_rate", "hop", "n_samples", "n_units", "chunk_steps", "has_levels")


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
    has_levels: int
    start_ms: float

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

    def checksum(self, row: int) -> int:
        """CRC-32 of all fields and of the row in `/recordings`."""
        numbers = [getattr(self, name) for name in _NUMBERS]
        texts = b"\0".join((self.name.encode(), self.fingerprint.encode()))
        return zlib.crc32(struct.pack("<q6qd", row, *numbers, self.start_ms) + texts)


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
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error}); is the disk full?") from error
        _check_memory(path, cells, temporary.stat().st_size)


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


class SpikeTrains(Mapping[str, EventMatrix]):
    """Lazy reader of a file: a mapping from name to `EventMatrix`, in the file's order.

    Opening reads the metadata; events are read on access and their checksums verified. Pickling keeps the
    path only, and a forked or spawned worker opens the file for itself.

    Args:
        path: A file, or a seekable binary file object (which cannot be pickled).

    Raises:
        UserError: The file is missing, damaged, or no spike trains of this package; also on later access.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = path if hasattr(path, "seek") else Path(path)
        self._file: h5py.File | None = None
        self._process = 0
        self._open()

    def __getstate__(self) -> dict:
        return {"path": self.path}

    def __setstate__(self, state: dict) -> None:
        self.path = state["path"]
        self._file = None
        self._process = 0

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
        levels = self._levels[clip : clip + recording.n_clips * recording.has_levels]
        fields = (recording.sample_rate, recording.hop, recording.n_samples, recording.fingerprint)
        return EventMatrix(events, *fields, levels, recording.chunk_steps)

    def info(self, name: str) -> Recording:
        """What is known about a recording without reading its events.

        Raises:
            UserError: No such recording.
        """
        return self._find(name)[0]

    def window(self, name: str, start: int, stop: int) -> np.ndarray:
        """The events of steps [start, stop) of a recording: bool `[units, stop - start]`.

        Reads and verifies only the clips that hold the window.

        Raises:
            UserError: No such recording, or damage in these clips.
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
            file = h5py.File(self.path, "r")
        try:
            with _damage(self.path):
                size = file.id.get_filesize()
                self._rows, self._indptr, self._levels, self._checksums = _read_tables(file, size)
                self._times = _dataset(file, f"{POPULATION}/timestamps", "f")
                self._units = _dataset(file, f"{POPULATION}/node_ids", "u")
                if not len(self._times) == len(self._units) == self._indptr[-1]:
                    raise _Damaged("the number of events is not what its index says")
            for recording, _ in self._rows.values():
                _check_memory(self.path, recording.n_units * recording.n_steps, size)
        except BaseException:
            file.close()
            raise
        self._file, self._process = file, os.getpid()

    def _clips(self, recording: Recording, row: int, first: int, last: int) -> np.ndarray:
        """Verified events of the clips first..last of a recording that starts at row `row` of `/clips`."""
        offset = first * recording.chunk_steps
        steps = min(last * recording.chunk_steps, recording.n_steps) - offset
        events = np.zeros((recording.n_units, steps), bool)
        start_ms = recording.start_ms + offset * recording.step_ms
        begin, end = int(self._indptr[row + first]), int(self._indptr[row + last])
        with _damage(self.path, f"events of {recording.name!r}"):
            for block in range(begin, end, 2**20):
                part = slice(block, min(block + 2**20, end))
                unit = self._units[part]
                step = np.floor((self._times[part] - start_ms) / recording.step_ms)
                if not (np.all(unit < recording.n_units) and np.all((step >= 0) & (step < steps))):
                    raise _Damaged("an event lies outside its recording")
                events[unit.astype(np.int64), step.astype(np.int64)] = True
            for clip in range(first, last):
                begin = (clip - first) * recording.chunk_steps
                cells, level = events[:, begin : begin + recording.chunk_steps], self._levels[row + clip]
                if _clip_checksum(cells, int(level), row + clip) != self._checksums[row + clip]:
                    second = clip * recording.chunk_steps * recording.step_ms / 1000
                    raise _Damaged(f"clip {clip} (from {second:.2f} s) does not match its checksum")
        return events


def _write(file: h5py.File, items: Iterable[tuple[str, EventMatrix]], path: object, compress: bool) -> int:
    """Fill an empty HDF5 file; the cells of the largest recording."""
    population, recordings = file.create_group(POPULATION), []
    checksums, levels, indptr = [], [], [np.zeros(1, np.int64)]
    taken: set[str] = set()
    decimals, start_ms, row = 0, 0.0, 0
    for name, events in items:
        _check_name(name, taken, path)
        taken.add(name)
        recording = Recording(
            name, events.fingerprint, events.sample_rate, events.hop, events.n_samples, events.n_units,
            events.chunk_steps, int(len(events.levels) > 0), start_ms,
        )  # fmt: skip
        if not recordings:
            decimals = max(0, math.ceil(-math.log10(recording.step_ms / 16)))
            times, units = _create_population(population, decimals, compress)
        _check_recording(recording, decimals, path)
        step, unit = np.nonzero(events.events.T)
        _append(times, np.round(start_ms + (step + 0.5) * recording.step_ms, decimals))
        _append(units, unit.astype(np.uint64))
        edges = np.minimum(np.arange(1, recording.n_clips + 1) * events.chunk_steps, events.n_steps)
        indptr.append(indptr[-1][-1] + np.searchsorted(step, edges))
        levels.append(events.levels if len(events.levels) else np.zeros(recording.n_clips, np.uint8))
        for clip, level in enumerate(levels[-1]):
            cells = events.events[:, clip * events.chunk_steps : (clip + 1) * events.chunk_steps]
            checksums.append(_clip_checksum(cells, int(level), row + clip))
        recordings.append(recording)
        row += recording.n_clips
        start_ms = math.ceil((start_ms + recording.n_steps * recording.step_ms) * 10**decimals) / 10**decimals
    if not recordings:
        raise UserError(f"{path}: no recordings to write; pass at least one")
    clips = file.create_group("clips")
    _write_column(clips, "indptr", np.concatenate(indptr), None)
    _write_column(clips, "level", np.concatenate(levels), compress)
    _write_column(clips, "crc32", np.array(checksums, np.uint32), None)
    _write_recordings(file.create_group("recordings"), recordings, compress)
    file.attrs["magic"] = np.uint32(SONATA_MAGIC)
    file.attrs["version"] = np.array(SONATA_VERSION, np.uint32)
    clips.attrs["format"] = FORMAT
    clips.attrs["format_version"] = np.int64(VERSION)
    return max(recording.n_units * recording.n_steps for recording in recordings)


def _create_population(group: h5py.Group, decimals: int, compress: bool) -> tuple[h5py.Dataset, h5py.Dataset]:
    """Empty `timestamps` and `node_ids`, as SONATA wants them."""
    group.attrs.create("sorting", SORTING["by_time"], dtype=h5py.enum_dtype(SORTING, basetype="u1"))
    times = _create(group, "timestamps", np.float64, compress, decimals)
    times.attrs["units"] = "ms"
    return times, _create(group, "node_ids", np.uint64, compress)


def _write_recordings(group: h5py.Group, recordings: list[Recording], compress: bool) -> None:
    for name in ("name", "fingerprint"):
        texts = [getattr(recording, name).encode() for recording in recordings]
        dtype = h5py.string_dtype("utf-8", max(1, max(map(len, texts))))
        _write_column(group, name, np.array(texts, dtype), compress or None)
    for name in _NUMBERS:
        values = np.array([getattr(recording, name) for recording in recordings], np.int64)
        _write_column(group, name, values, compress)
    _write_column(group, "start_ms", np.array([recording.start_ms for recording in recordings]), None)
    checksums = [recording.checksum(row) for row, recording in enumerate(recordings)]
    _write_column(group, "crc32", np.array(checksums, np.uint32), None)


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


def _check_name(name: object, taken: set[str], path: object) -> None:
    if not isinstance(name, str) or not name or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        raise UserError(f"{path}: {name!r} cannot name a recording; use up to {MAX_NAME_BYTES} plain bytes")
    if name in taken:
        raise UserError(f"{path}: two recordings are called {name!r}; rename one")


def _check_recording(recording: Recording, decimals: int, path: object) -> None:
    """What the layout can hold: see the limits at the top."""
    end_ms = recording.start_ms + recording.n_steps * recording.step_ms
    numbers = [getattr(recording, name) for name in _NUMBERS]
    if max(*numbers, end_ms * 10**decimals) >= MAX_INTEGER:
        raise UserError(f"{path}: recording {recording.name!r} has a number that is too large for the file")
    if recording.step_ms * 10**decimals < 4:
        raise UserError(
            f"{path}: the steps of {recording.name!r} ({recording.step_ms:g} ms) are too short beside the "
            "first recording's; write recordings of such different step rates to separate files"
        )
    if recording.n_units * min(recording.chunk_steps, recording.n_steps) > MAX_CLIP_CELLS:
        raise UserError(f"{path}: recording {recording.name!r} has more than {MAX_CLIP_CELLS} cells a chunk")


def _check_memory(path: object, cells: int, size: int) -> None:
    if cells > MIN_CELLS + CELLS_PER_BYTE * size:
        raise UserError(f"{path}: {cells} cells in {size} bytes are not plausible; the file may be damaged")


def _clip_checksum(cells: np.ndarray, level: int, row: int) -> int:
    seed = zlib.crc32(struct.pack("<qqqB", row, *cells.shape, level))
    return zlib.crc32(np.packbits(cells.T).tobytes(), seed)


def _read_tables(file: h5py.File, size: int) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray]:
    """Recordings by name with their first clip, and `/clips`, all checked against each other."""
    clips = file["clips"] if "clips" in file else None
    if clips is None or clips.attrs.get("format") != FORMAT:
        raise _Foreign("was not written by this package")
    version = clips.attrs.get("format_version")
    if version != VERSION:
        raise _Foreign(f"is version {version} of the format, and this program reads {VERSION}")
    indptr = _column(file, "clips/indptr", "i", size)
    if not len(indptr) or indptr[0] != 0 or np.any(np.diff(indptr) < 0):
        raise _Damaged("the clip index is not ascending")
    n_clips = len(indptr) - 1
    levels, checksums = (_column(file, f"clips/{name}", "u", size, n_clips) for name in ("level", "crc32"))
    if levels.dtype != np.uint8:
        raise _Damaged("levels are not bytes")
    rows: dict[str, tuple[Recording, int]] = {}
    clip = 0
    for row, (recording, checksum) in enumerate(_read_recordings(file, size)):
        if recording.name in rows or recording.checksum(row) != checksum:
            raise _Damaged(f"row {row} of the recordings does not match its checksum")
        if min(getattr(recording, name) for name in _NUMBERS[:-1]) < 1 or recording.has_levels not in (0, 1):
            raise _Damaged(f"row {row} of the recordings has an impossible number")
        if recording.n_clips > n_clips - clip:
            raise _Damaged("the recordings have more clips than the file")
        if recording.n_units * min(recording.chunk_steps, recording.n_steps) > MAX_CLIP_CELLS:
            raise _Damaged(f"row {row} of the recordings has more than {MAX_CLIP_CELLS} cells a chunk")
        rows[recording.name] = recording, clip
        clip += recording.n_clips
    if not rows or clip != n_clips:
        raise _Damaged("the file has clips of no recording")
    return rows, indptr, levels, checksums


def _read_recordings(file: h5py.File, size: int) -> Iterator[tuple[Recording, int]]:
    checksums = _column(file, "recordings/crc32", "u", size)
    rows = len(checksums)
    texts = [_column(file, f"recordings/{name}", "S", size, rows) for name in ("name", "fingerprint")]
    numbers = [_column(file, f"recordings/{name}", "i", size, rows).tolist() for name in _NUMBERS]
    starts = _column(file, "recordings/start_ms", "f", size, rows).tolist()
    for row, checksum in enumerate(checksums.tolist()):
        name, fingerprint = (bytes(text[row]).decode() for text in texts)
        yield Recording(name, fingerprint, *(column[row] for column in numbers), starts[row]), checksum


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
    if dataset.dtype.itemsize > max(8, 4 * MAX_NAME_BYTES) or len(dataset) > size:
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
