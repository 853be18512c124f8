"""`snn-codec compare-surrogates`: its options, and what it prints."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from snn_codec.errors import UserError


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command; `command(name, run, text)` makes a parser."""
    added = command(
        "compare-surrogates", _compare, "Train with one surrogate gradient after another, and compare."
    )
    added.add_argument(
        "--surrogates",
        required=True,
        metavar="NAME[:PARAMETER],...",
        help="what to compare, as in fast_sigmoid:25,atan,norse.superspike,slayer",
    )
    added.add_argument("--data", type=Path, nargs="+", required=True, help="folders of recordings")
    added.add_argument(
        "-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the runs and the report"
    )
    added.add_argument("--seeds", type=int, default=5, help="runs of each surrogate and setting (5)")
    added.add_argument("--steps", type=int, default=1000, help="of each run of FREE (1000)")
    added.add_argument("--sparse-steps", type=int, help="of each run of SPARSE, from FREE's on (as --steps)")
    added.add_argument("--settings", default="free,sparse", help="free, or free,sparse (free,sparse)")
    added.add_argument("--preset", default="cpu-free-plain", help="as in train (cpu-free-plain)")
    added.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        help="change a setting of all runs; training.sparsity.* of SPARSE",
    )
    added.add_argument(
        "--sparse-set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="sparse_changes",
        help="change a setting of the runs of SPARSE alone",
    )
    added.add_argument("--jobs", type=int, help="runs at once, one core each (as many as cores)")
    added.add_argument("--accelerator", default="cpu", help="cpu, cuda, mps (cpu)")
    added.add_argument(
        "--reference", metavar="NAME[:PARAMETER]", help="what others are tested against (ours)"
    )
    added.add_argument("--retry", action="store_true", help="run those that failed once more")


def _compare(options: argparse.Namespace) -> int:
    from snn_codec.models import surrogates
    from snn_codec.plots import pyplot
    from snn_codec.surrogate_study import grid
    from snn_codec.surrogate_study import report as reports
    from snn_codec.surrogate_study.results import collect

    pyplot()  # or it would be missed after hours
    jobs = cores() if options.jobs is None else options.jobs
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: must be at least 1")
    study = grid.plan(
        _parts(options.surrogates),
        options.data,
        seeds=options.seeds,
        steps=options.steps,
        sparse_steps=options.sparse_steps,
        settings=_parts(options.settings),
        preset=options.preset,
        changes=options.changes,
        sparse_changes=options.sparse_changes,
    )
    reference = surrogates.label(*surrogates.parse(options.reference)) if options.reference else None
    if reference and reference not in study.choices:
        raise UserError(f"--reference {options.reference}: is not among --surrogates; add it")
    bad = grid.run(study, options.output, jobs=jobs, accelerator=options.accelerator, retry=options.retry)
    whole = grid.read(options.output)
    results = collect(whole, options.output, reference)
    report = options.output / "report"
    if results.summary:
        reports.write(whole, results, report)
        print(reports.text(whole, results))
        print(f"report in {report}")
    unfinished = [cell for cell, why in bad.items() if why.startswith(grid.KILLED)]
    if unfinished:
        cell = unfinished[0]
        raise UserError(
            f"{len(unfinished)} runs did not end, as {cell}: {bad[cell]}; the same command goes on with them"
        )
    return 0


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
