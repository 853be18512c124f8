"""The work of `snn-codec analyse`: read recordings and their MIDI, write a folder of figures, tables and pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from snn_codec import audio, plots
from snn_codec.analysis import figures, index, notes, readout, report, results, rows
from snn_codec.analysis.items import Column, Item, beginning, columns, find, folders_of, has_table
from snn_codec.analysis.notes import Score
from snn_codec.analysis.readout import Example
from snn_codec.analysis.rows import Rows
from snn_codec.analysis.study import Study, study
from snn_codec.analysis.times import PAPER, Times
from snn_codec.analysis.wording import length
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.files import check_writable, new_folder, replacing, without_nan
from snn_codec.settings import Model as Settings
from snn_codec.stats import bootstrap

MEL_BANDS = 80  # of the readout that others are compared with, or as many as there are units
INDEX = "index.html"
LONGEST_PAGE = 600  # seconds; a page holds its sound, so it shows the beginning of what is longer


@dataclass(frozen=True)
class Options:
    """What to analyse and what to write.

    Attributes:
        midi: MIDI files, or folders of them; by default, MIDI is looked for beside each recording or in the folder's
            table.
        split: Of a folder in the MAESTRO layout.
        times: What counts as near an onset, and the largest lag, in milliseconds.
        rows: What to take together of models whose units have frequencies (`snn_codec.analysis.rows`).
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
    times: Times = PAPER
    rows: str | None = None
    offset_ms: float = 0.0
    pages: int = 1
    readout: bool = False
    save: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if self.rows not in (None, *rows.KINDS):
            raise UserError(f"rows must be one of {', '.join(rows.KINDS)}, not {self.rows}")
        if not abs(self.offset_ms) < 1e9:
            raise UserError(f"the offset must be in milliseconds, not {self.offset_ms}")
        if self.pages < 0:
            raise UserError(f"the number of pages must be 0 or more, not {self.pages}")

    def score(self, item: Item) -> Score:
        """The notes of a recording, moved by `offset_ms` to the time of its sound.

        Raises:
            UserError: Its MIDI cannot be read.
        """
        assert item.midi is not None  # `find` has seen to it
        return notes.read(item.midi).shifted(round(self.offset_ms * 1000))


def analyse(
    inputs: Sequence[Path],
    output: Path,
    codecs: Sequence[tuple[str, Codec, float | None]],
    options: Options,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, object]:
    """Write the report, and return the summary that is also in its `summary.json`.

    Args:
        inputs: Recordings, event files, folders of them, or one folder in the MAESTRO layout.
        output: Folder for `index.html`, `summary.json`, `figure5.png`, `units.csv`, `pairs.csv`, `results.h5`
            and pages.
        codecs: Names, models, and levels to encode at. Event files are read by the one that made them; those of
            other models have a column each, named by their fingerprint.

    Raises:
        UserError: An input cannot be read or has no MIDI, an extra is missing, or the output exists. A folder that was
            made for nothing is taken away.
    """
    items = ready(inputs, options)
    models = columns(items, codecs)
    if options.rows not in (None, "unit") and all(model.hertz is None for model in models):
        raise UserError(f"units of these models have no frequencies; rows must be unit, not {options.rows}")
    taken = [_rows(model, options) for model in models]
    pages = _pages(output, models, options)
    with ExitStack() as stack:
        for folder in (output, *(path.parent for path in pages.values())):
            stack.enter_context(new_folder(folder))
        _check_files(output, pages.values(), options)
        learned = find(inputs, options.midi, "train") if options.readout else []
        return _analysed(output, models, taken, learned, pages, options, progress)


class _Work:
    """Tells how much of the work is done, 1 for all: a recording is a part of it, each time that it is read."""

    def __init__(self, tell: Callable[[float], None], parts: int):
        self.tell, self.parts, self.done = tell, parts, 0

    def reading(self, share: float) -> None:
        """So much of a recording is done."""
        self.tell((self.done + share) / self.parts)

    def read(self, *_: object) -> None:
        """A recording is done."""
        self.done += 1
        self.reading(0)


