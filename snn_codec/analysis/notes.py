"""Notes and pedal of a MIDI file on the codec's grid of steps, exact however long the piece is.

Times stay integers from the file to the grid: ticks times microseconds a beat, in units of
1 / (ticks a beat x 10^6) s. An onset at t seconds is in step floor(t sample_rate / hop), the step that holds its
sample. A key is a row of 88, from A0 (MIDI 21) to C8 (MIDI 108).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import fft

from snn_codec import midi
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix

if TYPE_CHECKING:
    import pandas
    import pretty_midi

KEYS, LOWEST = 88, 21
DOWN = 64  # the value of the pedal from which it holds the dampers up
NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")


def name(key: int) -> str:
    """Name of a key of the row of 88, as C4."""
    return f"{NAMES[(key + LOWEST) % 12]}{(key + LOWEST) // 12 - 1}"


class Grid(NamedTuple):
    """The notes that start in a recording of T steps, in the order of their onsets.

    `onset`, `offset` (steps; T if a note outlasts the recording), `key` (0 to 87), `velocity` are int64 `[notes]`;
    `pedal` is bool `[T]`: the sustain pedal is down when the step begins.
    """

    onset: np.ndarray
    offset: np.ndarray
    key: np.ndarray
    velocity: np.ndarray
    pedal: np.ndarray

    @property
    def n_steps(self) -> int:
        """T, the number of steps."""
        return len(self.pedal)

    def onsets(self) -> np.ndarray:
        """`m_n` of Eq. 9: bool `[88, T]`, where a note starts."""
        matrix = np.zeros((KEYS, self.n_steps), bool)
        matrix[self.key, self.onset] = True
        return matrix


@dataclass(frozen=True, eq=False)
class Score:
    """Notes and pedal with exact times, int64 in units of 1 / `per_second` s.

    Attributes:
        onset, offset, pitch, velocity: `[notes]`, in the order of onsets; pitch is the MIDI number.
        pedal: `[presses, 2]`, when the sustain pedal went down and up.
    """

    onset: np.ndarray
    offset: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    pedal: np.ndarray
    per_second: int

    def shifted(self, microseconds: int) -> Score:
        """Move notes and pedal by a whole number of microseconds, exactly: later, or earlier if negative."""
        shift = int(microseconds) * (self.per_second // 10**6)
        return replace(self, onset=self.onset + shift, offset=self.offset + shift, pedal=self.pedal + shift)

    def notes(self) -> midi.Notes:
        """The notes, in seconds."""
        return midi.Notes(
            self.onset / self.per_second, self.offset / self.per_second, self.pitch, self.velocity
        )

    def to_dataframe(self) -> pandas.DataFrame:
        """A row a note: `onset` and `offset` in seconds, `pitch`, `name` and `velocity`.

        Raises:
            UserError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UserError("to_dataframe needs pandas; install it with: pip install pandas") from error
        names = [name(pitch - LOWEST) for pitch in self.pitch.tolist()]
        columns = self.notes()._asdict()
        return pandas.DataFrame(
            {"onset": columns["onset"], "offset": columns["offset"], "pitch": self.pitch, "name": names}
            | {"velocity": self.velocity}
        )

    def to_pretty_midi(self) -> pretty_midi.PrettyMIDI:
        """The notes and the sustain pedal as one piano of pretty_midi, in seconds, to edit or to write as a MIDI file.

        What ends before 0 s is left out. A note lasts one tick of the file at least: pretty_midi would write the end of
        a shorter one before its beginning, so that it never ends.

        Examples:
            >>> read("bach.mid").shifted(250_000).to_pretty_midi().write("later.mid")  # doctest: +SKIP
        """
        import pretty_midi

        piano = pretty_midi.Instrument(0, name="piano")
        made = pretty_midi.PrettyMIDI(resolution=960)
        tick = 1.01 * made.tick_to_time(1)
        columns = (column.tolist() for column in self.notes())
        for onset, offset, pitch, velocity in zip(*columns, strict=True):
            if onset >= 0 or offset > 0:
                end = max(offset, max(onset, 0) + tick)
                piano.notes.append(pretty_midi.Note(velocity, pitch, onset, end))
        for down, up in (self.pedal / self.per_second).tolist():
            if up >= max(down, 0) + tick:
                piano.control_changes.append(pretty_midi.ControlChange(midi.SUSTAIN, 127, down))
                piano.control_changes.append(pretty_midi.ControlChange(midi.SUSTAIN, 0, up))
        made.instruments.append(piano)
        return made

    @classmethod
    def from_pretty_midi(cls, piece: pretty_midi.PrettyMIDI) -> Score:
        """The notes and the sustain pedal of all instruments of pretty_midi but drums, to the nearest microsecond.

        Raises:
            UserError: There are no notes.
        """
        instruments = [each for each in piece.instruments if not each.is_drum]
        found = sorted(
            (round(note.start * midi.MICRO), round(note.end * midi.MICRO), note.pitch, note.velocity)
            for each in instruments
            for note in each.notes
        )
        if not found:
            raise UserError("the piece has no notes; give one with a pitched instrument")
        changes = [
            (round(change.time * midi.MICRO), change.value)
            for each in instruments
            for change in each.control_changes
            if change.number == midi.SUSTAIN
        ]
        pedal = sorted(changes, key=lambda change: change[0])
        return _score(np.array(found, np.int64), pedal, midi.MICRO)

    def within(self, n_steps: int, sample_rate: int, hop: int) -> Score:
        """Keep the notes that start on this grid and on one of the 88 keys."""
        onset, key = _steps(self.onset, self.per_second, sample_rate, hop), self.pitch - LOWEST
        kept = (onset >= 0) & (onset < n_steps) & (key >= 0) & (key < KEYS)
        columns = {name: getattr(self, name)[kept] for name in ("onset", "offset", "pitch", "velocity")}
        return replace(self, **columns)

    def grid(self, n_steps: int, sample_rate: int, hop: int) -> Grid:
        """Put the notes of `within` and the pedal on a grid of `n_steps` steps; `sample_rate` is in Hz."""
        kept = self.within(n_steps, sample_rate, hop)
        onset, offset = (
            _steps(times, self.per_second, sample_rate, hop) for times in (kept.onset, kept.offset)
        )
        pedal = np.zeros(n_steps, bool)
        # down when a step begins: from the first step that begins at or after the press, to the release
        for down, up in -_steps(-self.pedal.ravel(), self.per_second, sample_rate, hop).reshape(-1, 2):
            pedal[max(down, 0) : max(up, 0)] = True
        return Grid(onset, np.minimum(offset, n_steps), kept.pitch - LOWEST, kept.velocity, pedal)

    def check_overlap(self, name: str, seconds: float) -> None:
        """Check that some note on one of the 88 keys begins in a recording of this length.

        Raises:
            UserError: None does; the message begins with `name`.
        """
        on_key = (self.pitch >= LOWEST) & (self.pitch < LOWEST + KEYS)
        if not on_key.any():
            raise UserError(
                f"{name}: none of the {len(self.pitch)} notes of its MIDI is on one of the {KEYS} keys "
                f"(MIDI {LOWEST} to {LOWEST + KEYS - 1}); they are {self.pitch.min()} to {self.pitch.max()}; "
                "give the MIDI of a piano"
            )
        onset = self.onset[on_key] / self.per_second
        if not ((onset >= 0) & (onset < seconds)).any():
            first, last = onset[0], onset[-1]
            raise UserError(
                f"{name}: none of the {len(onset)} notes of its MIDI begins in its {seconds:.1f} s (they begin at "
                f"{first:.1f} to {last:.1f} s); give the MIDI of this recording, or another offset"
            )

    def on(self, events: EventMatrix) -> Grid:
        """The notes on the grid of these events (`grid`)."""
        return self.grid(events.n_steps, events.sample_rate, events.hop)


