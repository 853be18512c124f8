"""`snn-codec export nir`."""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec.cli.common import add_force, add_model
from snn_codec.files import check_writable

HELP = "Write the bottleneck in the Neuromorphic Intermediate Representation."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write")
    add_model(parser)
    add_force(parser)


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    check_writable(options.output, force=options.force)

    from snn_codec.hardware import nir
    from snn_codec.hardware.layer import fold
    from snn_codec.loading import load

    codec = load(options.model)
    nir.write(
        options.output,
        fold(codec.bottleneck),
        step_seconds=codec.settings.hop / codec.settings.sample_rate,
        fingerprint=codec.fingerprint,
        force=options.force,
    )
    print(f"{options.model} -> {options.output}")
    return 0
