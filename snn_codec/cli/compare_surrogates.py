"""`snn-codec compare-surrogates`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from snn_codec.errors import UserError

if TYPE_CHECKING:
    from snn_codec.surrogate_study.grid import Study

HELP = "Train with one surrogate gradient after another, and compare."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--surrogates", required=True, metavar="NAME[:PARAMETER],...",
        help="what to compare, as in fast_sigmoid:25,atan,norse.superspike,my_module:function",
    )  # fmt: skip
    parser.add_argument(
        "--neurons", default="stateless", metavar="KIND:BETA[:THRESHOLD],...",
        help="neurons to combine with every surrogate, as in stateless,leaky:0.5,zero:0.9,subtract:0.9; "
        "leaky: no reset; zero, subtract: reset to zero, by the threshold (default stateless)",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of recordings")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the runs and the report"
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each surrogate and setting (default 5)")
    parser.add_argument(
        "--steps", type=int, default=1000, help="optimiser steps of each run of FREE (default 1000)"
    )
    parser.add_argument(
        "--sparse-steps", type=int,
        help="optimiser steps of each run of SPARSE, which starts from FREE's weights (default: as --steps)",
    )  # fmt: skip
    parser.add_argument(
        "--settings", default="free,sparse", help="free, or free,sparse (default free,sparse)"
    )
    parser.add_argument(
        "--preset", default="cpu-free-plain", help="a preset's name or a JSON file (default cpu-free-plain)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
        help="change a setting of all runs; training.sparsity.* changes those of SPARSE",
    )  # fmt: skip
    parser.add_argument(
        "--sparse-set", action="append", default=[], metavar="KEY=VALUE", dest="sparse_changes",
        help="change a setting of the runs of SPARSE only",
    )  # fmt: skip
    parser.add_argument(
        "--entropy-model", metavar="MODEL",
        help="checkpoint whose entropy model counts the bytes of a model with levels, as wide (default: a coder "
        "without a trained model)",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, help="runs at once, one core each (default: as many as cores)")
    parser.add_argument(
        "--share-crops", action="store_true",
        help="make the crops of a seed once for all its runs, and keep them in RUN until these end (4.2 GB a seed for "
        "3000 steps of the default preset); pays where crops are slower than steps, as beside a GPU",
    )  # fmt: skip
    parser.add_argument("--accelerator", default="cpu", help="cpu, cuda or mps (default cpu)")
    parser.add_argument(
        "--reference",
        metavar="NAME[:PARAMETER][@NEURON]",
        help="the choice that others are tested against (default: ours)",
    )
    parser.add_argument(
        "--report-only", action="store_true",
        help="train nothing; report the folder's finished runs, also while another process trains, or without the data",
    )  # fmt: skip
    parser.add_argument("--retry", action="store_true", help="train failed runs again, from their beginning")


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec import corpus

    if not options.report_only:
        corpus.training_paths(options.data)

    from snn_codec.parallel import cores
    from snn_codec.plots import check_matplotlib
    from snn_codec.surrogate_study import folder, grid, runner
    from snn_codec.surrogate_study import report as reports
    from snn_codec.surrogate_study.results import collect

    check_matplotlib()  # or it would be missed after hours
    jobs = cores() if options.jobs is None else options.jobs
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: must be at least 1")
    study = folder.read(options.output) if options.report_only else _planned(options)
    reference = grid.choice_label(options.reference) if options.reference else None
    if reference and reference not in study.choices:
        raise UserError(
            f"--reference {options.reference}: is not among the choices; name one of {', '.join(study.choices)}"
        )
    bad = {}
    if not options.report_only:
        bad = runner.run(
            study,
            options.output,
            jobs=jobs,
            accelerator=options.accelerator,
            retry=options.retry,
            share_crops=options.share_crops,
        )
    whole = folder.read(options.output)
    results = collect(whole, options.output, reference)
    report = options.output / "report"
    if results.summary:
        reports.write(whole, results, report, reference)
        print(reports.text(whole, results, reference))
        print(f"report in {report}")
    elif options.report_only:
        raise UserError(f"{options.output}: no run is finished yet; there is nothing to report")
    unfinished = [cell for cell, why in bad.items() if why.startswith(runner.KILLED)]
    if unfinished:
        cell = unfinished[0]
        raise UserError(
            f"{len(unfinished)} runs did not end, as {cell}: {bad[cell]}; the same command goes on with them"
        )
    return 0


def _planned(options: argparse.Namespace) -> Study:
    from snn_codec.surrogate_study.grid import plan

    return plan(
        _parts(options.surrogates),
        options.data,
        seeds=options.seeds,
        steps=options.steps,
        sparse_steps=options.sparse_steps,
        settings=_parts(options.settings),
        preset=options.preset,
        changes=options.changes,
        sparse_changes=options.sparse_changes,
        neuron_specs=_parts(options.neurons),
        entropy_model=options.entropy_model,
    )


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
