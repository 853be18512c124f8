"""Evaluations on disk: JSON with all of it, CSV with a row a clip; what has no value is null, or empty."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snn_codec.errors import UserError
from snn_codec.evaluation.summary import Row
from snn_codec.files import replacing, without_nan
from snn_codec.metrics import MEASURES


def write(path: Path, result: dict[str, Any], *, force: bool = False) -> None:
    """An evaluation as `snn-codec evaluate` makes it, as JSON.

    Raises:
        UserError: The file exists (without `force`) or cannot be written.
    """
    with replacing(path, force=force) as temporary:
        temporary.write_text(
            json.dumps(without_nan(result), indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )


def write_rows(path: Path, rows: Sequence[Row], *, force: bool = False) -> None:
    """The clips as CSV.

    Raises:
        UserError: As `write`.
    """
    columns = ["recording", "clip", *(measure for measure in MEASURES if measure in rows[0])]
    with (
        replacing(path, force=force) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(
            {name: "" if value is None else value for name, value in without_nan(row).items()} for row in rows
        )


def read(path: Path) -> dict[str, Any]:
    """What `write` or `write_rows` wrote; of a CSV, `model` is the file's name.

    Raises:
        UserError: Missing, or no such file.
    """
    try:
        if path.suffix.lower() == ".csv":
            with open(path, newline="", encoding="utf-8") as file:
                result = {"model": path.stem, "clips": [_typed(row) for row in csv.DictReader(file)]}
        else:
            result = json.loads(path.read_text(encoding="utf-8"))
            result["clips"] = [
                {name: math.nan if value is None else value for name, value in row.items()}
                for row in result["clips"]
            ]
        if not result["clips"] or not all(
            {"recording", "clip", "si_snr"} <= set(row) for row in result["clips"]
        ):
            raise ValueError("it has no clips")
        return result | {"model": str(result["model"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is not a result of snn-codec evaluate ({error}); make it again") from error


def _typed(row: dict[str, str]) -> Row:
    typed: Row = {"recording": row["recording"], "clip": int(row["clip"])}
    return typed | {name: float(text) if text else math.nan for name, text in row.items() if name in MEASURES}
