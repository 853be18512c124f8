"""Many files in, a file out for each: what `encode`, `decode` and `simulate` do in the same way."""

from __future__ import annotations

import itertools
import json
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

from snn_codec import progress
from snn_codec.cli.common import BAD_INPUT, warn
from snn_codec.errors import UserError
from snn_codec.files import below, check_not_input, check_writable, make_folder, shown
from snn_codec.pipes import PIPE, is_pipe, name_of, seekable


class Job(NamedTuple):
    """One input and what is written for it.

    Attributes:
        source: As it was named.
        file: What to open: `source`, or a copy of what came through that pipe.
        target: What to write; `-` for stdout.
        model: Name of the model.
    """

    source: Path
    file: Path
    target: Path
    model: str

    @property
    def name(self) -> str:
        """Of the recording in event files: as `convert` calls it, without a suffix."""
        return name_of(self.source)


class Failed(NamedTuple):
    """An input that could not be used, as it was named, and why."""

    input: str
    message: str


class Work(Protocol):
    """What a command does with each file; it is pickled for worker processes."""

    @property
    def force(self) -> bool:
        """Whether to replace files that exist."""

    def model(self, file: Path) -> str:
        """Name of the model that this file needs."""

    def check(self, job: Job) -> None:
        """Raise a UserError if the file cannot be used; without PyTorch, which takes seconds to import."""

    def load(self, model: str, device: str) -> Any:
        """The model, ready on a device."""

    def __call__(self, codec: Any, job: Job) -> dict[str, Any]:
        """Do it; what to report."""


@dataclass(frozen=True)
class Batch:
    """What goes in, what comes out, and over what the work is spread.

    Attributes:
        inputs: Files, or folders of them.
        output: A file, or a folder if there are several inputs; None puts each output beside its input.
        suffixes: What to look for in folders.
        suffix: Of the outputs.
        is_folder: Whether `output` is a folder, to be made if need be, also for one input.
        device: What to compute on.
        workers, devices, nodes: See `snn_codec.parallel`.
        as_json: Report in one JSON object.
    """

    inputs: Sequence[Path]
    output: Path | None
    suffixes: Sequence[str]
    suffix: str
    is_folder: bool = False
    device: str = "cpu"
    workers: int = 1
    devices: int = 1
    nodes: int = 1
    as_json: bool = False

    @property
    def alone(self) -> bool:
        """Whether one process does it all, which then shows how far it is in each file."""
        return self.workers * self.devices * self.nodes == 1

    @property
    def several(self) -> bool:
        """Whether there are several inputs, or a folder of them."""
        return len(self.inputs) > 1 or self.inputs[0].is_dir()

    @property
    def makes_folder(self) -> bool:
        """Whether the output is a folder, however it is called."""
        return self.output is not None and (self.several or self.is_folder)


class Models:
    """Models of one kind of work on one device, each loaded when it is first needed."""

    def __init__(self, work: Work, device: str):
        self._work, self._device = work, device
        self._loaded: dict[str, Any] = {}

    def __call__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = self._work.load(name, self._device)
        return self._loaded[name]


def run(batch: Batch, work: Work, began: float) -> int:
    """Do the work for every input, go on after a bad one, report, and give the exit status.

    All that can be refused without PyTorch is refused before it is imported. `began` is when the program did, by
    `time.perf_counter`.

    Raises:
        UserError: The inputs and the output do not fit together, or a model cannot be loaded.
    """
    from snn_codec.parallel import Parallelism, Ranks

    parallelism = Parallelism(batch.workers, batch.devices, batch.nodes)
    if not batch.alone and any(map(is_pipe, (*batch.inputs, batch.output or Path()))):
        raise UserError("-: one recording goes through a pipe, in one process")
    if batch.output == PIPE and sys.stdout is None:
        raise UserError("-: standard output is closed; give a file")
    pairs = targets(batch)
    makes_folders = batch.makes_folder
    with ExitStack() as stack:
        copies = [stack.enter_context(seekable(source)) for source, _ in pairs]
        refused, jobs = _checked(work, pairs, copies, makes_folders)
        if not jobs:
            return _report(batch, refused, (), began)
        for folder in {job.target.parent for job in jobs if makes_folders}:
            make_folder(folder)
        ranks = Ranks(parallelism, batch.device)
        refused, jobs = ranks.broadcast((refused, jobs))
        models = Models(work, ranks.device)
        with warnings.catch_warnings(record=True) as caught:
            models(jobs[0].model)  # also where workers load their own, so that one process complains
        for warning in caught:
            warn(str(warning.message))
        done = _done(batch, ranks, work, models, jobs)
        return _report(batch, refused, done, began, is_main=ranks.is_main)


def _checked(
    work: Work, pairs: Sequence[tuple[Path, Path]], copies: Sequence[Path], makes_folders: bool
) -> tuple[list[Failed], list[Job]]:
    """What is wrong with some of the inputs, and the jobs that remain."""
    refused, jobs = [], []
    for (source, target), file in zip(pairs, copies, strict=True):
        try:
            if target != PIPE:
                check_not_input(target, source)
            if target != PIPE and (target.parent.exists() or not makes_folders):
                check_writable(target, force=work.force)
            job = Job(source, file, target, work.model(file))
            work.check(job)
            jobs.append(job)
        except UserError as error:
            refused.append(Failed(str(source), _as_named(str(error), source, file)))
    return refused, jobs


