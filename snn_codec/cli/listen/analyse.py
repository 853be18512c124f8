"""`snn-codec listen analyse`."""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec.cli.common import add_force

HELP = "Screen the raters of a test and analyse their ratings."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("results", type=Path, help="CSV in webMUSHRA's columns")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="REPORT", help="folder to write to"
    )
    parser.add_argument("--test", type=Path, help="the test's folder, if webMUSHRA took the results")
    add_force(parser)


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec.listening import keys, report, results

    codes = keys.read(options.test)["codes"] if options.test else {}
    found = report.analyse(
        results.read(options.results, {code: condition for condition, code in codes.items()})
    )
    report.write(found, options.output, force=options.force)
    print(report.text(found), end="")
    return 0
