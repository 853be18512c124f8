"""`snn-codec listen export`."""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec.cli.common import add_force, file_name

HELP = "Write the results of a test as CSV in webMUSHRA's columns."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("test", type=Path, metavar="TEST", help="folder made by build")
    parser.add_argument("-o", "--output", type=file_name, required=True, metavar="CSV", help="file to write")
    add_force(parser, "CSV if it exists")


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec.listening import keys, results
    from snn_codec.listening.store import Store

    store = Store(options.test, keys.read(options.test))
    rows = list(store.rows())
    results.write(options.output, rows, force=options.force)
    print(f"{options.output}: {len({row[3] for row in rows})} listeners, {len(rows)} ratings")
    return 0