def _analysed(
    output: Path,
    models: Sequence[Column],
    taken: Sequence[Rows],
    learned: Sequence[Item],
    pages: Mapping[tuple[Item, int], Path],
    options: Options,
    progress: Callable[[float], None],
) -> dict[str, object]:
    """Measure the models on their rows, `taken`, and write all files."""
    work = _Work(progress, sum(len(model.items) for model in models))
    if options.readout:
        again = learned[1 :: readout.HELD_OUT]  # to choose a threshold
        work.parts += sum(len(learned) + len(again) + len(model.items) for model in (*models, models[0]))
    studies: list[Study] = []
    for model, grouped in zip(models, taken, strict=True):
        names = _names(model.items)
        recordings = (
            (names[item], model.events(item, work.reading), options.score(item)) for item in model.items
        )
        studies.append(study(recordings, model.name, rows=grouped, times=options.times, progress=work.read))
    summary: dict[str, object] = {"models": [one.summary() for one in studies]}
    if options.readout:
        summary["onset_readout"] = _readouts(learned, models, taken, options, work)
    summary = without_nan(summary)
    examples = [(model.events(model.items[0]), options.score(model.items[0])) for model in models]
    hertz = [model.hertz for model in models]
    figures.figure5(output / "figure5.png", studies, examples, hertz, force=options.force)
    results.write_units(output / "units.csv", studies, force=options.force)
    results.write_pairs(output / "pairs.csv", studies, force=options.force)
    if options.save:
        results.save(output / "results.h5", studies, force=options.force)
    linked: dict[int, list[tuple[str, Path]]] = {number: [] for number in range(len(models))}
    for (item, number), path in pages.items():
        title = _names(models[number].items)[item]
        _page(path, studies[number], item, models[number], title, options)
        linked[number].append((title, path))
    index.write(output / INDEX, studies, linked, force=options.force)
    with replacing(output / "summary.json", force=options.force) as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def _rows(model: Column, options: Options) -> Rows:
    """What to take together; event files of a model that is not here have units without frequencies."""
    if model.codec is None:
        return rows.every_unit(model.events(model.items[0]).n_units, model.items[0].name)
    kind = options.rows if model.hertz is not None else None
    return rows.rows_of(model.hertz, model.codec.settings.units, kind)


def ready(inputs: Sequence[Path], options: Options) -> list[Item]:
    """The recordings, after all checks that need no work: their MIDI, and what a readout needs.

    Raises:
        UserError: As `analyse`.
    """
    plots.check_matplotlib()
    if options.readout:
        readout.transcription()
        if options.split == "train" or len(inputs) != 1 or not has_table(inputs[0]):
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


def _check_midi(items: Sequence[Item], options: Options) -> None:
    """All of them, because one that cannot be read would be found after the recordings before it were encoded."""
    for item in items:
        score = options.score(item)
        if item.is_sound:
            sound = audio.info(item.path)
            score.check_overlap(str(item.path), sound.samples / sound.sample_rate)


def _names(items: Sequence[Item]) -> dict[Item, str]:
    """What to call each recording: its name, and the folders that tell it from others of one name."""
    return {
        item: "/".join((*folders, PurePath(item.name).name)) if folders else item.name
        for item, folders in zip(items, folders_of(items), strict=True)
    }


def _pages(output: Path, models: Sequence[Column], options: Options) -> dict[tuple[Item, int], Path]:
    """The files of the pages by recording and model; recordings of one name are in folders, as their sound is.

    Raises:
        UserError: Two would have one name, or one that of the index; case is no difference on some file systems.
    """
    pages: dict[tuple[Item, int], Path] = {}
    taken = {INDEX: "the report's first page"}
    for number, model in enumerate(models):
        shown = model.items[: options.pages]
        for item, folders in zip(shown, folders_of(shown), strict=True):
            name = f"{item.stem}-{model.name}.html" if len(models) > 1 else f"{item.stem}.html"
            name = "/".join((*folders, name))
            if name.casefold() in taken:
                raise UserError(
                    f"{item.path}: the page of {item.name} would be {name}, as {taken[name.casefold()]}; rename the "
                    "recording, or ask for fewer --pages"
                )
            taken[name.casefold()] = f"that of {item.name}"
            pages[item, number] = output / name
    return pages