def _as_named(text: str, source: Path, file: Path) -> str:
    return text.replace(str(file), shown(source))


def _with_name(text: str, job: Job) -> str:
    """What is wrong, with the file's name in front if it names none: that of a rate does not know it."""
    return text if str(job.file) in text or text.startswith(f"{job.target}:") else f"{job.file}: {text}"


def _done(batch: Batch, ranks: Any, work: Work, models: Models, jobs: Sequence[Job]) -> Any:
    """The reports or errors of all jobs, in their order."""
    prepare = partial(Models, work, ranks.device) if batch.workers > 1 else lambda: models
    with progress.bar(f"{len(jobs)} files", 1, shown=ranks.is_main and not batch.alone) as advance:
        yield from ranks.map(partial(_guarded, work), prepare, jobs, advance)


def _guarded(work: Work, models: Models, job: Job) -> dict[str, Any] | Failed:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            codec = models(job.model)
            began = time.perf_counter()
            row = {"input": str(job.source), "output": str(job.target)} | work(codec, job)
            took = time.perf_counter() - began
    except UserError as error:
        return Failed(str(job.source), _as_named(_with_name(str(error), job), job.source, job.file))
    said = [_as_named(str(warning.message), job.source, job.file) for warning in caught]
    return row | {"took": took, "real_time_factor": row["seconds"] / took, "warnings": said}


def _report(
    batch: Batch,
    refused: Sequence[Failed],
    found: Iterable[dict[str, Any] | Failed],
    began: float,
    *,
    is_main: bool = True,
) -> int:
    """Print what was done, and give the exit status."""
    report = sys.stderr if batch.output is not None and is_pipe(batch.output) else sys.stdout
    rows: list[dict[str, Any]] = []
    failed: list[Failed] = []
    for row in itertools.chain(refused if is_main else (), found):
        if isinstance(row, Failed):
            warn(row.message)
            failed.append(row)
            continue
        rows.append(row)
        for text in row["warnings"]:
            warn(text)
        if not batch.as_json:
            _print_row(row, report)
    took = time.perf_counter() - began
    if is_main and batch.as_json:
        errors = [each._asdict() for each in failed]
        print(json.dumps({"files": rows, "failed": errors, "took": took}), file=report)
    elif is_main and rows:
        seconds = sum(row["seconds"] for row in rows)
        print(
            f"{seconds:.2f} s of sound in {took:.1f} s with the start of the program: {_times(seconds / took)}",
            file=report,
        )
    return BAD_INPUT if failed else 0


def _times(factor: float) -> str:
    return f"{factor:.{0 if factor >= 10 else 1}f} x real time"


def _print_row(row: dict[str, Any], report: TextIO) -> None:
    extra = f", {row['kbps']:.3f} kbps" if "kbps" in row else ""
    if "events_per_second" in row:
        extra += f", {row['events_per_second']:.0f} events/s"
    print(
        f"{shown(row['input'])} -> {shown(row['output'])}: {row['seconds']:.2f} s{extra}, "
        f"{_times(row['real_time_factor'])}",
        file=report,
    )
    for remark in row.get("remarks", ()):
        print(f"  {remark}", file=report)
    if row.get("clipped_samples"):
        print(f"  {row['clipped_samples']} samples were beyond full scale and were clipped", file=report)


def targets(batch: Batch) -> list[tuple[Path, Path]]:
    """Each input file and what is written for it.

    Raises:
        UserError: The inputs and the output do not fit together.
    """
    pairs: list[tuple[Path, Path]] = []
    output = batch.output
    pipes = [source for source in batch.inputs if is_pipe(source)]
    if batch.several and (pipes or (output is not None and is_pipe(output))):
        raise UserError(f"{pipes[0] if pipes else output}: one recording goes through a pipe; give one input")
    if pipes and output is None:
        raise UserError(f"{pipes[0]}: has no name to make another of; say with -o what to write")
    for source in batch.inputs:
        pairs += _pairs(batch, source)
    if output is not None and batch.makes_folder and not output.is_dir():
        _check_is_folder(output, batch)
    taken: dict[Path, Path] = {}
    for source, target in pairs:
        if target in taken:
            raise UserError(
                f"{source} and {taken[target]} would both become {target}; give them different names"
            )
        taken[target] = source
    return pairs


def _check_is_folder(output: Path, batch: Batch) -> None:
    """`-o name.spk` for several inputs is a slip; `-o run.v1` is a folder."""
    if output.exists():
        raise UserError(f"{output}: is a file, but the output is to be a folder; give another name")
    if not batch.is_folder and output.suffix.lower() in (".spk", ".h5", batch.suffix):
        raise UserError(
            f"{output}: is the name of a file, but there are several inputs; give a folder (convert makes one file "
            "of the events in it)"
        )


def _pairs(batch: Batch, source: Path) -> list[tuple[Path, Path]]:
    """What is written for one input."""
    output = batch.output
    if source.is_dir():
        found = below(source, batch.suffixes)
        if not found:
            raise UserError(f"{source}: holds no file ending in {', '.join(batch.suffixes)}")
        base = output or source
        return [(path, base / path.relative_to(source).with_suffix(batch.suffix)) for path in found]
    if output is None:
        return [(source, source.with_suffix(batch.suffix))]
    if batch.makes_folder or output.is_dir():
        name = "stdin" if source == PIPE else source.name
        return [(source, output / Path(name).with_suffix(batch.suffix))]
    return [(source, output)]
