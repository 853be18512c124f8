"""`snn-codec listen build | serve | export | analyse | compare`: their options, and what they print."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the commands to the parser of `snn-codec listen`."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    build = command("build", _build, "Make the sounds and the page of a MUSHRA test.")
    build.add_argument(
        "--items", type=Path, required=True, metavar="DIR", help="folder of the recordings to listen to"
    )
    build.add_argument(
        "--conditions",
        required=True,
        help="models, opus:KBPS, mp3:KBPS, NAME=FOLDER of finished sounds; with commas between",
    )
    build.add_argument("-o", "--output", type=Path, required=True, metavar="TEST", help="folder to make")
    build.add_argument("--start", type=float, default=0, help="of the excerpts, in seconds (0)")
    build.add_argument("--seconds", type=float, default=10, help="of sound an item, at most 12 (10)")
    build.add_argument(
        "--reference-rate", type=int, metavar="HZ", help="bring the recordings to this rate first"
    )

    serve = command("serve", _serve, "Give a test to listeners, at an address of this machine only.")
    serve.add_argument("test", type=Path, metavar="TEST", help="folder made by build")
    serve.add_argument("--port", type=int, default=8000, help="0: any that is free (8000)")

    export = command("export", _export, "Write the results of a test as CSV in webMUSHRA's columns.")
    export.add_argument("test", type=Path, metavar="TEST", help="folder made by build")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="CSV", help="file to write")
    export.add_argument("--force", action="store_true", help="replace the file if it exists")

    analyse = command("analyse", _analyse, "Screen the raters of a test and say what their ratings say.")
    analyse.add_argument("results", type=Path, help="CSV in webMUSHRA's columns")
    analyse.add_argument(
        "-o", "--output", type=Path, required=True, metavar="REPORT", help="folder to write to"
    )
    analyse.add_argument("--test", type=Path, help="the test's folder, if webMUSHRA took the results")
    analyse.add_argument("--force", action="store_true", help="replace files that exist")

    compare = command("compare", _compare, "Make one page to hear versions of one recording, in sync.")
    compare.add_argument("inputs", nargs="+", type=Path, metavar="VERSION", help="recordings or event files")
    compare.add_argument(
        "-o", "--output", type=Path, required=True, metavar="PAGE", help="HTML file to write"
    )
    compare.add_argument("--model", default="free", help="decodes event files (free)")
    compare.add_argument("--start", type=float, default=0, help="of the excerpt, in seconds (0)")
    compare.add_argument("--seconds", type=float, default=30, help="of sound, at most 120 (30)")
    compare.add_argument("--force", action="store_true", help="replace the page if it exists")


def _build(options: argparse.Namespace) -> int:
    from snn_codec.listening.build import build

    key = build(
        options.items,
        [text for text in options.conditions.split(",") if text],
        options.output,
        start=options.start,
        seconds=options.seconds,
        reference_rate=options.reference_rate,
    )
    rates: dict[str, list[float]] = {name: [] for name in key["codes"]}
    for version in key["versions"].values():
        if version.get("kbps"):
            rates[version["condition"]].append(version["kbps"])
    print(f"{options.output}: {len(key['items'])} items, {len(rates) + 1} versions of each")
    for name, kbps in rates.items():
        print(f"  {name}" + (f": {sum(kbps) / len(kbps):.2f} kbps" if kbps else ""))
    print(f"next: snn-codec listen serve {options.output}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    from snn_codec.listening.server import serve

    serve(options.test, options.port)
    return 0


def _export(options: argparse.Namespace) -> int:
    from snn_codec.listening import keys, results
    from snn_codec.listening.store import Store

    store = Store(options.test, keys.read(options.test))
    rows = list(store.rows())
    results.write(options.output, rows, force=options.force)
    print(f"{options.output}: {len({row[3] for row in rows})} listeners, {len(rows)} ratings")
    return 0


def _analyse(options: argparse.Namespace) -> int:
    from snn_codec.listening import keys, report, results

    codes = keys.read(options.test)["codes"] if options.test else {}
    found = report.analyse(
        results.read(options.results, {code: condition for condition, code in codes.items()})
    )
    report.write(found, options.output, force=options.force)
    print(report.text(found), end="")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from snn_codec.listening.compare import compare

    compare(
        options.inputs, options.output,
        model=options.model, start=options.start, seconds=options.seconds, force=options.force,
    )  # fmt: skip
    print(f"{options.output}: {len(options.inputs)} versions; open it in a browser")
    return 0
