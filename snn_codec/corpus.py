"""Recordings on disk: a folder in the MAESTRO layout, or any folder that holds audio files.

The MAESTRO layout is a folder with one table (CSV, TSV or JSON) that has the columns `split` and `audio_filename`, and
may have `midi_filename`. This is the only reader of such tables: training, evaluation and analysis see the same
splits. A table may be UTF-8 (also with a byte order mark), UTF-16 or cp1252, separated by commas, semicolons, tabs or
bars, with names of columns in any case; what looks like a table and cannot be read is refused, because going on
without it would train on test pieces.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snn_codec import audio
from snn_codec.errors import UserError
from snn_codec.files import below

SPLITS = ("train", "validation", "test")
MIDI_SUFFIXES = (".mid", ".midi")
COLUMNS = ("split", "audio_filename", "midi_filename")
NEEDED = COLUMNS[:2]
TABLES = (".csv", ".tsv", ".json")
UNREADABLE = (".xlsx", ".xls", ".ods", ".parquet", ".gz", ".zip")  # refused, if they are called maestro...
DELIMITERS = (",", ";", "\t", "|")
LOOKED_AT = 1 << 16  # bytes of a file, to tell whether it is a table


class Recording(NamedTuple):
    """A recording: its file, the MIDI of the performance or None, and its name in the table."""

    path: Path
    midi: Path | None
    name: str


def recordings(folder: str | os.PathLike, split: str | None) -> list[Recording]:
    """List the recordings of one split of a data folder, or of the whole folder if `split` is None, in a fixed order.

    In the MAESTRO layout the table gives the splits. In any other folder a hash of the file's name puts about one file
    in ten into `validation` (the first file, if that gives none), and the rest into `train`.

    Raises:
        UserError: There is no such folder or split, the split has no audio, or the table cannot be read or names files
            that are missing.
    """
    found = _found(Path(folder), split)
    if not found:
        raise UserError(_nothing_in(Path(folder), split))
    return found


def paths(folder: str | os.PathLike, split: str | None) -> list[Path]:
    """The audio files of `recordings`."""
    return [recording.path for recording in recordings(folder, split)]


def training_paths(folders: Sequence[str | os.PathLike]) -> dict[str, list[list[Path]]]:
    """The audio files to train on: for each of the splits `train` and `validation`, a list for each folder.

    A folder may have files in one of the two only; together the folders need some in both.

    Raises:
        UserError: As `recordings`; a folder has files in neither split, or no folder has any in one of them.
    """
    found = {
        split: [[recording.path for recording in _found(Path(folder), split)] for folder in folders]
        for split in ("train", "validation")
    }
    for folder, *files in zip(folders, *found.values(), strict=True):
        if not any(files):
            raise UserError(_nothing_in(Path(folder), "train"))
    for split, files in found.items():
        if not any(files):
            raise UserError("; ".join(_nothing_in(Path(folder), split) for folder in folders))
    return found


def measured_split(folder: str | os.PathLike, asked: str | None) -> str | None:
    """The split to measure on: the one asked for, else `validation` of the MAESTRO layout, or all of any other folder.

    Raises:
        UserError: As `table`.
    """
    if asked is None and Path(folder).is_dir() and table(Path(folder)):
        return "validation"
    return asked


def table(folder: Path) -> Path | None:
    """The table of a folder in the MAESTRO layout; None if the folder is another one.

    Raises:
        UserError: There are several tables, or a file that looks like one cannot be read.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    for path in files:
        if path.suffix.lower() in UNREADABLE and path.name.lower().startswith("maestro"):
            raise UserError(f"{path}: looks like the table of a data set; save it as CSV, or remove it")
    found = [path for path in files if path.suffix.lower() in TABLES and _is_table(path)]
    texts = [path for path in found if path.suffix.lower() != ".json"]
    found = texts or found  # MAESTRO comes with the same table as JSON
    if len(found) > 1:
        raise UserError(f"{folder}: has {len(found)} tables with splits; keep one")
    return found[0] if found else None


def midi_beside(path: Path) -> Path | None:
    """The MIDI file of the same name in the folder of a recording; None if there is none."""
    beside = (path.with_suffix(suffix) for suffix in MIDI_SUFFIXES)
    return next((each for each in beside if each.is_file()), None)


def audio_files(folder: Path) -> list[Path]:
    """All audio files at any depth below a folder, sorted."""
    return below(folder, audio.SUFFIXES)


def clips(
    files: Iterable[Path], length: int, sample_rate: int, *, each: int | None = None
) -> Iterator[np.ndarray]:
    """Cut recordings into consecutive clips of `length` samples at `sample_rate`, float32 `[length]` each.

    With `each`, only the first so many of every recording. A remainder shorter than a clip is dropped, as in the paper.
    """
    for path in files:
        rest, given = np.zeros(0, np.float32), 0
        for block in audio.resampled(audio.read_blocks(path), audio.info(path).sample_rate, sample_rate):
            rest = np.concatenate([rest, block])
            while len(rest) >= length and given != each:
                yield rest[:length]
                rest, given = rest[length:], given + 1
            if given == each:
                break


