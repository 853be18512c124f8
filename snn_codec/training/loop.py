"""The training loop: any number of devices through Lightning Fabric, resumable after a kill at any moment.

The loop knows steps, the log, the state and the best checkpoint. One of `snn_codec.training.phases.PHASES` defines a
step and a validation; `snn_codec.training.run_folder` defines what a run leaves behind.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import lightning_fabric
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader

from snn_codec import corpus
from snn_codec import settings as config
from snn_codec.errors import TrainingFailed, UserError
from snn_codec.metrics import WINDOWS
from snn_codec.parallel import end_with_launcher, fabric_of, free_cores
from snn_codec.training import run_folder, unused
from snn_codec.training.datasets import Batches, Crops, SharedCrops, StepSampler, as_it_is
from snn_codec.training.frozen import with_model_of
from snn_codec.training.log import Log
from snn_codec.training.optim import gradient_scaler
from snn_codec.training.phase import Row, Setup
from snn_codec.training.phases import PHASES
from snn_codec.training.run_folder import Run
from snn_codec.training.state import load_state, read_state, write_state

LOG_EVERY = 50
SHOWN = 5  # validation recordings that are named
Result = TypeVar("Result")


def train(settings: config.Config, run: Run, console: Console | None = None) -> Path:
    """Train a codec, or a decoder for one, and return the folder of its best checkpoint.

    With several devices, each draws its own batch, and gradients are averaged.

    Raises:
        UserError: Data or run folder cannot be used, or the training diverged.
    """
    console = console or Console(stderr=True)
    if settings.phase.decoder_class:
        settings = with_model_of(settings, run.init_from)
    if not run.resume:  # a run of the version before may have some
        unused.check(settings)
    fabric = _fabric(settings, run)
    if run.threads is None:
        cores = free_cores() // run.devices if fabric.device.type == "cpu" else torch.get_num_threads()
        run = replace(run, threads=fabric.broadcast(max(1, cores)))
    torch.set_num_threads(run.threads)
    torch.set_flush_denormal(True)  # denormal numbers make a CPU several times slower
    with ExitStack() as held:
        _on_main(fabric, lambda: held.enter_context(run_folder.opened(run)))
        return Loop(settings, run, fabric, console).run()


class Loop:
    """One training run.

    Attributes:
        step: Steps done.
        best: The highest score of a validation so far.
        elapsed: Seconds of training before this process.
    """

    def __init__(self, settings: config.Config, run: Run, fabric: lightning_fabric.Fabric, console: Console):
        self.settings, self.training, self.place = settings, settings.training, run
        self.fabric, self.console = fabric, console
        self.step, self.best, self.elapsed = 0, -math.inf, 0.0
        paths = corpus.training_paths(run.data)
        contents = run_folder.described(run.data, paths)
        if run.resume:
            _on_main(fabric, lambda: run_folder.check(run, settings, contents))
        torch.manual_seed(self.training.seed)
        grid = settings.model
        drawn = (sum(paths["train"], []), grid.sample_rate, self.training, grid.hop)
        self.crops = SharedCrops(*drawn, run.shared_crops) if run.shared_crops else Crops(*drawn)
        if self.crops.length < max(WINDOWS):
            raise UserError(
                f"training.seconds is {self.training.seconds:g}, {self.crops.length} samples; the losses need "
                f"{max(WINDOWS)}"
            )
        resumed = run.resume and run.state_file.is_file()
        setup = Setup(settings, fabric, self.crops, run.init_from, resumed, self._report)
        self.phase = PHASES[settings.phase.kind](setup)
        if resumed:
            self._load()
        held_out = sum(paths["validation"], [])
        self.clips = _on_main(fabric, lambda: self._validation_clips(held_out)) or []
        _on_main(fabric, lambda: run_folder.note(run, settings, contents))
        self._report(
            f"training on {len(self.crops.paths)} recording(s), validating on {_named(held_out)}; "
            f"{run.threads} thread{'s' if run.threads != 1 else ''}"
        )
        for split, folders in paths.items():
            for folder, files in zip(run.data, folders, strict=True):
                if not files:
                    self._report(f"{folder}: has no recordings in the split {split!r}")

    def run(self) -> Path:
        """Train to the last step, and return the folder of the best checkpoint.

        Raises:
            UserError: The training diverged, or a file cannot be written.
        """
        self.began = time.monotonic() - self.elapsed
        self.saved = time.monotonic()
        batches = self._batches()
        log = _on_main(self.fabric, self._open_log)
        problem: UserError | None = None
        with self._progress() as progress:
            bar = progress.add_task("training", total=self.training.steps, completed=self.step, note="")
            for batch in batches:
                self._agree(problem or (batch if isinstance(batch, UserError) else None))
                _seed(self.training.seed, self.step, self.fabric.global_rank)
                row = self.phase.train_step(self.step, batch, logged=self._logs(self.step + 1))
                self.step += 1
                try:
                    if self._validates(self.step):
                        row |= self._validate()
                    if log and self._logs(self.step):
                        log.add({"step": self.step, "seconds": round(time.monotonic() - self.began, 3)} | row)
                        progress.update(bar, note=self.phase.note(row))
                    if self._saves():
                        self._save()
                except UserError as error:
                    problem = error
                progress.update(bar, completed=self.step)
        self._agree(problem)
        if log:
            log.close()
        if self.fabric.is_global_zero and math.isinf(self.best):
            raise TrainingFailed(
                f"{self.place.folder}: no validation had a score, so no checkpoint was kept; the model diverged, or "
                "all validation recordings begin with silence"
            )
        return self.place.best

    def _agree(self, problem: UserError | None) -> None:
        """Raise on all ranks what is wrong on one; the others would wait for it until their connection breaks."""
        if self.fabric.world_size > 1 and self.fabric.all_reduce(float(problem is not None), reduce_op="sum"):
            said = [""] * self.fabric.world_size
            torch.distributed.all_gather_object(said, str(problem or ""))
            problem = problem or UserError(next(filter(None, said)))
        if problem is not None:
            raise problem

    def _batches(self) -> DataLoader:
        sampler = StepSampler(
            self.step,
            self.training.steps,
            self.training.batch,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        loader = DataLoader(
            Batches(self.crops),
            self.training.batch,
            sampler=sampler,
            num_workers=self.place.workers,
            collate_fn=as_it_is,
        )
        return self.fabric.setup_dataloaders(loader, use_distributed_sampler=False)

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.fabric.is_global_zero,
        )

    def _open_log(self) -> Log:
        columns = ("step", "seconds", *self.phase.columns)
        return Log(self.place.log_file, columns, self.step, self.place.tensorboard_folder)

    def _saves(self) -> bool:
        late = time.monotonic() - self.saved > 60 * self.training.checkpoint_minutes
        return late or self.step == self.training.steps

    def _validates(self, step: int) -> bool:
        return step == self.training.steps or step % self.training.validate_every == 0

    def _logs(self, step: int) -> bool:
        return step % LOG_EVERY == 0 or self._validates(step)

    def _report(self, line: str) -> None:
        if self.fabric.is_global_zero:
            self.console.print(line, highlight=False, soft_wrap=True)

    def _validate(self) -> Row:
        """Validate on the main rank, and keep the checkpoint if it is the best; the row."""
        if not self.fabric.is_global_zero:
            return {}
        row, score, message = self.phase.validate(self.step, self.clips)
        self._report(f"step {self.step}: validation {message}")
        if score is not None and score > self.best:
            self.best = score
            self.phase.save_best(self.place.best)
        return row

    def _validation_clips(self, paths: Sequence[Path]) -> list[np.ndarray]:
        """The first chunk of recordings that are long enough, evenly chosen."""
        grid = self.settings.model
        length, rate = grid.chunk_steps * grid.hop, grid.sample_rate
        long_enough = list(corpus.clips(paths, length, rate, each=1))
        if not long_enough:
            raise UserError(f"{self.place.data[0]}: no validation recording is {length / rate:.1f} s long")
        count = min(len(long_enough), self.training.validation_clips)
        return [long_enough[int(i)] for i in np.linspace(0, len(long_enough) - 1, count).round()]

    def _save(self) -> None:
        """Write all that is needed to go on exactly."""
        self.saved = time.monotonic()
        if not self.fabric.is_global_zero:
            return
        scaler = gradient_scaler(self.fabric)
        facts = {
            "step": str(self.step),
            "best": repr(self.best),
            "elapsed": repr(time.monotonic() - self.began),
            "scaler": json.dumps(scaler.state_dict() if scaler else {}),
            "counters": json.dumps(self.phase.counters()),
        }
        facts |= self.phase.identity()
        write_state(self.place.state_file, self.phase.modules(), self.phase.optimisers(), facts)

    def _load(self) -> None:
        path = self.place.state_file
        tensors, facts = read_state(path)
        for name, value in self.phase.identity().items():
            if facts.get(name) != value:
                raise UserError(
                    f"{path}: is of a run whose {name} is {facts.get(name)}, not {value}; "
                    "resume with the same one"
                )
        try:
            load_state(tensors, self.phase.modules(), self.phase.optimisers())
            self.step, self.best = int(facts["step"]), float(facts["best"])
            self.elapsed = float(facts["elapsed"])
            self.phase.set_counters(json.loads(facts.get("counters", "{}")))
        except (LookupError, ValueError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{path}: is damaged, or of another run ({reason[:200]}); put that of this run there, or start again "
                "without --resume"
            ) from error
        if self.step > self.training.steps:
            raise UserError(
                f"{path}: the run has done {self.step} steps, more than training.steps = {self.training.steps}; "
                "give at least as many, or start another run"
            )
        if not math.isinf(self.best) and not (self.place.best / "config.json").is_file():
            raise UserError(
                f"{self.place.best}: is not there, though the run has kept a checkpoint; bring it back, or remove "
                f"{path.name} to train from the beginning"
            )
        scaler, saved = gradient_scaler(self.fabric), json.loads(facts.get("scaler", "{}"))
        if scaler and saved:
            scaler.load_state_dict(saved)


def _fabric(settings: config.Config, run: Run) -> lightning_fabric.Fabric:
    """Fabric, launched on all devices."""
    fabric = fabric_of(
        f"--accelerator {run.accelerator}",
        "; use cpu",
        accelerator=run.accelerator,
        devices=run.devices,
        num_nodes=run.nodes,
        strategy="ddp" if run.devices * run.nodes > 1 else "auto",
        precision=precision(settings.training.precision, run.accelerator),
    )
    fabric.launch()
    end_with_launcher(fabric)
    return fabric


def precision(wanted: str, accelerator: str) -> str:
    """The setting `training.precision` as Fabric names it: `auto` is bfloat16 where the device computes in it."""
    if wanted != "auto":
        return wanted
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()  # without it, bf16 is slower
    return "bf16-mixed" if native else "32-true"


def _on_main(fabric: lightning_fabric.Fabric, action: Callable[[], Result]) -> Result | None:
    """What `action` returns on the main rank, None on the others; a `UserError` there is raised on all."""
    result = problem = None
    if fabric.is_global_zero:
        try:
            result = action()
        except UserError as error:
            problem = str(error)
    problem = fabric.broadcast(problem)
    if problem is not None:
        raise UserError(problem)
    return result


def _seed(seed: int, step: int, rank: int) -> None:
    """Make the random numbers of a step, as of dropout, the same whether the run was resumed or not."""
    drawn = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(drawn[0]) >> 1)


def _named(paths: Sequence[Path]) -> str:
    """How many recordings there are, and the first ones' names."""
    names = ", ".join(path.name for path in paths[:SHOWN])
    return f"{len(paths)} ({names}{', ...' if len(paths) > SHOWN else ''})"
