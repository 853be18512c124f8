"""Results for other tools: HDF5 with all arrays, and tidy tables (CSV, pandas) with one row a unit and one row a pair.

HDF5: one group a model, with the attributes of `Study.summary` and

    counts [units, keys, lags], lag [lags] (steps), onsets [keys], midi [keys], best, latency, ... [units],
    prominence, corrected, over_keys [units, keys],
    jitter/ and shifts/: observed, mean, variance, z, p, q [units, keys]
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
from snn_codec.errors import UserError
from snn_codec.files import replacing

if TYPE_CHECKING:
    import pandas


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

    Example:
        >>> units(study([("bach", events, notes.read("bach.mid"))], "free"))  # doctest: +SKIP
    """
    return _frame(_units(studies))


def pairs(*studies: Study) -> pandas.DataFrame:
    """What `pairs.csv` has: one row a unit and key that could be tested, of each study; needs pandas.

    Raises:
        UserError: pandas is not installed.
    """
    return _frame(_pairs(studies))


def _frame(rows: Iterator[dict[str, Any]]) -> pandas.DataFrame:
    try:
        import pandas
    except ImportError as error:
        raise UserError("tables in Python need pandas; install it with: pip install pandas") from error
    return pandas.DataFrame(list(rows))


def write_units(path: str | os.PathLike, studies: Sequence[Study], *, force: bool = False) -> None:
    """Write one row a unit: its tuning, and for how many keys it is selective.

    Raises:
        UserError: The file exists (without `force`), or cannot be written.
    """
    _table(path, _units(studies), force)


def write_pairs(path: str | os.PathLike, studies: Sequence[Study], *, force: bool = False) -> None:
    """Write one row a unit and key that could be tested.

    Raises:
        UserError: As `write_units`.
    """
    _table(path, _pairs(studies), force)


def _units(studies: Sequence[Study]) -> Iterator[dict[str, Any]]:
    for study in studies:
        selective = study.jitter.selective()
        for unit in range(len(study.counts)):
            best = int(study.tuning.best[unit])
            yield {
                "model": study.model,
                "unit": unit,
                "name": study.rows.name(unit),
                "hertz": np.nan if study.rows.hertz is None else study.rows.hertz[unit],
                "events_per_second": study.fired[unit] / study.seconds,
                "best_note": notes.name(best) if best >= 0 else "",
                "best_midi": best + notes.LOWEST if best >= 0 else np.nan,
                "selective_keys": int(selective[unit].sum()),
                "needed_note": notes.name(study.needed.key[unit]) if study.needed.key[unit] >= 0 else "",
                "needed_onsets": study.needed.onsets[unit],
                **{
                    name: float(values[unit])
                    for name, values in study.tuning._asdict().items()
                    if name != "best"
                },
            }


def _pairs(studies: Sequence[Study]) -> Iterator[dict[str, Any]]:
    for study in studies:
        columns = {
            "prominence": study.prominence,
            "corrected_prominence": study.corrected,
            "z_jitter": study.jitter.z(),
            "q_jitter": study.jitter.q(),
            "z_shifts": study.shifts.z(),
            "q_shifts": study.shifts.q(),
        }
        for unit, key in np.argwhere(study.jitter.tested):
            yield {
                "model": study.model,
                "unit": int(unit),
                "midi": int(key) + notes.LOWEST,
                "note": notes.name(key),
                "onsets": int(study.jitter.onsets[key]),
                **{name: float(values[unit, key]) for name, values in columns.items()},
            }


def _table(path: str | os.PathLike, rows: Iterator[dict[str, Any]], force: bool) -> None:
    written = ({name: _text(value) for name, value in row.items()} for row in rows)
    first = next(written, {})
    with (
        replacing(path, force=force) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        if first:
            writer.writerow(first)
        writer.writerows(written)


def _text(value: object) -> object:
    """Numbers with six digits, none for what is not defined."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value
