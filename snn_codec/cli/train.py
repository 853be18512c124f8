"""`snn-codec train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec.cli.common import add_force
from snn_codec.errors import UserError

HELP = "Train a model."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "preset", nargs="?", help="a preset's name or a JSON file (default cpu-free; of a phase, its own)"
    )
    parser.add_argument(
        "--phase", metavar="PHASE",
        help="plain, coefficients, or filling, gan, flow or diffusion: a further decoder for the model of --init-from "
        "(default: what PRESET says)",
    )  # fmt: skip
    parser.add_argument(
        "--list-settings",
        action=_ListSettings,
        nargs=0,
        help="list what --set can change, with defaults, and exit",
    )
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=[],
        help="folders of recordings (default with --resume: as before)",
    )
    parser.add_argument(
        "--run", type=Path, required=True, dest="folder", help="folder for log and checkpoints"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="change a setting, as in training.steps=1000; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true",
        help="continue where the run stopped, with its own settings and data; --set training.steps=N makes it longer",
    )  # fmt: skip
    parser.add_argument(
        "--init-from", metavar="CHECKPOINT", help="start from these weights (default: random weights)"
    )
    parser.add_argument("--accelerator", default="auto", help="cpu, cuda, mps or auto (default auto)")
    parser.add_argument("--devices", type=int, default=1, help="devices, or processes on a CPU (default 1)")
    parser.add_argument(
        "--nodes", type=int, default=1, help="machines; start this same command on each (default 1)"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that read data (default 1)")
    parser.add_argument(
        "--threads", type=int, help="threads of each process (default: the number of free cores)"
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write TensorBoard's event files as well as log.csv"
    )
    add_force(parser, "an existing run; with --resume, accept recordings that have changed")


class _ListSettings(argparse.Action):
    """As `--version`: needs no other option."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from snn_codec.settings import settings_table

        print(settings_table(), flush=True)
        parser.exit()


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec import corpus, settings

    for name in ("devices", "nodes", "threads"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)}: must be at least 1")
    if options.workers < 0:
        raise UserError(f"--workers {options.workers}: must be 0 or more")
    if not options.data and not options.resume:
        raise UserError("--data: name the folders of recordings to train on")
    if not options.resume:
        chosen = settings.load(options.preset or settings.phase_preset(options.phase), options.settings)
        corpus.training_paths(options.data)

    from snn_codec.training import run_folder
    from snn_codec.training.loop import train

    place = run_folder.Run(
        data=options.data,
        folder=options.folder,
        resume=options.resume,
        init_from=options.init_from,
        accelerator=options.accelerator,
        devices=options.devices,
        nodes=options.nodes,
        workers=options.workers,
        threads=options.threads,
        tensorboard=options.tensorboard,
        force=options.force,
    )
    if options.resume:
        chosen, place = run_folder.resumed(place, options.preset, options.settings)
    settings.check_phase(chosen, options.phase)
    try:
        best = train(chosen, place)
    except UserError:
        if _is_first():
            raise
        return 2
    if _is_first():
        print(f"the best checkpoint is {best}")
    return 0


def _is_first() -> bool:
    """Whether this process is the one of several that says what is said once."""
    from torch import distributed

    return not distributed.is_initialized() or distributed.get_rank() == 0