def _found(folder: Path, split: str | None) -> list[Recording]:
    """As `recordings`, but the list may be empty."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder of recordings")
    if split is not None and split not in SPLITS:
        raise UserError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    path = table(folder)
    return _of_table(path, split) if path else _of_folder(folder, split)


def _nothing_in(folder: Path, split: str | None) -> str:
    """That a folder has no audio in a split, and which splits it has."""
    path = table(folder)
    splits = [row["split"] for row in _rows(path)] if path else []
    if not path and split and audio_files(folder):
        splits = ["train", "validation"]
    has = " and ".join(name for name in SPLITS if name in splits)
    where = f" in the split {split!r}" if split else ""
    return f"{path or folder}: has no audio{where}" + (f", only in {has}" if has else "")


def _of_folder(folder: Path, split: str | None) -> list[Recording]:
    files = audio_files(folder)
    if split == "test":
        files = []
    elif split:
        held = [path for path in files if _is_held_out(path)] or files[:1]
        files = held if split == "validation" else [path for path in files if path not in held] or files
    return [Recording(path, midi_beside(path), path.name) for path in files]


def _is_held_out(path: Path) -> bool:
    return hashlib.sha256(path.name.encode("utf-8", "surrogateescape")).digest()[0] % 10 == 0


def _of_table(path: Path, split: str | None) -> list[Recording]:
    rows = [row for row in _rows(path) if split in (None, row["split"])]
    found = [
        Recording(_inside(path.parent, row["audio_filename"]), _midi(path.parent, row), row["audio_filename"])
        for row in rows
    ]
    missing = [recording.path for recording in found if not recording.path.is_file()]
    if missing:
        raise UserError(
            f"{path}: names {missing[0].name}, which is not there ({len(missing)} files are missing)"
        )
    return found


def _midi(folder: Path, row: dict[str, str]) -> Path | None:
    named = _inside(folder, row["midi_filename"]) if row.get("midi_filename") else None
    return named if named and named.is_file() else midi_beside(_inside(folder, row["audio_filename"]))


def _inside(folder: Path, name: str) -> Path:
    """The file that a table names; tables made on Windows have other separators."""
    path = folder / name
    return path if path.exists() or "\\" not in name else folder / name.replace("\\", "/")


def _is_table(path: Path) -> bool:
    """True for a table with splits.

    Raises:
        UserError: It looks like one and is none.
    """
    with open(path, "rb") as file:
        start = _text(file.read(LOOKED_AT))
    if "audiofilename" not in _plain(start) and "split" not in map(_plain, _header_cells(path, start)):
        return False
    try:
        header = set(_records(path)[0])
    except (ValueError, IndexError, csv.Error) as error:
        reason = "it has no rows" if isinstance(error, IndexError) else str(error)
        raise UserError(
            f"{path}: looks like the table of a data set, but cannot be read ({reason}); "
            "save it as CSV with the columns split and audio_filename, or remove it"
        ) from error
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise UserError(
            f"{path}: looks like the table of a data set, but has no column {missing[0]}; "
            "name it so in the first row, or remove it"
        )
    return True


def _header_cells(path: Path, start: str) -> list[str]:
    if path.suffix.lower() == ".json":
        return re.findall(r'"([^"]*)"\s*:', start)
    return re.split(r"[,;\t|]", re.split(r"[\r\n]", start, maxsplit=1)[0])


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table, with the splits as we call them.

    Raises:
        UserError: A row has no such split, or no audio file.
    """
    rows = _records(path)
    for number, row in enumerate(rows, start=1):
        row["split"] = {"val": "validation", "valid": "validation"}.get(
            row["split"].lower(), row["split"].lower()
        )
        if row["split"] not in SPLITS or not row["audio_filename"]:
            raise UserError(
                f"{path}: row {number} has the split {row['split']!r} and the file {row['audio_filename']!r}; "
                f"every row needs a file and a split of {', '.join(SPLITS)}"
            )
    return rows


def _records(path: Path) -> list[dict[str, str]]:
    """All rows by the names of columns as `COLUMNS` has them; rows in which nothing stands are left out.

    Raises:
        ValueError: It is not a table.
    """
    text = _text(path.read_bytes())
    if path.suffix.lower() == ".json":
        rows = _of_json(json.loads(text))
    else:
        if text[:4].lower() == "sep=":  # a line for Excel
            text = text.partition("\n")[2]
        header = re.split(r"[\r\n]", text, maxsplit=1)[0]
        lines = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=header.count), restval=""
        )
        rows = list(lines)
    named = [
        {_column(name): str(value or "").strip() for name, value in row.items() if isinstance(name, str)}
        for row in rows
    ]
    return [row for row in named if any(row.values())]


def _of_json(found: object) -> list[dict[str, object]]:
    """Rows of a list of rows, or of columns (lists, or values by the number of the row, as MAESTRO has it)."""
    if isinstance(found, dict) and all(isinstance(column, (dict, list)) for column in found.values()):
        columns = {
            name: list(column.values()) if isinstance(column, dict) else column
            for name, column in found.items()
        }
        if len({len(column) for column in columns.values()}) == 1:
            return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if isinstance(found, list) and all(isinstance(row, dict) for row in found):
        return found
    raise ValueError("it is neither a list of rows nor columns of one length")


def _text(data: bytes) -> str:
    """What a text file says, whatever wrote it."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data[: len(data) // 2 * 2].decode("utf-16", "replace")
    if b"\0" in data[:200]:
        order = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        return data[: len(data) // 2 * 2].decode(order, "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # the header was cut within a character
            return data[: error.start].decode("utf-8-sig")
        return data.decode("cp1252", "replace")


def _column(name: str) -> str:
    """One of `COLUMNS`, if it is that but for case, spaces and signs; else the name itself."""
    return next((column for column in COLUMNS if _plain(column) == _plain(name)), name)


def _plain(text: str) -> str:
    """Without case, spaces, quotes, signs and byte order marks."""
    return re.sub(r"[\s_\"'\ufeff-]", "", text.lower())