def read(path: str | os.PathLike) -> Score:
    """Read the notes of all instruments but drums, and their sustain pedal, from a MIDI file.

    Raises:
        UserError: The file is missing, not MIDI, or has no notes.

    Examples:
        >>> read("bach.mid").on(events).onsets().shape  # doctest: +SKIP
        (88, 1704)
    """
    found = midi.played(path)
    return _score(found.notes, found.pedal.tolist(), found.per_second)


def _score(found: np.ndarray, changes: Iterable[tuple[int, int]], per_second: int) -> Score:
    """A score of notes `[notes, 4]` and of the pedal's values by time, which become presses."""
    presses, down = [], None
    for time, value in changes:
        if value >= DOWN and down is None:
            down = time
        elif value < DOWN and down is not None:
            presses += [(down, time)] * (time > down)
            down = None
    onset, offset, pitch, velocity = found.T
    if down is not None:
        presses.append((down, max(down, int(offset.max()))))
    pedal = np.array(presses, np.int64).reshape(-1, 2)
    return Score(onset, offset, pitch, velocity, pedal, per_second)


def _steps(times: np.ndarray, per_second: int, sample_rate: int, hop: int) -> np.ndarray:
    # Python's integers, as the product may not fit 64 bits
    return np.array([int(time) * sample_rate // (per_second * hop) for time in times], np.int64)


def lag(events: EventMatrix, grid: Grid, *, reach: int = 43) -> tuple[int, float]:
    """Estimate by how many steps the events come after the notes, and how clear that is.

    Each unit's correlation with the onsets of all keys is squared, so that units that pause count as much as
    those that fire, and summed over units; the lag of the largest sum within `reach` steps (43: a second at the
    paper's rate and hop) is given with its distance from the median lag in standard deviations. It holds the model's
    own latency besides a real offset between sound and MIDI, and means nothing below a clearness of about 5.
    """
    onsets = np.bincount(grid.onset, minlength=grid.n_steps)
    reach = min(reach, grid.n_steps - 1)
    size = fft.next_fast_len(grid.n_steps + reach, real=True)
    spectrum = fft.rfft(onsets - onsets.mean(), size).conj()
    total = np.zeros(2 * reach + 1)
    for unit in events.events:
        if 0 < unit.mean() < 1:
            found = fft.irfft(fft.rfft(unit - unit.mean(), size) * spectrum, size)
            found = found[np.arange(-reach, reach + 1)] / unit.std()
            total += (found - found.mean()) ** 2
    best, spread = int(np.argmax(total)), total.std()
    return best - reach, float((total[best] - np.median(total)) / spread) if spread else 0.0
