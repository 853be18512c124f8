"""The log of a training run: a table and, on request, TensorBoard's event files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from snn_codec.errors import UserError
from snn_codec.files import replacing


class Log:
    """`log.csv` in a run's folder, a row for each logged step.

    Args:
        path: Of the table.
        columns: Of the table; a row may lack some.
        step: Rows after this step are dropped: a resumed run makes them again.
        tensorboard: A folder for TensorBoard's event files, if these are to be written.

    Raises:
        UserError: TensorBoard is not installed, or the table is damaged.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int, tensorboard: Path | None = None):
        self.path, self.columns = path, tuple(columns)
        self._writer = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise UserError(
                    '--tensorboard needs tensorboard: pip install "snn_codec[tensorboard]"'
                ) from error
            self._writer = SummaryWriter(str(tensorboard), purge_step=step + 1)
        rows = []
        if path.exists() and step:
            try:
                with open(path, newline="") as file:
                    rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
            except (ValueError, KeyError, csv.Error) as error:
                raise UserError(
                    f"{path}: is damaged ({error!r}); take out the damaged lines, or remove it to begin a new one"
                ) from error
        with replacing(path, force=True) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row, which has a `step`."""
        with open(self.path, "a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(row)
        if self._writer:
            for name, value in row.items():
                if name != "step":
                    self._writer.add_scalar(name, value, int(row["step"]))
            self._writer.flush()

    def close(self) -> None:
        """Close TensorBoard's files."""
        if self._writer:
            self._writer.close()
