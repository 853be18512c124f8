"""`snn-codec listen compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec.cli.common import add_force, file_name
from snn_codec.files import check_not_input

HELP = "Make one page to hear versions of one recording, in sync."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("inputs", nargs="+", type=Path, metavar="VERSION", help="recordings or event files")
    parser.add_argument(
        "-o", "--output", type=file_name, required=True, metavar="PAGE", help="HTML file to write"
    )
    parser.add_argument(
        "--model", help="decodes all event files (default: of each, the shipped model that made it)"
    )
    parser.add_argument("--recording", metavar="NAME", help="which recording of .h5 files that hold several")
    parser.add_argument(
        "--start", type=float, default=0, help="where the excerpt begins, in seconds (default 0)"
    )
    parser.add_argument(
        "--seconds", type=float, default=30, help="length of the excerpt, at most 120 (default 30)"
    )
    add_force(parser, "PAGE if it exists")


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec.listening.compare import compare

    for version in options.inputs:
        check_not_input(options.output, version)
    compare(
        options.inputs, options.output,
        model=options.model, recording=options.recording,
        start=options.start, seconds=options.seconds, force=options.force,
    )  # fmt: skip
    print(f"{options.output}: {len(options.inputs)} versions; open it in a browser")
    return 0
