"""Audio and event files in one call each: the functions of `import snn_codec`, which need no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snn_codec import audio, checkpoints
from snn_codec.events import EventMatrix
from snn_codec.storage import event_files
from snn_codec.storage.entropy_model import EntropyModel

__all__ = ["read_audio", "read_events", "write_audio", "write_events"]

PathLike = str | os.PathLike[str]


def read_audio(path: PathLike, start: int = 0, stop: int | None = None) -> tuple[NDArray[np.float32], int]:
    """The samples [start, stop) of a file and its sample rate in Hz; all of them by default.

    Channels are mixed down to their mean: float32 `[samples]`.

    Raises:
        UserError: The file is missing, cut off, or not audio.

    Example:
        >>> events = codec.encode(*read_audio("bach.flac"))  # doctest: +SKIP
    """
    return audio.read(path, start, stop)


def write_audio(
    path: PathLike, samples: NDArray[np.floating], sample_rate: int, *, force: bool = False
) -> None:
    """Write float `[samples]`, full scale at 1, as 16-bit audio in the format of the suffix; what is beyond is clipped.

    Raises:
        UserError: The file exists (without `force`), cannot be written, or its suffix is no format.
    """
    audio.write(path, [samples], sample_rate, force=force)


def write_events(
    path: PathLike,
    events: EventMatrix | Mapping[str, EventMatrix],
    *,
    entropy_model: EntropyModel | None = None,
    force: bool = False,
) -> None:
    """Write one recording, or several by name, in the format of the suffix.

    Args:
        path: `.spk` for the fewest bytes (one recording), `.h5` for spike trains, or `.csv`, `.npz`, `.nwb`.
        events: One recording, which gets the file's name, or a mapping from names to recordings.
        entropy_model: Makes `.spk` files smaller. By default that of the shipped model with the events' fingerprint;
            events of other models are coded without one, unless `codec.entropy_model` is given.
        force: Replace a file that exists.

    Raises:
        UserError: No such format, more recordings than it holds, or the file cannot be written.

    Example:
        >>> write_events("bach.spk", events)  # doctest: +SKIP
        >>> write_events("corpus.h5", {"bach": events, "chopin": others})  # doctest: +SKIP
    """
    path = Path(path)
    kind = event_files.kind_of(path)
    items = list(events.items()) if isinstance(events, Mapping) else [(path.stem, events)]
    found = entropy_model or checkpoints.shipped_entropy_model
    event_files.write(path, kind, items, entropy_model=found, force=force)


def read_events(
    path: PathLike, recording: str | None = None, *, entropy_model: EntropyModel | None = None
) -> EventMatrix:
    """The events of a `.spk` or `.h5` file.

    Args:
        path: The file; its first bytes say what it is.
        recording: Which one of an `.h5` file that holds several; `SpikeTrains(path)` is a mapping of all.
        entropy_model: That of the model which made a `.spk` file; by default looked up among the shipped models.

    Raises:
        UserError: The file is missing, damaged, holds several recordings, or needs the entropy model of another model.

    Example:
        >>> sound = codec.decode(read_events("bach.spk"))  # doctest: +SKIP
    """
    found = entropy_model or checkpoints.shipped_entropy_model
    return event_files.read(Path(path), recording, entropy_model=found)
