"""The work of `snn-codec analyse`: recordings and their MIDI in, a folder of figures, tables and pages out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from snn_codec import audio, checkpoints, corpus, plots
from snn_codec.analysis import figures, notes, readout, report, results
from snn_codec.analysis.correlation import HALF_WIDTH, LAGS
from snn_codec.analysis.notes import Score
from snn_codec.analysis.readout import Example
from snn_codec.analysis.study import Study, study
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.files import below, check_writable, make_folder, replacing, without_nan
from snn_codec.stats import bootstrap
from snn_codec.storage import event_files, h5

LONGEST_PAGE = 600  # seconds; a page holds its sound, so it shows the beginning of what is longer


@dataclass(frozen=True)
class Item:
    """One recording: a file of sound, or an event file and the name in it; and its MIDI."""

    path: Path
    midi: Path | None
    name: str

    @property
    def is_sound(self) -> bool:
        return self.path.suffix.lower() not in event_files.SUFFIXES

    def events(self, codec: Codec) -> EventMatrix:
        """Read, or encoded."""
        if self.is_sound:
            return codec.encode_blocks(audio.read_blocks(self.path), audio.info(self.path).sample_rate)
        made_here = event_files.fingerprint(self.path, self.event_name) == codec.fingerprint
        model = codec.entropy_model if made_here else checkpoints.shipped_entropy_model
        return event_files.read(self.path, self.event_name, entropy_model=model)

    @property
    def event_name(self) -> str | None:
        """Which one of an event file that may hold several."""
        return None if event_files.is_bitstream(self.path) else self.name

    def sound(self, sample_rate: int) -> np.ndarray:
        """The recording at this rate."""
        rate = audio.info(self.path).sample_rate
        return np.concatenate(list(audio.resampled(audio.read_blocks(self.path), rate, sample_rate)))


@dataclass(frozen=True)
class Options:
    """What to analyse and what to write.

    Attributes:
        midi: Files, or folders of them; without, MIDI stands beside each recording or in the folder's table.
        split: Of a folder in the MAESTRO layout.
        half_width: Steps to both sides of an onset that count as near it.
        offset_ms: How much later the sound is than its MIDI.
        pages: Interactive pages to write, of the first recordings, for each model.
        readout: Train a linear readout on the folder's training split; score it on `split`.
        save: Write all arrays to `results.h5`.
        force: Replace files that exist.

    Raises:
        UserError: A number that makes no sense.
    """

    midi: Sequence[Path] = ()
    split: str = "validation"
    half_width: int = HALF_WIDTH
    offset_ms: float = 0.0
    pages: int = 1
    readout: bool = False
    save: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.half_width < LAGS:
            raise UserError(f"the half width must be 0 to {LAGS - 1} steps, not {self.half_width}")
        if not abs(self.offset_ms) < 1e9:
            raise UserError(f"the offset must be in milliseconds, not {self.offset_ms}")
        if self.pages < 0:
            raise UserError(f"the number of pages must be 0 or more, not {self.pages}")

    def score(self, item: Item) -> Score:
        """The notes of a recording, at the time of its sound."""
        assert item.midi is not None  # `find` has seen to it
        return notes.read(item.midi).shifted(round(self.offset_ms * 1000))


def analyse(
    inputs: Sequence[Path],
    output: Path,
    codecs: Sequence[tuple[str, Codec]],
    options: Options,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, object]:
    """Write the report; the summary that is also in its `summary.json`.

    Args:
        inputs: Recordings, event files, folders of them, or one folder in the MAESTRO layout.
        output: Folder for `summary.json`, `figure5.png`, `units.csv`, `pairs.csv`, `results.h5` and pages.
        codecs: Names and models; event files take one, and are named after their own if that is another.

    Raises:
        UserError: An input cannot be read or has no MIDI, an extra is missing, or the output exists.
    """
    items = ready(inputs, options)
    if len(codecs) > 1 and not all(item.is_sound for item in items):
        raise UserError("event files are of one model; give recordings to compare several")
    if not items[0].is_sound:
        made_by = items[0].events(codecs[0][1]).fingerprint
        if made_by != codecs[0][1].fingerprint:
            codecs = [(made_by or "unknown", codecs[0][1])]
    pages = _files(output, items, codecs, options)
    studies = []
    for number, (name, codec) in enumerate(codecs):
        recordings = ((item.name, item.events(codec), options.score(item)) for item in items)
        share = partial(_share, progress, number * len(items), len(codecs) * len(items))
        studies.append(study(recordings, name, half_width=options.half_width, progress=share))
    summary: dict[str, object] = {"models": [one.summary() for one in studies]}
    if options.readout:
        learned = find(inputs, options.midi, "train")
        summary["onset_readout"] = _readouts(learned, items, codecs, options)
    summary = without_nan(summary)
    examples = [(items[0].events(codec), options.score(items[0])) for _, codec in codecs]
    figures.figure5(output / "figure5.png", studies, examples, force=options.force)
    results.write_units(output / "units.csv", studies, force=options.force)
    results.write_pairs(output / "pairs.csv", studies, force=options.force)
    if options.save:
        results.save(output / "results.h5", studies, force=options.force)
    for (item, number), path in pages.items():
        _page(path, studies[number], item, codecs[number][1], options)
    with replacing(output / "summary.json", force=options.force) as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def ready(inputs: Sequence[Path], options: Options) -> list[Item]:
    """The recordings, once all that can be told before the work was looked at: their MIDI, and what a readout needs.

    Raises:
        UserError: As `analyse`.
    """
    plots.pyplot()
    if options.readout:
        readout.transcription()
        if options.split == "train" or len(inputs) != 1 or not _has_table(inputs[0]):
            raise UserError("a readout needs one folder in the MAESTRO layout, and another split than train")
        learned = find(inputs, options.midi, "train")
        if len(learned) < 2:
            raise UserError(
                f"{inputs[0]}: its split train has one recording; a readout learns from two or more"
            )
        _check_midi(learned, options)
    items = find(inputs, options.midi, options.split)
    _check_midi(items, options)
    return items


def model_of(items: Sequence[Item]) -> str:
    """The shipped model that made the event files, or the default one."""
    made = (
        checkpoints.shipped(event_files.fingerprint(item.path, item.event_name))
        for item in items
        if not item.is_sound
    )
    return next((name for name in made if name), checkpoints.DEFAULT)


def _check_midi(items: Sequence[Item], options: Options) -> None:
    """All of them, because one that cannot be read would be found after the recordings before it were encoded."""
    for item in items:
        score = options.score(item)
        if item.is_sound:
            sound = audio.info(item.path)
            score.check_overlap(str(item.path), sound.samples / sound.sample_rate)


def _files(
    output: Path, items: Sequence[Item], codecs: Sequence[tuple[str, Codec]], options: Options
) -> dict[tuple[Item, int], Path]:
    """Make the folder, see that all files can be written, and give those of the pages by recording and model."""
    make_folder(output)
    pages = {}
    for item in items[: options.pages]:
        for number, (name, _) in enumerate(codecs):
            stem = Path(item.name).stem
            pages[item, number] = output / (f"{stem}-{name}.html" if len(codecs) > 1 else f"{stem}.html")
    if len(set(pages.values())) < len(pages):
        raise UserError("two recordings have the same name; ask for fewer --pages")
    names = ["summary.json", "figure5.png", "units.csv", "pairs.csv", *["results.h5"] * options.save]
    for path in [*(output / name for name in names), *pages.values()]:
        check_writable(path, force=options.force)
    return pages


def _share(progress: Callable[[float], None], before: int, total: int, done: int) -> None:
    progress((before + done) / total)


def lines(summary: dict[str, Any]) -> Iterator[str]:
    """The summary in words."""

    def words(values: list[float | None], digits: int) -> str:
        estimate, low, high = ("-" if value is None else f"{value:.{digits}f}" for value in values)
        return estimate if values[1] is None else f"{estimate} (95 % interval {low} to {high})"

    for found in summary["models"]:
        yield (
            f"{found['model']}: {found['recordings']} recordings, {found['seconds'] / 60:.1f} min, "
            f"{found['onsets']} onsets, density {found['density']:.3f}"
        )
        mean = words([found["mean_prominence"], None, None], 4)
        yield f"  {'mean prominence':24} {mean}, chance {found['chance']:.4f}"
        for name, digits in (("max_prominence", 4), ("selective_units", 0), ("selective_pairs", 0)):
            yield f"  {name.replace('_', ' '):24} {words(found[name], digits)}"
    for name, found in summary.get("onset_readout", {}).items():
        yield f"onset F1 of a linear readout from {name}: {words(found['f1'], 3)}"


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
        if _has_table(given) and not scores:
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
    if len(items) == len(scores) == 1:
        return [Item(items[0].path, scores[0], items[0].name)]
    return [item if item.midi else _with_midi(item, scores) for item in items]


def _has_table(given: Path) -> bool:
    return given.is_dir() and corpus.table(given) is not None


def _with_midi(item: Item, scores: Sequence[Path]) -> Item:
    stem = Path(item.name).stem
    beside = [item.path.with_name(stem + suffix) for suffix in corpus.MIDI_SUFFIXES]
    for path in scores or beside:
        if path.stem == stem and path.is_file():
            return Item(item.path, path, item.name)
    where = "among those given" if scores else "beside it"
    raise UserError(f"{item.path}: no MIDI named {stem} {where}; give it with --midi")


def _page(path: Path, one: Study, item: Item, codec: Codec, options: Options) -> None:
    events = item.events(codec)
    sounds = {}
    if item.is_sound:
        sounds["original"] = item.sound(events.sample_rate)
    if events.fingerprint == codec.fingerprint:
        sounds["decoded"] = codec.decode(events)
    title = item.name
    steps = int(LONGEST_PAGE * events.step_rate)
    if events.n_steps > steps:
        title += f" (the first {LONGEST_PAGE // 60} of {events.duration / 60:.0f} minutes)"
        events = EventMatrix(
            events.events[:, :steps], events.sample_rate, events.hop, steps * events.hop, events.fingerprint
        )
    sounds = {name: sound[: events.n_samples] for name, sound in sounds.items()}
    report.write(path, one, events, options.score(item), sounds, title=title, force=options.force)


def _readouts(
    learned: Sequence[Item],
    items: Sequence[Item],
    codecs: Sequence[tuple[str, Codec]],
    options: Options,
) -> dict[str, dict[str, object]]:
    """F1 at 50 ms from each model's events, and from a mel spectrogram on the grid of the first."""
    settings = codecs[0][1].settings

    def of_events(item: Item, codec: Codec) -> Example:
        events = item.events(codec)
        return Example(events.events, options.score(item), events.sample_rate, events.hop)

    def of_mel(item: Item) -> Example:
        sound = item.sound(settings.sample_rate)
        features = readout.mel(sound, settings.sample_rate, settings.hop, settings.units)
        return Example(features, options.score(item), settings.sample_rate, settings.hop)

    def scored(make: Callable[[Item], Example]) -> dict[str, object]:
        trained = readout.fit([partial(make, item) for item in learned])
        rows = readout.evaluate(trained, [partial(make, item) for item in items])
        found = {
            name: bootstrap(np.array([row[name] for row in rows]), range(len(rows)))
            for name in ("precision", "recall", "f1")
        }
        return {
            **{name: [value["mean"], value["low"], value["high"]] for name, value in found.items()},
            "threshold": trained.threshold,
            "penalty": trained.penalty,
            "recordings": len(rows),
            "trained_on": len(learned),
        }

    found = {name: scored(partial(of_events, codec=codec)) for name, codec in codecs}
    return found | {f"mel, {settings.units} bands": scored(of_mel)}
