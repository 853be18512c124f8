"""Many files in, a file out for each: what `encode`, `decode` and `simulate` do in the same way."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from snn_codec import progress
from snn_codec.cli.common import PIPE, fatal
from snn_codec.errors import UserError
from snn_codec.files import below


@dataclass(frozen=True)
class Batch:
    """What goes in, what comes out, and over what the work is spread.

    Attributes:
        inputs: Files, or folders of them.
        output: A file, or a folder if there are several inputs; None puts each output beside its input.
        suffixes: What to look for in folders.
        suffix: Of the outputs.
        device: What to compute on.
        workers, devices, nodes: See `snn_codec.parallel`.
        as_json: Report in one JSON object.
    """

    inputs: Sequence[Path]
    output: Path | None
    suffixes: Sequence[str]
    suffix: str
    device: str = "cpu"
    workers: int = 1
    devices: int = 1
    nodes: int = 1
    as_json: bool = False

    @property
    def alone(self) -> bool:
        """Whether one process does it all, which then shows how far it is in each file."""
        return self.workers * self.devices * self.nodes == 1


def run(batch: Batch, load: Callable[[str], Any], one: Callable[[Any, Path, Path], dict[str, Any]]) -> int:
    """Run `one` with a model on every input, go on after a bad one, report, and give the exit status.

    Args:
        batch: The files.
        load: Loads the model on a device.
        one: Turns an input into an output with that model; what it returns is reported.

    Raises:
        UserError: The inputs and the output do not fit together, or the model cannot be loaded.
    """
    from snn_codec.parallel import Parallelism, Ranks

    rows, status = [], 0
    report = sys.stderr if batch.output == PIPE else sys.stdout
    parallelism = Parallelism(batch.workers, batch.devices, batch.nodes)
    if parallelism != Parallelism() and PIPE in (*batch.inputs, batch.output):
        raise UserError("-: one recording goes through a pipe, in one process")
    ranks = Ranks(parallelism, batch.device)
    model = load(ranks.device)  # also where workers load their own, so that one process complains
    jobs = targets(batch)
    prepare = partial(load, ranks.device) if batch.workers > 1 else lambda: model
    with progress.bar(f"{len(jobs)} files", 1, shown=ranks.is_main and not batch.alone) as advance:
        for row in ranks.map(partial(_guarded, one), prepare, jobs, advance):
            if isinstance(row, UserError):
                status = fatal(row)
                continue
            rows.append(row)
            if not batch.as_json:
                _print_row(row, report)
    if batch.as_json and ranks.is_main:
        print(json.dumps({"files": rows}), file=report)
    return status


def _guarded(
    one: Callable[[Any, Path, Path], dict[str, Any]], model: Any, job: tuple[Path, Path]
) -> dict[str, Any] | UserError:
    source, target = job
    began = time.perf_counter()
    try:
        row = {"input": str(source), "output": str(target)} | one(model, source, target)
    except UserError as error:
        return error
    took = time.perf_counter() - began
    return row | {"took": took, "real_time_factor": row["seconds"] / took}


def _print_row(row: dict[str, Any], report: TextIO) -> None:
    extra = ""
    if "kbps" in row:
        extra = f", {row['kbps']:.3f} kbps, {row['events_per_second']:.0f} events/s"
    factor = row["real_time_factor"]
    digits = 0 if factor >= 10 else 1
    print(
        f"{row['input']} -> {row['output']}: {row['seconds']:.2f} s{extra}, {factor:.{digits}f} x real time",
        file=report,
    )
    for remark in row.get("remarks", ()):
        print(f"  {remark}", file=report)
    if row.get("clipped_samples"):
        print(f"  {row['clipped_samples']} samples were beyond full scale and were clipped", file=report)


def targets(batch: Batch) -> list[tuple[Path, Path]]:
    """Each input file and what is written for it; folders of outputs are made.

    Raises:
        UserError: The inputs and the output do not fit together.
    """
    pairs: list[tuple[Path, Path]] = []
    output = batch.output
    several = len(batch.inputs) > 1 or batch.inputs[0].is_dir()
    if several and (output == PIPE or PIPE in batch.inputs):
        raise UserError("-: one recording goes through a pipe; give one input")
    if PIPE in batch.inputs and output is None:
        raise UserError("-: has no name; say with -o what to write")
    if several and output is not None and output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file, but there are several inputs; give a folder")
    for source in batch.inputs:
        pairs += _pairs(batch, source, several)
    taken: dict[Path, Path] = {}
    for source, target in pairs:
        if target in taken:
            raise UserError(
                f"{source} and {taken[target]} would both become {target}; give them different names"
            )
        taken[target] = source
    if several and output is not None:
        for target in taken:
            target.parent.mkdir(parents=True, exist_ok=True)
    return pairs


def _pairs(batch: Batch, source: Path, several: bool) -> list[tuple[Path, Path]]:
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
    if several or output.is_dir():
        return [(source, output / source.with_suffix(batch.suffix).name)]
    return [(source, output)]
