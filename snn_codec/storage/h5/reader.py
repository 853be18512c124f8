"""Reading spike trains: whole recordings, or windows of them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from snn_codec.cells import BLOCK_CELLS
from snn_codec.errors import UserError
from snn_codec.events import Builder, EventMatrix, steps_for
from snn_codec.storage.h5.faults import Damaged, damage
from snn_codec.storage.h5.layout import POPULATION, Recording
from snn_codec.storage.h5.seal import check_seal
from snn_codec.storage.h5.tables import open_dataset, read_tables
from snn_codec.storage.limits import check_chunk, check_memory, memory_of


def read(path: str | os.PathLike, name: str | None = None) -> EventMatrix:
    """Read the recording `name`, or the only one of the file if `name` is None.

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
    """Read an `.h5` file lazily: a mapping from recording name to `EventMatrix`, in the file's order.

    Opening verifies the file's checksum (its seal; about a second per gigabyte) and reads the metadata. Events are read
    on access. A pickled reader holds the path only: each worker process opens the file for itself, and does not verify
    an unchanged file again.

    Args:
        path: A file, or a seekable binary file object (which cannot be pickled).
        sealed: Verify the seal. Without it, a damaged file can crash the process; call `check_content` first.

    Raises:
        UserError: The file is missing, damaged, or of another kind; also on later access.

    Examples:
        >>> with SpikeTrains("corpus.h5") as trains:  # doctest: +SKIP
        ...     first_second = trains.window("prelude", 0, 43)  # bool [units, 43 steps]
    """

    def __init__(self, path: str | os.PathLike | BinaryIO, *, sealed: bool = True) -> None:
        self.path = path if hasattr(path, "seek") else Path(path)
        self._file: h5py.File | None = None
        self._rows: dict[str, tuple[Recording, int, int]] = {}
        self._process = 0
        self._with_seal = sealed
        self._sealed: tuple[int, int] | None = (
            None  # size and time of change of the file whose seal was right
        )
        self._open()

    def __getstate__(self) -> dict:
        kept = {"path": self.path, "_sealed": self._sealed, "_with_seal": self._with_seal}
        return {**kept, "_file": None, "_rows": {}, "_process": 0}

    def __enter__(self) -> SpikeTrains:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    def __repr__(self) -> str:
        known = f", {len(self._rows)} recordings" if self._rows else ""  # none before a pickled one is opened
        return f"SpikeTrains({str(self.path)!r}{known})"

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
        recording, clip, code = self._find(name)
        builder = Builder(recording.n_units)
        at_once = max(1, BLOCK_CELLS // (recording.n_units * recording.chunk_steps))
        for first in range(0, recording.n_clips, at_once):
            builder.append(self._clips(recording, clip, first, min(first + at_once, recording.n_clips)))
        loudness = self._tables.loudness[clip : clip + recording.n_clips * recording.has_loudness]
        levels = self.levels(name)
        bands = recording.floor_bands
        floor = (
            self._tables.floor[code : code + recording.n_clips * bands].reshape(-1, bands) if bands else None
        )
        fields = (recording.sample_rate, recording.hop, recording.n_samples, recording.fingerprint)
        return EventMatrix(builder.build(), *fields, loudness, recording.chunk_steps, levels, floor)

    def info(self, name: str) -> Recording:
        """The metadata of a recording, without reading its events.

        Raises:
            UserError: No such recording.
        """
        return self._find(name)[0]

    def n_events(self, name: str) -> int:
        """The number of a recording's events, by the file's index, without reading them.

        Raises:
            UserError: No such recording.
        """
        recording, clip, _ = self._find(name)
        return int(self._indptr[clip + recording.n_clips] - self._indptr[clip])

    def levels(self, name: str) -> np.ndarray:
        """`EventMatrix.levels` of a recording, without reading its events.

        Raises:
            UserError: No such recording.
        """
        recording, clip, _ = self._find(name)
        return self._tables.levels[clip : clip + recording.n_clips * recording.has_levels]

    def window(self, name: str, start: int, stop: int) -> np.ndarray:
        """The events of steps [start, stop) of a recording: bool `[units, stop - start]`.

        Reads only the clips that hold the window.

        Raises:
            UserError: No such recording, or the file was damaged since it was opened.
            ValueError: Not 0 <= start <= stop <= T.
        """
        recording, clip, _ = self._find(name)
        if not 0 <= start <= stop <= recording.n_steps:
            raise ValueError(f"steps {start}..{stop} are not inside {name!r} (0..{recording.n_steps})")
        first, last = start // recording.chunk_steps, steps_for(stop, recording.chunk_steps)
        events = self._clips(recording, clip, first, max(first, last))
        offset = first * recording.chunk_steps
        return events[:, start - offset : stop - offset]

    def _find(self, name: str) -> tuple[Recording, int, int]:
        self._open()
        if name not in self._rows:
            near = difflib.get_close_matches(str(name), self._rows, n=3) or list(self._rows)[:3]
            raise UserError(f"{self.path}: has no recording {name!r}; near it: {', '.join(near)}")
        return self._rows[name]

    def _open(self) -> None:
        """Open the file if this process has not done so, and read and check everything but the events."""
        if self._file is not None and self._process == os.getpid():
            return
        with damage(self.path):
            self._check_seal()
            file = h5py.File(self.path, "r")
        try:
            with damage(self.path):
                size = file.id.get_filesize()
                self._tables = read_tables(file, size)
                self._rows, self._indptr = self._tables.rows, self._tables.indptr
                self._times = open_dataset(file, f"{POPULATION}/timestamps", "f")
                self._units = open_dataset(file, f"{POPULATION}/node_ids", "u")
                if not len(self._times) == len(self._units) == self._indptr[-1]:
                    raise Damaged("the number of events is not what its index says")
            for recording, row, _ in self._rows.values():
                check_chunk(self.path, recording.n_units, min(recording.chunk_steps, recording.n_steps))
                n_events = int(self._indptr[row + recording.n_clips] - self._indptr[row])
                check_memory(self.path, memory_of(recording.n_units, recording.n_steps, n_events), size)
        except BaseException:
            file.close()
            raise
        self._file, self._process = file, os.getpid()

    def _check_seal(self) -> None:
        if not self._with_seal:
            return
        if not isinstance(self.path, (str, os.PathLike)):
            check_seal(self.path)
            return
        with open(self.path, "rb") as file:
            status = os.fstat(file.fileno())
            if self._sealed != (status.st_size, status.st_mtime_ns):
                check_seal(file)
                self._sealed = status.st_size, status.st_mtime_ns

    def _clips(self, recording: Recording, row: int, first: int, last: int) -> np.ndarray:
        """Events of the clips first..last of a recording that starts at row `row` of `/clips`."""
        offset = first * recording.chunk_steps
        steps = min(last * recording.chunk_steps, recording.n_steps) - offset
        events = np.zeros((recording.n_units, steps), bool)
        start_ms = recording.start_ms + offset * recording.step_ms
        begin, end = int(self._indptr[row + first]), int(self._indptr[row + last])
        with damage(self.path, f"events of {recording.name!r}"):
            for block in range(begin, end, 2**18):
                part = slice(block, min(block + 2**18, end))
                unit = self._units[part]
                step = np.floor((self._times[part] - start_ms) / recording.step_ms)
                if not (np.all(unit < recording.n_units) and np.all((step >= 0) & (step < steps))):
                    raise Damaged("an event lies outside its recording")
                events[unit.astype(np.int64), step.astype(np.int64)] = True
            if np.count_nonzero(events) != end - begin:
                raise Damaged("an event is there twice")
        return events


def _list(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
