"""The inputs of `snn-codec analyse`: recordings and event files, their MIDI, and the model of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from snn_codec import audio, checkpoints, corpus
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.files import below
from snn_codec.storage import event_files, h5


@dataclass(frozen=True)
class Item:
    """One recording: a file of sound, or an event file and the name in it; and its MIDI."""

    path: Path
    midi: Path | None
    name: str

    @property
    def is_sound(self) -> bool:
        """Whether it is a file of sound, not of events."""
        return self.path.suffix.lower() not in event_files.SUFFIXES

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the checkpoint that made an event file; "" for sound, or if it is not known.

        Raises:
            UserError: The file cannot be read.
        """
        return "" if self.is_sound else event_files.fingerprint(self.path, self.event_name)

    def events(self, codec: Codec | None, level: float | None = None) -> EventMatrix:
        """The events: of an event file as they are, of sound as `codec` encodes it.

        Raises:
            UserError: The file cannot be read, or `codec` has no such level.
        """
        if self.is_sound:
            assert codec is not None  # `columns` gives no sound to a model that is not there
            blocks, rate = audio.read_blocks(self.path), audio.info(self.path).sample_rate
            return codec.encode_blocks(blocks, rate, level=level)
        made_here = codec is not None and self.fingerprint == codec.fingerprint
        model = codec.entropy_model if made_here else checkpoints.shipped_entropy_model  # type: ignore[union-attr]
        return event_files.read(self.path, self.event_name, entropy_model=model)

    @property
    def event_name(self) -> str | None:
        """The name of this recording in an event file that may hold several; None in a bitstream."""
        return None if event_files.is_bitstream(self.path) else self.name

    def sound(self, sample_rate: int) -> np.ndarray:
        """The recording at this rate: float32 `[samples]`, channels mixed down."""
        rate = audio.info(self.path).sample_rate
        return np.concatenate(list(audio.resampled(audio.read_blocks(self.path), rate, sample_rate)))


@dataclass(frozen=True, eq=False)
class Column:
    """One model and the recordings it is measured on; `codec` is None if only its event files are here.

    Attributes:
        level: The level to encode at, of models that have levels.
    """

    name: str
    codec: Codec | None
    items: Sequence[Item]
    level: float | None = None

    @property
    def hertz(self) -> np.ndarray | None:
        """Centre frequencies of the units, if they have any (`Model.unit_hertz`)."""
        return None if self.codec is None else self.codec.settings.unit_hertz()

    def events(self, item: Item) -> EventMatrix:
        """The events of a recording (`Item.events`)."""
        return item.events(self.codec, self.level)


def columns(items: Sequence[Item], codecs: Sequence[tuple[str, Codec, float | None]]) -> list[Column]:
    """Assign recordings to models: sound to every model, event files to the one that made them.

    Event files of a model that is not among `codecs` have a column of their own, named by their fingerprint.
    """
    sounds = [item for item in items if item.is_sound]
    made: dict[str, list[Item]] = {}
    for item in items:
        if not item.is_sound:
            made.setdefault(item.fingerprint, []).append(item)
    found = []
    for name, codec, level in codecs:
        its = [*sounds, *made.pop(codec.fingerprint, [])]
        if its:
            found.append(Column(name, codec, its, level))
    return found + [Column(name or "unknown", None, its) for name, its in made.items()]


def models_of(items: Sequence[Item]) -> list[str]:
    """The shipped models that made the event files; the default one for sound, or if none is known."""
    names = shipped_models(items)
    if not names or any(item.is_sound for item in items):
        names = list(dict.fromkeys([checkpoints.DEFAULT, *names]))
    return names


def shipped_models(items: Sequence[Item]) -> list[str]:
    """Names of the shipped models that made event files among these, each once."""
    made = dict.fromkeys(item.fingerprint for item in items if not item.is_sound)
    return [name for fingerprint in made if (name := checkpoints.shipped(fingerprint))]


def find(inputs: Sequence[Path], midi: Sequence[Path], split: str) -> list[Item]:
    """All recordings with their MIDI, found by name; in the MAESTRO layout by the table.

    Raises:
        UserError: Something is missing; the message says of which recording.
    """
    scores = [
        path for given in midi for path in (below(given, corpus.MIDI_SUFFIXES) if given.is_dir() else [given])
    ]
    items: list[Item] = []
    for given in inputs:
        if has_table(given) and not scores:
            items += [Item(*recording) for recording in corpus.recordings(given, split)]
            continue
        files = below(given, (*audio.SUFFIXES, *event_files.SUFFIXES)) if given.is_dir() else [given]
        for path in files:
            if not path.is_file():
                raise UserError(f"{path}: no such file")
            names = h5.names(path) if path.suffix.lower() == ".h5" else [path.name]
            items += [Item(path, None, name) for name in names]
    if not items:
        raise UserError(f"{', '.join(map(str, inputs))}: no recordings in there")
    if len(scores) == 1 and len({Path(item.name).stem for item in items}) == 1:
        return [Item(item.path, scores[0], item.name) for item in items]
    return [item if item.midi else _with_midi(item, scores) for item in items]


def has_table(given: Path) -> bool:
    """Whether this is a folder in the MAESTRO layout."""
    return given.is_dir() and corpus.table(given) is not None


def _with_midi(item: Item, scores: Sequence[Path]) -> Item:
    stem = Path(item.name).stem
    beside = [item.path.with_name(stem + suffix) for suffix in corpus.MIDI_SUFFIXES]
    for path in scores or beside:
        if path.stem == stem and path.is_file():
            return Item(item.path, path, item.name)
    where = "among those given" if scores else "beside it"
    raise UserError(f"{item.path}: no MIDI named {stem} {where}; give it with --midi")
