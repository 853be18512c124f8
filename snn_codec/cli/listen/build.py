"""`snn-codec listen build`."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Make the sounds and the page of a MUSHRA test."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--items", type=Path, required=True, metavar="DIR", help="folder of the recordings to listen to"
    )
    parser.add_argument(
        "--conditions", required=True,
        help="models, MODEL@LEVEL, MODEL+DECODER@LEVEL, opus:KBPS, mp3:KBPS, or NAME=FOLDER of decoded recordings, "
        "separated by commas",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TEST", help="folder to make")
    parser.add_argument(
        "--start", type=float, default=0, help="where the excerpts begin, in seconds (default 0)"
    )
    parser.add_argument(
        "--seconds", type=float, default=10, help="length of each excerpt, at most 12 (default 10)"
    )
    parser.add_argument(
        "--reference-rate", type=int, metavar="HZ",
        help="resample the recordings to this rate first (default: leave them as they are)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
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
