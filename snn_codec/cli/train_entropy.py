"""`snn-codec train-entropy`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from snn_codec import progress
from snn_codec.cli.common import add_device, add_force
from snn_codec.errors import UserError
from snn_codec.files import check_writable

HELP = "Train the entropy model that makes a checkpoint's bitstreams shorter."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", help="a checkpoint folder; the entropy model is written into it")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of recordings")
    parser.add_argument(
        "--hours", type=float, default=10, help="hours of audio to train on, at most (default 10)"
    )
    parser.add_argument("--steps", type=int, default=6000, help="optimiser steps (default 6000)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    add_device(parser)
    add_force(parser, "an existing entropy model")


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec import checkpoints, corpus
    from snn_codec.storage.entropy_model import FILE_NAME

    target = check_writable(checkpoints.find(options.model) / FILE_NAME, force=options.force)
    if options.steps < 1 or not 0 < options.hours < math.inf:
        raise UserError(f"--steps {options.steps}, --hours {options.hours}: must be more than 0, and finite")
    if not 0 <= options.seed < 2**63:
        raise UserError(f"--seed {options.seed}: must be 0 to 2^63 - 1")

    from snn_codec.loading import load
    from snn_codec.settings.fields import imported

    files = corpus.training_paths(options.data)
    codec = load(options.model, options.device)
    train, validation = (sum(files[split], []) for split in ("train", "validation"))
    trained = imported(codec.settings.bottleneck.entropy_training)
    model, rates = trained(
        codec,
        train,
        validation,
        hours=options.hours,
        steps=options.steps,
        seed=options.seed,
        bar=progress.bar,
    )
    model.save(target, force=options.force)
    print(f"{target}: entropy model {model.fingerprint} for the checkpoint {codec.fingerprint}")
    for line in rates:
        print(line)
    return 0
