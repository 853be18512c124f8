"""Surrogate gradients against each other: a grid of training runs that goes on after a kill at any moment.

A cell of the grid is a setting (FREE, or SPARSE from the same cell's FREE on), a choice (a surrogate and its parameter)
and a seed. All choices of a seed start from the same weights and hear the same crops in the same order. Each cell is an
ordinary run of `snn_codec.training.loop` in a process and a folder of its own, `SETTING/CHOICE/seedN`; `study.json`
says what all have in common, and a folder takes more choices, seeds and settings at any time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from snn_codec import corpus
from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.files import exclusive, replacing
from snn_codec.models import surrogates
from snn_codec.training.optim import optimisers

SETTINGS = ("free", "sparse")
VALIDATIONS = 8  # of a run
CLIPS = 8  # of a validation
VARIED = ("training.seed", "model.bottleneck.surrogate", "model.bottleneck.slope")
POLL_SECONDS = 0.2
KILLED = "its process ended with"  # how the reason of a run begins that goes on the next time


@dataclass(frozen=True)
class Cell:
    """One training run: its setting, the label of its surrogate (`surrogates.label`), its seed."""

    setting: str
    choice: str
    seed: int

    def __str__(self) -> str:
        return f"{self.setting.upper()}, {self.choice}, seed {self.seed}"

    def folder(self, root: Path) -> Path:
        """Where below the study's folder the run is."""
        return root / self.setting / self.choice.replace(":", "-") / f"seed{self.seed}"


@dataclass(frozen=True)
class Study:
    """A grid of cells.

    Attributes:
        base: What the runs of a setting have in common, by setting; seed and surrogate in it do not count.
        data: Folders of recordings, absolute.
        choices: Labels of surrogates.
        seeds: Seeds 0 to `seeds` - 1.
    """

    base: dict[str, config.Config]
    data: tuple[Path, ...]
    choices: tuple[str, ...]
    seeds: int

    def cells(self) -> list[Cell]:
        """All cells, seed by seed, so that what is there after any time can be compared; FREE before SPARSE."""
        return [
            Cell(setting, choice, seed)
            for seed in range(self.seeds)
            for setting in SETTINGS
            if setting in self.base
            for choice in self.choices
        ]

    def config(self, cell: Cell) -> config.Config:
        """The settings of one run."""
        base = self.base[cell.setting]
        surrogate, slope = surrogates.parse(cell.choice)
        spiking = replace(base.model.bottleneck, surrogate=surrogate, slope=float(slope))
        return config.Config(replace(base.model, bottleneck=spiking), replace(base.training, seed=cell.seed))


def plan(
    specs: Sequence[str],
    data: Sequence[Path],
    *,
    seeds: int,
    steps: int,
    sparse_steps: int | None = None,
    settings: Sequence[str] = SETTINGS,
    preset: str = "cpu-free-plain",
    changes: Sequence[str] = (),
    sparse_changes: Sequence[str] = (),
) -> Study:
    """The study of surrogates `specs` with `seeds` seeds, `steps` steps each; everything is checked before it runs.

    Args:
        changes: `key=value` for all runs; `training.sparsity.*` for those of SPARSE, which else has the values of
            the preset `cpu-sparse`.
        sparse_changes: The same for the runs of SPARSE alone.

    Raises:
        UserError: A surrogate, setting, number, preset, change or folder that cannot be used, or a missing package.
    """
    choices = [surrogates.label(*surrogates.parse(spec)) for spec in specs]
    for choice in choices:
        if choices.count(choice) > 1:
            raise UserError(f"surrogate {choice!r} is given twice")
    if not choices:
        raise UserError("no surrogate is given; name some, as in fast_sigmoid:2,atan")
    for setting in settings:
        if setting not in SETTINGS:
            raise UserError(f"setting {setting!r} is not known; choose from {', '.join(SETTINGS)}")
    if "free" not in settings:
        raise UserError("SPARSE starts from FREE's runs; use --settings free,sparse")
    for change in sparse_changes:
        if "sparse" not in settings:
            raise UserError(f"--sparse-set {change}: there are no SPARSE runs; use --settings free,sparse")
        if change.startswith("model."):
            raise UserError(f"--sparse-set {change}: SPARSE runs start from FREE's model; use --set")
    sparse_steps = steps if sparse_steps is None else sparse_steps
    if min(seeds, steps, sparse_steps) < 1:
        raise UserError(f"{seeds} seeds, {steps} and {sparse_steps} steps: each must be at least 1")
    base = {}
    for setting in SETTINGS:
        if setting in settings:
            length = steps if setting == "free" else sparse_steps
            own = [*changes, *sparse_changes] if setting == "sparse" else changes
            base[setting] = _base(preset, setting, length, own)
            optimisers(
                Codec(base[setting].model), base[setting].training
            )  # contradictions show here, not in runs
    for folder in data:
        for split in ("train", "validation"):
            corpus.recordings(folder, split)
    return Study(base, tuple(folder.resolve() for folder in data), tuple(choices), seeds)


