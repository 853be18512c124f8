"""`snn-codec analyse`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from snn_codec import progress
from snn_codec.cli.common import add_device, add_force, add_json
from snn_codec.errors import UserError

HELP = "Compare events with the notes that were played."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, help="recordings, event files, or a folder in the MAESTRO layout"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="REPORT", help="folder to write to"
    )
    parser.add_argument(
        "--midi", nargs="+", type=Path, default=[],
        help="MIDI files or folders of them (default: those beside the inputs)",
    )  # fmt: skip
    parser.add_argument(
        "--model", nargs="+",
        help="shipped models or checkpoint folders, side by side (default: free, or what made the event files)",
    )  # fmt: skip
    parser.add_argument(
        "--split", default="validation", help="train, validation or test (default validation)"
    )
    parser.add_argument(
        "--half-width", type=int, default=6, metavar="STEPS",
        help="steps to both sides of an onset that count as near it (default 6)",
    )  # fmt: skip
    parser.add_argument(
        "--offset-ms", type=float, default=0.0, help="how much later the sound is than the MIDI (default 0)"
    )
    parser.add_argument(
        "--pages", type=int, default=1, help="recordings to write interactive pages of (default 1)"
    )
    parser.add_argument(
        "--readout", action="store_true", help="train a linear readout of note onsets from the events"
    )
    parser.add_argument("--save", action="store_true", help="write all arrays to results.h5")
    add_device(parser)
    add_force(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec import checkpoints

    for path in options.inputs:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
    for model in options.model or ():
        checkpoints.find(model)

    from snn_codec.analysis.command import Options, analyse, lines, model_of, ready
    from snn_codec.loading import load

    wanted = Options(
        midi=options.midi,
        split=options.split,
        half_width=options.half_width,
        offset_ms=options.offset_ms,
        pages=options.pages,
        readout=options.readout,
        save=options.save,
        force=options.force,
    )
    items = ready(options.inputs, wanted)  # which refuses before models are loaded
    codecs: list[tuple[str, Any]] = []
    for model in options.model or [model_of(items)]:
        name = Path(model).name
        name = f"{name}-{len(codecs) + 1}" if name in dict(codecs) else name
        codecs.append((name, load(model, options.device)))
    with progress.bar("analysing", 1) as advance:
        found = analyse(options.inputs, options.output, codecs, wanted, advance)
    print(json.dumps(found) if options.json else "\n".join([*lines(found), f"report in {options.output}"]))
    return 0
