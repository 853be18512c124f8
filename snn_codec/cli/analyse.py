"""`snn-codec analyse`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
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
        help="shipped models or checkpoint folders, with @LEVEL or without, side by side (default: free, or what made "
        "the event files)",
    )  # fmt: skip
    parser.add_argument(
        "--split", default="validation", help="train, validation or test (default validation)"
    )
    parser.add_argument(
        "--half-width-ms", type=float, default=150.0, metavar="MS",
        help="what counts as near an onset, to both sides (default 150, 6 steps of 512 samples)",
    )  # fmt: skip
    parser.add_argument("--half-width", help=argparse.SUPPRESS)
    parser.add_argument(
        "--lags-ms", type=float, default=2972.0, metavar="MS",
        help="largest lag of the cross-correlations (default 2972, the paper's 128 steps of 512 samples)",
    )  # fmt: skip
    parser.add_argument(
        "--rows", choices=("unit", "bin", "note"),
        help="what to take together of models whose units have frequencies, as wide (default note)",
    )  # fmt: skip
    parser.add_argument(
        "--offset-ms", type=float, default=0.0, help="delay of the sound after the MIDI (default 0)"
    )
    parser.add_argument(
        "--pages",
        type=int,
        default=1,
        help="number of recordings to write an interactive page for (default 1)",
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
    for path in options.inputs:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
    if options.half_width is not None:
        raise UserError("--half-width (steps) is now --half-width-ms; 6 steps of 512 samples are 150 ms")
    for model in options.model or ():
        _named(model)

    from snn_codec.analysis.command import Options, analyse, lines, ready
    from snn_codec.analysis.items import models_of, shipped_models
    from snn_codec.analysis.times import Times

    wanted = Options(
        midi=options.midi,
        split=options.split,
        times=Times(options.half_width_ms, options.lags_ms),
        rows=options.rows,
        offset_ms=options.offset_ms,
        pages=options.pages,
        readout=options.readout,
        save=options.save,
        force=options.force,
    )
    items = ready(options.inputs, wanted)  # which refuses before models are loaded
    codecs = _loaded(options.model or models_of(items), options.device)
    loaded = {codec.fingerprint for _, codec, _ in codecs}
    codecs += _loaded(
        shipped_models([item for item in items if item.fingerprint not in loaded]), options.device
    )
    with progress.bar("analysing", 1) as advance:
        found = analyse(options.inputs, options.output, codecs, wanted, advance)
    print(json.dumps(found) if options.json else "\n".join([*lines(found), f"report in {options.output}"]))
    return 0


def _named(model: str) -> Any:
    from snn_codec import checkpoints, named

    found = named.parse(model)
    if found.search or found.decoder != checkpoints.PLAIN:
        raise UserError(f"{model}: events are analysed as encoded; name a model, with @LEVEL or without")
    if found.kbps is not None:
        raise UserError(f"{model}: units are compared at one level; name one, as {found.model}@4")
    return found


def _loaded(models: Sequence[str], device: str) -> list[tuple[str, Any, float | None]]:
    from snn_codec.loading import load_named

    codecs: list[tuple[str, Any, float | None]] = []
    for model in models:
        found = _named(model)
        name = Path(found.model).name + ("" if found.level is None else f"@{found.level:g}")
        name = f"{name}-{len(codecs) + 1}" if any(name == other for other, _, _ in codecs) else name
        codecs.append((name, load_named(found, device), found.level))
    return codecs
