"""Audio and event files in one call each: the functions of `import snn_codec`, which need no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snn_codec import audio, checkpoints
from snn_codec.events import EventMatrix
from snn_codec.pipes import name_of
from snn_codec.storage import event_files
from snn_codec.storage.entropy_model import EntropyModel

__all__ = ["read_audio", "read_events", "write_audio", "write_events"]

PathLike = str | os.PathLike[str]


def read_audio(path: PathLike, start: int = 0, stop: int | None = None) -> tuple[NDArray[np.float32], int]:
    """Read the samples [start, stop) of an audio file, all of them by default.

    Returns:
        float32 `[samples]`, full scale at 1, the mean of all channels; and the sample rate in Hz.

    Raises:
        UserError: The file is missing, cut off, damaged, or not audio, or ends before `start`.

    Warns of channels that cancel each other in their mean, and of an end that is cut off so that no one hears it.

    Examples:
        >>> events = codec.encode(*read_audio("bach.flac"))  # doctest: +SKIP
    """
    return audio.read(path, start, stop)


def write_audio(
    path: PathLike, samples: NDArray[np.floating], sample_rate: int, *, force: bool = False
) -> None:
    """Write a 16-bit audio file in the format of the suffix.

    Args:
        path: The file, e.g. `.wav` or `.flac`; formats that change the rate or have no 16 bits are not written.
        samples: float `[samples]`, an array or what NumPy makes one of, full scale at 1; values beyond are clipped.
        sample_rate: In Hz, a whole number.
        force: Replace a file that exists.

    Raises:
        UserError: The file exists (without `force`) or cannot be written, the suffix stands for no format, the
            format has no such rate, or the samples are not float, not `[samples]` or not finite.

    Examples:
        >>> write_audio("tone.wav", np.sin(np.arange(22050) / 10), 22050)  # doctest: +SKIP
    """
    audio.write(path, [samples], sample_rate, force=force)


def write_events(
    path: PathLike,
    events: EventMatrix | Mapping[str, EventMatrix],
    *,
    entropy_model: EntropyModel | None = None,
    force: bool = False,
) -> None:
    """Write the events of one recording, or of several by name, in the format of the suffix.

    Args:
        path: `.spk` for the fewest bytes (one recording), `.h5` for spike trains, or `.csv`, `.npz`, `.nwb`.
        events: One recording, which gets the file's name, or a mapping from names to recordings.
        entropy_model: The entropy model for `.spk` files, as `codec.entropy_model`. By default that of the shipped
            model with the events' fingerprint; events of other models are coded without one.
        force: Replace a file that exists.

    Raises:
        UserError: No such format, more recordings than it holds, or the file cannot be written.

    Examples:
        >>> write_events("bach.spk", events)  # doctest: +SKIP
        >>> write_events("corpus.h5", {"bach": events, "chopin": others})  # doctest: +SKIP
    """
    path = Path(path)
    kind = event_files.kind_of(path)
    items = list(events.items()) if isinstance(events, Mapping) else [(name_of(path), events)]
    for _, each in items:
        if not isinstance(each, EventMatrix):
            raise TypeError(f"events must be an EventMatrix or a mapping to such, not {type(each).__name__}")
    found = entropy_model or checkpoints.shipped_entropy_model
    event_files.write(path, kind, items, entropy_model=found, force=force)


def read_events(
    path: PathLike, recording: str | None = None, *, entropy_model: EntropyModel | None = None
) -> EventMatrix:
    """Read the events of one recording from a `.spk` or `.h5` file.

    Args:
        path: The file; its kind is known by its first bytes.
        recording: The recording's name, for an `.h5` file that holds several (`SpikeTrains(path)` reads all of them).
        entropy_model: The entropy model that a `.spk` file was written with; by default looked up among the shipped
            models.

    Raises:
        UserError: The file is missing, damaged, holds several recordings, or needs the entropy model of another model.

    Examples:
        >>> sound = codec.decode(read_events("bach.spk"))  # doctest: +SKIP
    """
    found = entropy_model or checkpoints.shipped_entropy_model
    return event_files.read(Path(path), recording, entropy_model=found)