def _base(preset: str, setting: str, steps: int, changes: Sequence[str]) -> config.Config:
    given = [
        f"training.steps={steps}",
        f"training.validate_every={max(1, steps // VALIDATIONS)}",
        f"training.validation_clips={CLIPS}",
    ]
    pressure = config.PRESETS["cpu-sparse"].training.sparsity if setting == "sparse" else config.Sparsity()
    given += [f"training.sparsity.{key}={value}" for key, value in config.to_dict(pressure).items()]
    for change in changes:
        key = change.partition("=")[0]
        if key in VARIED or key == "training.steps":
            raise UserError(
                f"{change}: the study chooses it; use --surrogates, --seeds, --steps, --sparse-steps"
            )
        if setting == "sparse" or not key.startswith("training.sparsity."):
            given.append(change)
    found = config.load(preset, given)
    if not isinstance(found.model.bottleneck, config.Spiking):
        raise UserError(
            f"{preset}: its bottleneck has no surrogate; use one that is spiking, as cpu-free-plain"
        )
    spiking = replace(found.model.bottleneck, surrogate="fast_sigmoid", slope=2.0)
    return config.Config(replace(found.model, bottleneck=spiking), replace(found.training, seed=0))


# --- the folder ---


def write(study: Study, root: Path) -> Study:
    """Note the study in its folder; with what was noted there before, what the folder now holds.

    Raises:
        UserError: The folder holds a study with other settings or data.
    """
    path = root / "study.json"
    if path.exists():
        before = read(root)
        for setting in [setting for setting in study.base if setting in before.base]:
            for name, (old, new) in _differences(before.base[setting], study.base[setting]).items():
                raise UserError(
                    f"{path}: its {setting.upper()} runs have {name} = {old}, not {new}; "
                    "give the same as before, or another folder"
                )
        if before.data != study.data:
            raise UserError(
                f"{path}: its runs use the data in {', '.join(map(str, before.data))}; "
                "give the same, or another folder"
            )
        study = Study(
            before.base | study.base,
            study.data,
            tuple(dict.fromkeys(before.choices + study.choices)),
            max(before.seeds, study.seeds),
        )
    text = {
        "base": {setting: config.to_dict(base) for setting, base in study.base.items()},
        "data": [str(folder) for folder in study.data],
        "choices": study.choices,
        "seeds": study.seeds,
    }
    with replacing(path, force=True) as temporary:
        temporary.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    return study


def _make(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in root.iterdir()}
    except OSError as error:
        raise UserError(f"{root}: cannot be made ({error.strerror}); choose another folder") from error
    if there - {"lock"} and "study.json" not in there:
        raise UserError(f"{root}: is not empty and holds no study; give another folder")


def read(root: Path) -> Study:
    """The study of a folder.

    Raises:
        UserError: There is none, or it cannot be read.
    """
    path = root / "study.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        base = {
            setting: config.from_dict(config.Config, part, f"{path}: base.{setting}")
            for setting, part in data["base"].items()
        }
        folders = tuple(Path(folder) for folder in data["data"])
        return Study(base, folders, tuple(map(str, data["choices"])), int(data["seeds"]))
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give the folder of a study") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is damaged ({error!r}); give another folder") from error


def _differences(one: config.Config, other: config.Config) -> dict[str, tuple[Any, Any]]:
    flat = [dict(_flat(config.to_dict(part))) for part in (one, other)]
    keys = [*flat[0], *(key for key in flat[1] if key not in flat[0])]
    return {key: (flat[0].get(key), flat[1].get(key)) for key in keys if flat[0].get(key) != flat[1].get(key)}


