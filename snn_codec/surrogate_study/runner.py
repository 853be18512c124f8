"""Run a study: its cells in processes, some at once, in an order that lets what is there be compared any time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.files import exclusive, make_folder, replacing
from snn_codec.models import surrogates
from snn_codec.surrogate_study.folder import ended_well, make, result, write
from snn_codec.surrogate_study.grid import Cell, Study, split_choice

POLL_SECONDS = 0.2
KILLED = "its process ended with"  # how the reason of a run begins that goes on the next time


def run(
    study: Study,
    root: Path,
    *,
    jobs: int,
    accelerator: str = "cpu",
    retry: bool = False,
    share_crops: bool = False,
    console: Console | None = None,
) -> dict[Cell, str]:
    """Train all cells that are not finished, `jobs` at once; those that did not end well, with the reason.

    Runs that fail (diverged, collapsed: a result as well) are not tried again, unless `retry`. Runs that were killed
    are, the next time.

    Args:
        share_crops: Make the crops of a seed once, for all its runs, and keep them in the folder until those ended.

    Raises:
        UserError: The folder holds another study, one that is at work, or one from which checkpoints were left out that
            runs begin with; or there is no room for the crops of a seed.
    """
    console = console or Console(stderr=True)
    make(root)
    with exclusive(root / "lock"):
        _check_beginnings(study, root, retry)
        write(study, root)
        if retry:
            for cell in study.cells():
                if (result(cell, root) or {}).get("status") == "failed":
                    shutil.rmtree(cell.folder(root))  # going on with it would end as before
        return _Runner(study, root, jobs, accelerator, share_crops, console).run()


def _check_beginnings(study: Study, root: Path, retry: bool) -> None:
    """See that the checkpoints are there that runs of SPARSE begin with, if their FREE runs have ended.

    Raises:
        UserError: Some are not, as in a copy of the folder without them.
    """
    gone = []
    for cell in study.cells():
        before, ended = Cell("free", cell.choice, cell.seed), (result(cell, root) or {}).get("status")
        if cell.setting == "free" or ended == "done" or (ended and not retry) or not ended_well(before, root):
            continue
        best = before.folder(root) / "best"
        begun = not ended and (cell.folder(root) / "state.safetensors").is_file()
        if not begun and not (best / "config.json").is_file():
            gone.append(best)
    if gone:
        raise UserError(
            f"{gone[0]}: is not there, and a run of SPARSE that has not ended begins with it "
            f"({len(gone)} {'are' if len(gone) > 1 else 'is'} missing); bring it back, or remove {gone[0].parent} "
            "to train that run again"
        )


class _Runner:
    def __init__(
        self, study: Study, root: Path, jobs: int, accelerator: str, share_crops: bool, console: Console
    ):
        self.study, self.root, self.jobs = study, root, jobs
        self.accelerator, self.share_crops, self.console = accelerator, share_crops, console
        self.crops = root.resolve() / "crops"
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
        self._drop_crops()
        if self.share_crops and self.waiting:
            self._check_room()
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
            self._drop_crops()
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
        folder = make_folder(cell.folder(self.root).resolve())
        best = Cell("free", cell.choice, cell.seed).folder(self.root).resolve() / "best"
        text = {
            "config": config.to_dict(self.study.config(cell)),
            "data": [str(path) for path in self.study.data],
            "init_from": str(best) if cell.setting == "sparse" else None,
            "accelerator": self.accelerator,
            "entropy_model": self.study.entropy_model,
            "crops": str(self.crops / f"seed{cell.seed}") if self.share_crops else None,
        }
        with replacing(folder / "cell.json", force=True) as temporary:
            temporary.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
        paths = [str(Path(config.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        surrogate, _ = split_choice(cell.choice)
        if surrogates.is_own(surrogate):
            paths.append(surrogates.own_folder(surrogate))
        with open(folder / "output.txt", "ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "snn_codec.surrogate_study.worker", str(folder)],
                stdin=subprocess.PIPE,  # which ends with this process
                stdout=output,
                stderr=output,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                start_new_session=True,  # Ctrl-C is for this process alone
            )

    def _check_room(self) -> None:
        """See that the disk has room for the crops of a seed, beside those that are there."""
        bases = [self.study.base[setting] for setting in {cell.setting for cell in self.waiting}]
        samples = max(
            base.training.steps * base.training.batch * round(base.training.seconds * base.model.sample_rate)
            for base in bases
        )
        there = sum(path.stat().st_size for path in self.crops.glob("*/*/*.f32"))
        needed, free = 4 * samples - there, shutil.disk_usage(self.root).free
        if free < needed:
            raise UserError(
                f"{self.root}: --share-crops keeps up to {4 * samples / 1e9:.2g} GB here, and {free / 1e9:.2g} GB are "
                "free; make room, or leave it out"
            )

    def _drop_crops(self) -> None:
        """Remove the crops of seeds none of whose runs is left."""
        left = {f"seed{cell.seed}" for cell in (*self.waiting, *self.running)}
        for folder in self.crops.glob("seed*"):
            if folder.name not in left:
                shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            self.crops.rmdir()

    def _end(self, cell: Cell) -> None:
        process = self.running.pop(cell)
        if process.stdin is not None:
            process.stdin.close()
        self.ended.append(cell)
        self._drop_crops()
        found = result(cell, self.root)
        if found is None:
            output = cell.folder(self.root) / "output.txt"
            lines = output.read_text(errors="replace").strip().splitlines() if process.returncode == 1 else []
            self.bad[cell] = f"{KILLED} {process.returncode}; {lines[-1] if lines else f'see {output}'}"
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