def _check_files(output: Path, pages: Iterable[Path], options: Options) -> None:
    """See that all files can be written."""
    names = [
        INDEX,
        "summary.json",
        "figure5.png",
        "units.csv",
        "pairs.csv",
        *["results.h5"] * options.save,
    ]
    for path in [*(output / name for name in names), *pages]:
        check_writable(path, force=options.force)


def lines(summary: dict[str, Any]) -> Iterator[str]:
    """The summary in words, a line at a time."""

    def words(values: list[float | None], digits: int) -> str:
        estimate, low, high = ("-" if value is None else f"{value:.{digits}f}" for value in values)
        return estimate if values[1] is None else f"{estimate} (95 % interval {low} to {high})"

    for found in summary["models"]:
        yield (
            f"{found['model']}: {found['recordings']} recordings, {length(found['seconds'] / 60)}, "
            f"{found['onsets']} onsets, density {found['density']:.3f}"
        )
        mean = words([found["mean_prominence"], None, None], 4)
        yield f"  {'mean prominence':24} {mean}, chance {found['chance']:.4f}"
        for name, digits in (("max_prominence", 4), ("selective_units", 0), ("selective_pairs", 0)):
            yield f"  {name.replace('_', ' '):24} {words(found[name], digits)}"
        if not found["selective_units"][0]:
            yield f"  {index.why(found)}"
    for name, found in summary.get("onset_readout", {}).items():
        yield f"onset F1 of a linear readout from {name}: {words(found['f1'], 3)}"


def _page(path: Path, one: Study, item: Item, model: Column, title: str, options: Options) -> None:
    events = model.events(item)
    sounds, steps = {}, int(LONGEST_PAGE * events.step_rate)
    most = min(steps * events.hop, events.n_samples)
    if item.is_sound:
        sounds["original"] = item.sound(events.sample_rate, most)
    if model.codec is not None:
        sounds["decoded"] = beginning(model.codec.decode_blocks(events), most)
    if events.n_steps > steps:
        title += f" (the first {LONGEST_PAGE / 60:g} of {events.duration / 60:.1f} minutes)"
        step, unit = (each[: events.step_counts()[:steps].sum()] for each in events.indices())
        events = EventMatrix.from_indices(
            step, unit, events.n_units, sample_rate=events.sample_rate, hop=events.hop, n_samples=steps * events.hop,
            fingerprint=events.fingerprint,
        )  # fmt: skip
    report.write(path, one, events, options.score(item), sounds, title=title, force=options.force)


def _readouts(
    learned: Sequence[Item], models: Sequence[Column], taken: Sequence[Rows], options: Options, work: _Work
) -> dict[str, dict[str, object]]:
    """F1 at 50 ms from each model's rows, as how many of their units fire, and from mel bands on the first's grid."""

    def of_events(item: Item, model: Column, grouped: Rows) -> Example:
        events = model.events(item, work.reading)
        work.read()
        return Example(grouped.counts(events), options.score(item), events.sample_rate, events.hop)

    def of_mel(item: Item, settings: Settings, bands: int) -> Example:
        sound = item.sound(settings.sample_rate)
        features = readout.mel(sound, settings.sample_rate, settings.hop, bands)
        work.read()
        return Example(features, options.score(item), settings.sample_rate, settings.hop)

    def scored(make: Callable[[Item], Example], items: Sequence[Item]) -> dict[str, object]:
        trained = readout.fit([partial(make, item) for item in learned])
        each = readout.evaluate(trained, [partial(make, item) for item in items])
        found = {
            name: bootstrap(np.array([row[name] for row in each]), range(len(each)))
            for name in ("precision", "recall", "f1")
        }
        return {
            **{name: [value["mean"], value["low"], value["high"]] for name, value in found.items()},
            "threshold": trained.threshold,
            "penalty": trained.penalty,
            "recordings": len(each),
            "trained_on": len(learned),
        }

    found = {
        model.name: scored(partial(of_events, model=model, grouped=grouped), model.items)
        for model, grouped in zip(models, taken, strict=True)
    }
    first = models[0]
    assert first.codec is not None  # a readout takes a folder of sound
    settings = first.codec.settings
    bands = min(settings.units, MEL_BANDS)
    of_first = partial(of_mel, settings=settings, bands=bands)
    return found | {f"mel, {bands} bands": scored(of_first, first.items)}
