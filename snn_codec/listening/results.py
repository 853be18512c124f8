"""Ratings as a table in webMUSHRA's columns, which other programs read too."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snn_codec.errors import UserError
from snn_codec.files import replacing

LISTENER = ("playback", "experience")  # what a listener is asked about themselves
RATING = ("session_uuid", "trial_id", "rating_stimulus", "rating_score", "rating_time", "rating_comment")
COLUMNS = ("session_test_id", *LISTENER, *RATING)


class Ratings(NamedTuple):
    """Scores float `[raters, items, conditions]`, 0 to 100, with the names of each axis.

    `incomplete` has the raters who left scores out, and how many; they are not among the others.
    """

    scores: np.ndarray
    raters: list[str]
    items: list[str]
    conditions: list[str]
    incomplete: dict[str, int]

    def of(self, condition: str) -> np.ndarray:
        """A condition's scores `[raters, items]`."""
        return self.scores[:, :, self.conditions.index(condition)]


def write(path: Path, rows: Iterable[Sequence[object]], *, force: bool = False) -> None:
    """Write rows in the order of `COLUMNS`.

    Raises:
        UserError: The file cannot be written.
    """
    with (
        replacing(path, force=force) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def read(path: Path, names: Mapping[str, str] | None = None) -> Ratings:
    """Read the ratings from a table of ours or of webMUSHRA's.

    Args:
        path: CSV with at least session_uuid, trial_id, rating_stimulus and rating_score.
        names: What to call a stimulus, where that is not its name in the table.

    Raises:
        UserError: There is no such table, a score is no number from 0 to 100, or a rater scored something twice.
    """
    found: dict[tuple[str, str, str], float] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = {*RATING[:4]} - {*(reader.fieldnames or ())}
            if missing:
                raise UserError(
                    f"{path}: has no column {', '.join(sorted(missing))}; "
                    "give results of snn-codec listen export or of webMUSHRA"
                )
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                rater, item, condition = (row[name] or "" for name in RATING[:3])
                if not (rater and item and condition):
                    raise UserError(f"{where}: says not who rated what; it is cut off or was edited")
                one = (rater, item, (names or {}).get(condition, condition))
                score = _score(row["rating_score"], where)
                if found.setdefault(one, score) != score:
                    raise UserError(
                        f"{where}: a second score of {rater} for {condition} of {item}; delete one of them"
                    )
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not a table of results ({error})") from error
    if not found:
        raise UserError(f"{path}: holds no ratings")
    return _arranged(found)


def _score(text: str | None, where: str) -> float:
    try:
        score = float(text or "")
    except ValueError:
        score = float("nan")
    if not 0 <= score <= 100:
        raise UserError(f"{where}: the score {text!r} is not a number from 0 to 100")
    return score


def _arranged(found: dict[tuple[str, str, str], float]) -> Ratings:
    raters, items, conditions = (list(dict.fromkeys(one[axis] for one in found)) for axis in range(3))
    scores = np.full((len(raters), len(items), len(conditions)), np.nan)
    for (rater, item, condition), score in found.items():
        scores[raters.index(rater), items.index(item), conditions.index(condition)] = score
    left_out = np.isnan(scores).sum((1, 2))
    whole = left_out == 0
    return Ratings(
        scores[whole],
        [rater for rater, kept in zip(raters, whole, strict=True) if kept],
        items,
        conditions,
        {rater: int(count) for rater, count in zip(raters, left_out, strict=True) if count},
    )
