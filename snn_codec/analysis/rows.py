"""The rows of an analysis: every unit by itself, or all units of one frequency, or of one semitone.

A model such as `wide` has 38 400 units, most of which fire a few times an hour, so that one of them alone says nothing
of a key; all units of a bin or of a semitone together do. A row fires where any of its units does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from snn_codec.analysis import notes
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix

KINDS = ("unit", "bin", "note")
MOST = 4096  # rows: what is kept of each with 88 keys takes 3 GB


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of an analysis, lowest frequency first.

    Attributes:
        kind: `unit`, `bin` (units of one frequency) or `note` (units within a semitone).
        of: int64 `[units]`, the row of each unit.
        hertz: Centre frequency of each row, `[rows]`; None where units have none.
    """

    kind: str
    of: NDArray[np.int64]
    hertz: NDArray[np.float64] | None = None

    @cached_property
    def number(self) -> int:
        """The number of rows."""
        return int(np.max(self.of)) + 1

    @cached_property
    def keys(self) -> NDArray[np.int64]:
        """The key nearest to each row, 0 to 87 or beyond: int64 `[rows]`; of rows with frequencies only."""
        assert self.hertz is not None
        return key_of(self.hertz)

    def name(self, row: int) -> str:
        """The name of a row, such as `unit 12`, `523 Hz`, or `C5 band`."""
        if self.hertz is None:
            return f"unit {row}"
        if self.kind == "note":
            return f"{notes.name(int(self.keys[row]))} band"
        return f"{self.hertz[row]:.0f} Hz"

    def merged(self, events: EventMatrix) -> EventMatrix:
        """Events of the rows: a row fires where any of its units does."""
        if self.kind == "unit":
            return events
        steps, units = events.indices()
        step, row = np.divmod(np.unique(steps * self.number + self.of[units]), self.number)
        return EventMatrix.from_indices(step, row, self.number, **events.metadata)

    def counts(self, events: EventMatrix) -> NDArray[np.float32]:
        """How many units of each row fire at each step: float32 `[rows, T]`."""
        steps, units = events.indices()
        places = self.of[units] * events.n_steps + steps
        found = np.bincount(places, minlength=self.number * events.n_steps)
        return found.reshape(self.number, -1).astype(np.float32)


def every_unit(n_units: int, name: str = "") -> Rows:
    """Each unit by itself.

    Raises:
        UserError: They are too many.
    """
    if n_units > MOST:
        its = f"{name}: its {n_units}" if name else f"{n_units}"
        raise UserError(
            f"{its} units are too many to set each against every key (at most {MOST}); take units of one note or bin "
            "together (--rows note, --rows bin), with the checkpoint that made the events (--model)"
        )
    return Rows("unit", np.arange(n_units))


def rows_of(hertz: NDArray[np.float64] | None, n_units: int, kind: str | None = None) -> Rows:
    """Rows for a model.

    Args:
        hertz: Centre frequencies of its units (`Model.unit_hertz`), rising; None if they have none.
        kind: One of `KINDS`; None for notes where units have frequencies, else for units.

    Raises:
        UserError: No such kind, units have no frequencies, or there would be too many rows.
    """
    if kind not in (None, *KINDS):
        raise UserError(f"rows must be one of {', '.join(KINDS)}, not {kind}")
    if kind == "unit" or (kind is None and hertz is None):
        return every_unit(n_units)
    if hertz is None:
        raise UserError(f"units of this model have no frequencies; rows must be unit, not {kind}")
    groups = hertz if kind == "bin" else key_of(hertz)
    _, of = np.unique(groups, return_inverse=True)
    middle = np.bincount(of, hertz) / np.bincount(of)
    found = Rows(kind or "note", of.astype(np.int64), middle)
    if kind != "bin":
        pitch = np.unique(groups).astype(np.float64) + notes.LOWEST
        found = replace(found, hertz=440 * 2 ** ((pitch - 69) / 12))
    if found.number > MOST:
        raise UserError(f"{found.number} bins are too many to set each against every key; take --rows note")
    return found


def key_of(hertz: NDArray[np.float64]) -> NDArray[np.int64]:
    """The key of the row of 88 with the nearest frequency, counted on beyond both ends."""
    return np.rint(12 * np.log2(np.maximum(hertz, 1e-9) / 440)).astype(np.int64) + 69 - notes.LOWEST
