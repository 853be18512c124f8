"""The inputs of `snn-codec analyse`: recordings and event files, their MIDI, and the model of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path, PurePath

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
    def stem(self) -> str:
        """The last part of its name, without a suffix of a file; other dots, as in `K. 545`, are part of it."""
        last = PurePath(self.name)
        known = (*audio.SUFFIXES, *event_files.SUFFIXES, *corpus.MIDI_SUFFIXES, self.path.suffix.lower())
        return last.stem if last.suffix.lower() in known else last.name

    @property
    def place(self) -> tuple[str, ...]:
        """The folders that it is in, also those of its name in an event file, and `stem`."""
        inside = PurePath(self.name).parent.parts if self.path.suffix.lower() == ".h5" else ()
        return (*_folders(self.path), *inside, self.stem)

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

    def events(
        self,
        codec: Codec | None,
        level: float | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> EventMatrix:
        """The events: of an event file as they are, of sound as `codec` encodes it.

        Args:
            progress: Is told how much of a sound is encoded, 1 for all.

        Raises:
            UserError: The file cannot be read, or `codec` has no such level.
        """
        if self.is_sound:
            assert codec is not None  # `columns` gives no sound to a model that is not there
            info = audio.info(self.path)
            length = max(1, info.samples) / info.sample_rate
            return codec.encode_blocks(
                audio.read_blocks(self.path),
                info.sample_rate,
                level=level,
                progress=lambda seconds: progress(min(1.0, seconds / length)),
            )
        made_here = codec is not None and self.fingerprint == codec.fingerprint
        model = codec.entropy_model if made_here else checkpoints.shipped_entropy_model  # type: ignore[union-attr]
        return event_files.read(self.path, self.event_name, entropy_model=model)

    @property
    def event_name(self) -> str | None:
        """The name of this recording in an event file that may hold several; None in a bitstream."""
        return None if event_files.is_bitstream(self.path) else self.name

    def sound(self, sample_rate: int, most: int | None = None) -> np.ndarray:
        """The recording at this rate, or `most` samples of it: float32 `[samples]`, channels mixed down."""
        rate = audio.info(self.path).sample_rate
        return beginning(audio.resampled(audio.read_blocks(self.path), rate, sample_rate), most)


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

    def events(self, item: Item, progress: Callable[[float], None] = lambda share: None) -> EventMatrix:
        """The events of a recording (`Item.events`)."""
        return item.events(self.codec, self.level, progress)


def beginning(blocks: Iterable[np.ndarray], most: int | None) -> np.ndarray:
    """The first `most` samples of blocks, of which no more than that takes are made; None for all."""
    taken, held = [], 0
    for block in blocks:
        taken.append(block)
        held += len(block)
        if most is not None and held >= most:
            break
    return np.concatenate(taken)[:most]


def folders_of(items: Sequence[Item]) -> list[tuple[str, ...]]:
    """For each recording whose stem others have, too, the folders that tell them apart; none for the others.

    Examples:
        >>> folders_of([Item(Path(name), None, name) for name in ("x/a.wav", "y/a.wav", "y/b.wav")])
        [('x',), ('y',), ()]
    """
    alike: dict[str, list[tuple[str, ...]]] = {}
    for item in items:
        alike.setdefault(item.stem.casefold(), []).append(item.place[:-1])
    found = []
    for item in items:
        places = alike[item.stem.casefold()]
        apart = item.place[len(os.path.commonprefix(places)) : -1] if len(places) > 1 else ()
        found.append(tuple(folder for folder in apart if folder not in ("..", "/")))
    return found


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
    groups: list[list[Item]] = []
    for given in inputs:
        if has_table(given) and not scores:
            groups.append([Item(*recording) for recording in corpus.recordings(given, split)])
            continue
        files = below(given, (*audio.SUFFIXES, *event_files.SUFFIXES)) if given.is_dir() else [given]
        items = []
        for path in files:
            if not path.is_file():
                raise UserError(f"{path}: no such file")
            names = h5.names(path) if path.suffix.lower() == ".h5" else [path.name]
            items += [Item(path, None, name) for name in names]
        groups.append(items)
    everything = [item for group in groups for item in group]
    if not everything:
        raise UserError(f"{', '.join(map(str, inputs))}: no recordings in there")
    if len(scores) == 1 and len({item.stem for item in everything}) == 1 and max(map(len, groups)) == 1:
        return [replace(item, midi=scores[0]) for item in everything]
    return [item for group in groups for item in _paired(group, scores)]


def has_table(given: Path) -> bool:
    """Whether this is a folder in the MAESTRO layout."""
    return given.is_dir() and corpus.table(given) is not None


def _paired(items: Sequence[Item], scores: Sequence[Path]) -> list[Item]:
    """The recordings of one input with their MIDI: of `scores`, or beside each if there are none."""
    if not scores:
        return [item if item.midi else replace(item, midi=_beside(item)) for item in items]
    found = [replace(item, midi=_named(item, scores)) for item in items]
    nearest: dict[Path | None, Item] = {}
    for item in found:
        nearest[item.midi] = max(nearest.get(item.midi, item), item, key=_shared)
    for item in found:
        if _shared(item) < _shared(nearest[item.midi]):
            raise UserError(
                f"{item.path}: no MIDI of its own among those given, {item.midi} is that of "
                f"{nearest[item.midi].path}; give it with --midi"
            )
    return found


def _named(item: Item, scores: Sequence[Path]) -> Path:
    """The MIDI of the same name; of several, the one in a folder of the same name, and so on upwards."""
    candidates = {os.path.abspath(path): path for path in scores if path.stem == item.stem and path.is_file()}
    if not candidates:
        raise UserError(f"{item.path}: no MIDI named {item.stem} among those given; give it with --midi")
    shared = [_shared(replace(item, midi=path)) for path in candidates.values()]
    best = [path for path, n in zip(candidates.values(), shared, strict=True) if n == max(shared)]
    if len(best) > 1:
        raise UserError(
            f"{item.path}: {best[0]} and {best[1]} have its name; put them into folders as the recordings are in, or "
            "give one"
        )
    return best[0]


def _beside(item: Item) -> Path:
    folders = dict.fromkeys((item.path.parent / PurePath(item.name).parent, item.path.parent))
    for folder in folders if item.path.suffix.lower() == ".h5" else [item.path.parent]:
        for suffix in corpus.MIDI_SUFFIXES:
            if (path := folder / (item.stem + suffix)).is_file():
                return path
    raise UserError(f"{item.path}: no MIDI named {item.stem} beside it; give it with --midi")


def _shared(item: Item) -> int:
    """How many names of folders, from the last upwards, a recording and its MIDI share."""
    assert item.midi is not None
    pairs = zip(reversed(item.place[:-1]), reversed(_folders(item.midi)), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _folders(path: Path) -> tuple[str, ...]:
    return Path(os.path.abspath(path)).parent.parts