def _flat(data: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def result(cell: Cell, root: Path) -> dict[str, str] | None:
    """How a run ended, `status` ("done" or "failed") and `reason`; None if it has not."""
    try:
        return json.loads((cell.folder(root) / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def ended_well(cell: Cell, root: Path) -> bool:
    """Whether a run is done."""
    return (result(cell, root) or {}).get("status") == "done"


# --- running ---


def run(
    study: Study,
    root: Path,
    *,
    jobs: int,
    accelerator: str = "cpu",
    retry: bool = False,
    console: Console | None = None,
) -> dict[Cell, str]:
    """Train all cells that are not finished, `jobs` at once; those that did not end well, with the reason.

    Runs that fail (diverged, collapsed: a result as well) are not tried again, unless `retry`. Runs that were killed
    are, the next time.

    Raises:
        UserError: The folder holds another study, or one that is at work.
    """
    console = console or Console(stderr=True)
    _make(root)
    with exclusive(root / "lock"):
        write(study, root)
        if retry:
            for cell in study.cells():
                if (result(cell, root) or {}).get("status") == "failed":
                    (cell.folder(root) / "result.json").unlink()
        return _Grid(study, root, jobs, accelerator, console).run()


class _Grid:
    def __init__(self, study: Study, root: Path, jobs: int, accelerator: str, console: Console):
        self.study, self.root, self.jobs, self.accelerator, self.console = (
            study,
            root,
            jobs,
            accelerator,
            console,
        )
        self.waiting = [cell for cell in study.cells() if result(cell, root) is None]
        self.total = len(self.waiting)
        self.at_start = {cell: self._step(cell) for cell in self.waiting}
        self.steps = {cell: study.base[cell.setting].training.steps for cell in self.waiting}
        self.running: dict[Cell, subprocess.Popen] = {}
        self.ended: list[Cell] = []
        self.bad: dict[Cell, str] = {
            cell: found["reason"]
            for cell in study.cells()
            if (found := result(cell, root)) and found["status"] == "failed"
        }

    def run(self) -> dict[Cell, str]:
        every = len(self.study.cells())
        self.console.print(
            f"{self.total} runs to train, {every - self.total} finished before; {self.jobs} at once",
            highlight=False,
        )
        self.began = time.monotonic()
        shown = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal or not self.total,
        )
        try:
            with shown as progress:
                bar = progress.add_task(
                    "training", total=sum(self._left(cell) for cell in self.steps), note=""
                )
                while self.waiting or self.running:
                    self._start()
                    time.sleep(POLL_SECONDS)
                    for cell in [
                        cell for cell, process in self.running.items() if process.poll() is not None
                    ]:
                        self._end(cell)
                    if not progress.disable:
                        note = f"{len(self.ended)} of {self.total} runs"
                        progress.update(bar, completed=self._done(), note=note)
        finally:
            for process in self.running.values():  # after Ctrl-C; they go on from where they are
                process.kill()
                process.wait()
        return self.bad

    def _start(self) -> None:
        for cell in list(self.waiting):
            if len(self.running) >= self.jobs:
                return
            before = Cell("free", cell.choice, cell.seed)
            if cell.setting == "sparse" and before in self.bad:
                self.waiting.remove(cell)
                self.bad[cell] = "its FREE run did not end well"
            elif cell.setting == "free" or (before not in self.running and ended_well(before, self.root)):
                self.waiting.remove(cell)
                self.running[cell] = self._process(cell)

    def _process(self, cell: Cell) -> subprocess.Popen:
        folder = cell.folder(self.root).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        best = Cell("free", cell.choice, cell.seed).folder(self.root).resolve() / "best"
        text = {
            "config": config.to_dict(self.study.config(cell)),
            "data": [str(path) for path in self.study.data],
            "init_from": str(best) if cell.setting == "sparse" else None,
            "accelerator": self.accelerator,
        }
        with replacing(folder / "cell.json", force=True) as temporary:
            temporary.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
        paths = [str(Path(config.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        with open(folder / "output.txt", "ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "snn_codec.surrogate_study.worker", str(folder)],
                stdin=subprocess.PIPE,  # which ends with this process
                stdout=output,
                stderr=output,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                start_new_session=True,  # Ctrl-C is for this process alone
            )

    def _end(self, cell: Cell) -> None:
        process = self.running.pop(cell)
        process.stdin.close()
        self.ended.append(cell)
        found = result(cell, self.root)
        if found is None:
            output = cell.folder(self.root) / "output.txt"
            self.bad[cell] = f"{KILLED} {process.returncode}; see {output}"
        elif found["status"] == "failed":
            self.bad[cell] = found["reason"]
        said = f"failed: {self.bad[cell]}" if cell in self.bad else "done"
        done, left = self._done(), sum(self._left(other) for other in self.steps)
        minutes = (time.monotonic() - self.began) / max(1, done) * (left - done) / 60
        self.console.print(
            f"{cell}: {said} ({len(self.ended)} of {self.total} runs, about {minutes:.0f} minutes left)",
            highlight=False, soft_wrap=True,
        )  # fmt: skip

    def _left(self, cell: Cell) -> int:
        """Steps that were left of a run when this began."""
        return max(0, self.steps[cell] - self.at_start[cell])

    def _done(self) -> int:
        """Steps done since, of all runs; those that ended, well or not, count in full."""
        part = sum(max(0, self._step(cell) - self.at_start[cell]) for cell in self.running)
        ended = set(self.steps) - set(self.waiting) - set(self.running)
        return part + sum(self._left(cell) for cell in ended)

    def _step(self, cell: Cell) -> int:
        """The last step in a run's log."""
        try:
            with open(cell.folder(self.root) / "log.csv", "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
                return int(file.read().splitlines()[-1].split(b",")[0])
        except (OSError, ValueError, IndexError):
            return 0
