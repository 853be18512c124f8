"""The notes of a MIDI file, as arrays."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snn_codec.errors import UserError

if TYPE_CHECKING:
    import pretty_midi


class Notes(NamedTuple):
    """All notes in the order of their onsets: seconds, seconds, MIDI numbers, velocities; each `[notes]`."""

    onset: np.ndarray
    offset: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray


def score(path: str | os.PathLike) -> pretty_midi.PrettyMIDI:
    """The file as pretty_midi reads it.

    Raises:
        UserError: Missing, or not MIDI.
    """
    import pretty_midi

    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tempo changes outside track 0, which are handled
            return pretty_midi.PrettyMIDI(os.fspath(path))
    except Exception as error:  # mido raises whatever the bytes led it to
        raise UserError(
            f"{path}: is not a MIDI file ({error or type(error).__name__}); export it again"
        ) from error


def read(path: str | os.PathLike) -> Notes:
    """The notes of all instruments but drums.

    Raises:
        UserError: Missing, not MIDI, or without notes.
    """
    notes = sorted(
        (note.start, note.end, note.pitch, note.velocity)
        for instrument in score(path).instruments
        if not instrument.is_drum
        for note in instrument.notes
    )
    if not notes:
        raise UserError(f"{path}: holds no notes")
    onset, offset, pitch, velocity = zip(*notes, strict=True)
    return Notes(np.array(onset), np.array(offset), np.array(pitch), np.array(velocity))
