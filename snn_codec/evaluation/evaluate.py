"""A codec over the clips of a data set: one row a clip."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from snn_codec import audio, metrics, midi
from snn_codec.codec import Codec
from snn_codec.corpus import clips
from snn_codec.errors import UserError
from snn_codec.evaluation import coders
from snn_codec.evaluation.coder import Coder
from snn_codec.evaluation.coders import ModelCoder
from snn_codec.evaluation.summary import Row
from snn_codec.metrics import Clip
from snn_codec.parallel import Parallelism, Ranks, one_thread


@dataclass(frozen=True)
class Selection:
    """Which clips are measured, and on which of them the slow measures are taken.

    Attributes:
        clips: Number of clips at most, evenly spaced over all clips of all recordings; None for all.
        perceptual: Names of measures that are taken on request.
        perceptual_clips: Number of these clips at most on which to compute the perceptual measures, evenly spaced.

    Raises:
        UserError: A number below one.
    """

    clips: int | None = None
    perceptual: tuple[str, ...] = ()
    perceptual_clips: int = 50

    def __post_init__(self) -> None:
        if (self.clips is not None and self.clips < 1) or self.perceptual_clips < 1:
            raise UserError("numbers of clips must be 1 or more")


@dataclass(frozen=True)
class Job:
    """One recording: its name, indices of its clips to measure, and of those with perceptual measures."""

    path: Path
    name: str
    midi: Path | None
    clips: tuple[int, ...]
    heard: tuple[int, ...]
    perceptual: tuple[str, ...]


def jobs(
    paths: Sequence[Path],
    scores: Sequence[Path | None],
    length: int,
    sample_rate: int,
    selection: Selection,
) -> list[Job]:
    """What to do for each recording that has a chosen clip of `length` samples at `sample_rate`.

    Raises:
        UserError: A recording cannot be read.
    """
    places = []
    for number, path in enumerate(paths):
        samples, rate, _ = audio.info(path)
        places += [(number, clip) for clip in range(-(-samples * sample_rate // rate) // length)]
    chosen = _spread(places, selection.clips)
    heard = set(_spread(chosen, selection.perceptual_clips)) if selection.perceptual else set()
    found, names = [], _names(paths)
    for number, (path, score) in enumerate(zip(paths, scores, strict=True)):
        mine = [place for place in chosen if place[0] == number]
        if mine:
            by_ear = tuple(clip for _, clip in mine if (number, clip) in heard)
            found.append(
                Job(
                    path,
                    names[number],
                    score,
                    tuple(clip for _, clip in mine),
                    by_ear,
                    tuple(selection.perceptual),
                )
            )
    return found


def _names(paths: Sequence[Path]) -> list[str]:
    """File names; of several with one name their folders, too, or they would count as one recording."""
    often = Counter(path.name for path in paths)
    top = os.path.commonpath([path.parent for path in paths]) if paths else ""
    return [path.name if often[path.name] == 1 else path.relative_to(top).as_posix() for path in paths]


def _spread(places: list[tuple[int, int]], number: int | None) -> list[tuple[int, int]]:
    if number is None or number >= len(places):
        return places
    return [places[int(place)] for place in np.linspace(0, len(places) - 1, number).round()]


def measured(coder: Coder, job: Job) -> list[Row]:
    """The rows of one recording; computed on one thread, so that the same numbers come out everywhere.

    Raises:
        UserError: The recording or its MIDI cannot be read.
    """
    with one_thread():
        return list(_rows(coder, job))


def _rows(coder: Coder, job: Job) -> Iterator[Row]:
    length, rate = coder.length, coder.sample_rate
    onsets = midi.read(job.midi).onset if job.midi else np.zeros(0)
    wanted = set(job.clips)
    for index, clip in enumerate(clips([job.path], length, rate, each=max(wanted) + 1)):
        if index not in wanted:
            continue
        coded = coder.code(clip)
        seen = Clip(coded.audio, clip, rate, onsets - index * length / rate, *coded[1:])
        row: Row = {"recording": job.name, "clip": index}
        row |= {name: metrics.MEASURES[name].of(seen) for name in metrics.always()}
        for name in job.perceptual:
            row[name] = metrics.MEASURES[name].of(seen) if index in job.heard else float("nan")
        yield row


def evaluate(
    coder: Coder | Codec,
    paths: Sequence[Path],
    progress: Callable[[float], None] = lambda share: None,
    *,
    scores: Sequence[Path | None] | None = None,
    selection: Selection | None = None,
    ranks: Ranks | None = None,
) -> list[Row]:
    """One row for every whole clip of 2^17 samples (5.94 s) in the recordings, as the paper evaluates.

    A row has the recording's name, the clip's number in it, and `MEASURES`: `si_snr` and `onset_si_snr` (dB; the
    latter NaN without MIDI), `stft_distance`, `mel_distance` (dB), `kbps` (true bytes, see `coders`), `dense_kbps`
    (one bit a cell), `density`, `events_per_second`, and what the selection asks for besides.

    Args:
        coder: With workers, one that has the name by which `coders.load` finds it.
        scores: MIDI files, one for each of the paths or None.
        selection: All clips by default.
        ranks: This process alone by default; on a rank that is not the first, there are no rows.

    Raises:
        UserError: A recording cannot be read, or none is long enough.
    """
    ranks = ranks or Ranks(Parallelism())
    coder = ModelCoder(coder) if isinstance(coder, Codec) else coder
    work = jobs(
        paths, scores or [None] * len(paths), coder.length, coder.sample_rate, selection or Selection()
    )
    if not work:
        raise UserError(
            f"none of the {len(paths)} recordings is {coder.length / coder.sample_rate:.2f} s long; "
            "give longer ones"
        )
    if ranks.parallelism.workers > 1:
        prepare: Callable[[], Coder] = partial(coders.load, coder.name, ranks.device)
    else:
        prepare = partial(_itself, coder)
    return [row for rows in ranks.map(measured, prepare, work, progress) for row in rows]


def _itself(coder: Coder) -> Coder:
    return coder
