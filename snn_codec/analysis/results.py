"""Results for other tools: HDF5 with all arrays, and tidy tables (CSV, pandas) with one row a unit and one row a pair.

HDF5: one group a model, with the attributes of `Study.summary`, `step_rate` (steps a second), and

    name [units], hertz [units] (where they have frequencies), recording [recordings] (names),
    counts [units, keys, lags], lag [lags] (steps), onsets [keys], midi [keys],
    best, latency (steps), ... [units] (`snn_codec.analysis.tuning.Tuning`),
    prominence, corrected, over_keys [units, keys],
    jitter/ and shifts/: observed, mean, variance, z, p, q [units, keys]

A unit is a row of the study (`Study.rows`): of some models several units together.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_codec.analysis import correlation, notes
from snn_codec.analysis.study import Study
from snn_codec.analysis.tuning import Tuning
from snn_codec.errors import UserError
from snn_codec.files import replacing

if TYPE_CHECKING:
    import pandas

UNITS = (
    "model", "unit", "name", "hertz", "events_per_second", "best_note", "best_midi", "selective_keys", "needed_note",
    "needed_onsets", *Tuning._fields[1:],
)  # fmt: skip
PAIRS = (
    "model", "unit", "midi", "note", "onsets", "prominence", "corrected_prominence", "z_jitter", "q_jitter",
    "z_shifts", "q_shifts",
)  # fmt: skip


def save(path: str | os.PathLike, studies: Sequence[Study], *, force: bool = False) -> None:
    """Write everything to one HDF5 file.

    Raises:
        UserError: The file exists (without `force`), or cannot be written.
    """
    import h5py

    with replacing(path, force=force) as temporary, h5py.File(temporary, "w") as file:
        for number, study in enumerate(studies):
            group = file.create_group(f"{number}")
            for name, value in study.summary().items():
                group.attrs[name] = value
            group.attrs["step_rate"] = study.step_rate
            rows = range(study.rows.number)
            for name, texts in {"name": map(study.rows.name, rows), "recording": study.recordings}.items():
                # a file's name need not be UTF-8, which HDF5 asks for
                encoded = [text.encode("utf-8", "backslashreplace") for text in texts]
                group.create_dataset(name, data=encoded, dtype=h5py.string_dtype())
            lags = study.counts.shape[-1] // 2
            arrays = {
                "counts": study.counts,
                "lag": np.arange(-lags, lags + 1),
                "onsets": study.onsets,
                "midi": np.arange(notes.KEYS) + notes.LOWEST,
                "prominence": study.prominence,
                "corrected": study.corrected,
                "over_keys": correlation.over_keys(study.prominence),
                **study.tuning._asdict(),
                **({} if study.rows.hertz is None else {"hertz": study.rows.hertz}),
            }
            for kind in ("jitter", "shifts"):
                null = getattr(study, kind)
                arrays |= {f"{kind}/{name}": getattr(null, name) for name in ("observed", "mean", "variance")}
                arrays |= {f"{kind}/{name}": getattr(null, name)() for name in ("z", "p", "q")}
            for name, array in arrays.items():
                group.create_dataset(name, data=array, compression="gzip")


def units(*studies: Study) -> pandas.DataFrame:
    """What `units.csv` has: one row a unit, or a band of units, of each study; needs pandas.

    Raises:
        UserError: pandas is not installed.

    Examples:
        >>> units(study([("bach", events, notes.read("bach.mid"))], "free"))  # doctest: +SKIP
    """
    return _frame(UNITS, _units(studies))


def pairs(*studies: Study) -> pandas.DataFrame:
    """What `pairs.csv` has: one row a unit and key that could be tested, of each study; needs pandas.

    Raises:
        UserError: pandas is not installed.
    """
    return _frame(PAIRS, _pairs(studies))


def _frame(columns: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> pandas.DataFrame:
    try:
        import pandas
    except ImportError as error:
        raise UserError("tables in Python need pandas; install it with: pip install pandas") from error
    return pandas.DataFrame(list(rows), columns=list(columns))


def write_units(path: str | os.PathLike, studies: Sequence[Study], *, force: bool = False) -> None:
    """Write one row a unit: its tuning, and for how many keys it is selective.

    Raises:
        UserError: The file exists (without `force`), or cannot be written.
    """
    _table(path, UNITS, _units(studies), force)


def write_pairs(path: str | os.PathLike, studies: Sequence[Study], *, force: bool = False) -> None:
    """Write one row a unit and key that could be tested.

    Raises:
        UserError: As `write_units`.
    """
    _table(path, PAIRS, _pairs(studies), force)


def _units(studies: Sequence[Study]) -> Iterator[tuple[Any, ...]]:
    for study in studies:
        selective, needed = study.jitter.selective(), study.needed
        for unit in range(len(study.counts)):
            best, key = int(study.tuning.best[unit]), int(needed.key[unit])
            yield (
                study.model,
                unit,
                study.rows.name(unit),
                np.nan if study.rows.hertz is None else study.rows.hertz[unit],
                study.fired[unit] / study.seconds,
                notes.name(best) if best >= 0 else "",
                best + notes.LOWEST if best >= 0 else np.nan,
                int(selective[unit].sum()),
                notes.name(key) if key >= 0 else "",
                needed.onsets[unit],
                *(float(values[unit]) for values in study.tuning[1:]),
            )


def _pairs(studies: Sequence[Study]) -> Iterator[tuple[Any, ...]]:
    for study in studies:
        nulls = [values for null in (study.jitter, study.shifts) for values in (null.z(), null.q())]
        measures = (study.prominence, study.corrected, *nulls)
        for unit, key in np.argwhere(study.jitter.tested):
            start = (
                study.model,
                int(unit),
                int(key) + notes.LOWEST,
                notes.name(key),
                int(study.jitter.onsets[key]),
            )
            yield (*start, *(float(values[unit, key]) for values in measures))


def _table(
    path: str | os.PathLike, columns: Sequence[str], rows: Iterator[tuple[Any, ...]], force: bool
) -> None:
    with (
        replacing(path, force=force) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(map(_text, row) for row in rows)


def _text(value: object) -> object:
    """Numbers with six digits, none for what is not defined."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value
