"""`snn-codec train-entropy`."""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec import checkpoints, corpus, progress
from snn_codec.cli.common import add_device, add_force
from snn_codec.errors import UserError
from snn_codec.files import check_writable

HELP = "Train the entropy model that makes a checkpoint's bitstreams shorter."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", help="a checkpoint folder; the entropy model is written into it")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of recordings")
    parser.add_argument("--hours", type=float, default=10, help="train on at most so many hours (default 10)")
    parser.add_argument("--steps", type=int, default=6000, help="optimiser steps (default 6000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is random (default 0)")
    add_device(parser)
    add_force(parser, "the entropy model that is there")


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec.storage.entropy_model import FILE_NAME

    target = check_writable(checkpoints.find(options.model) / FILE_NAME, force=options.force)
    if options.steps < 1 or not options.hours > 0:
        raise UserError(f"--steps {options.steps}, --hours {options.hours}: must be more than 0")

    from snn_codec.loading import load
    from snn_codec.training.rate import RateTraining, bits_per_cell, events_of, train_context

    codec = load(options.model, options.device)
    matrices = []
    for split in ("train", "validation"):
        paths = [path for folder in options.data for path in corpus.paths(folder, split)]
        with progress.bar(f"encoding the {split} split", 1) as advance:
            matrices.append(events_of(codec, paths, options.hours, options.seed, advance))
    settings = RateTraining(steps=options.steps, seed=options.seed)
    with progress.bar("training", settings.steps) as advance:
        model = train_context(
            matrices[0], settings, checkpoint=codec.fingerprint, progress=lambda step, bits: advance(step)
        )
    model.save(target, force=options.force)
    print(f"{target}: entropy model {model.fingerprint} for the checkpoint {codec.fingerprint}")
    print("bits a cell, validation:")
    for name, bits in bits_per_cell(matrices[1], model).items():
        print(f"  {name:10} {bits:.4f}, {(1 - bits) * 100:.1f} % under the dense cost")
    return 0
