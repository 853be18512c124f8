"""`snn-codec convert`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from snn_codec import progress
from snn_codec.cli.common import MAKER, Output, add_force, add_model, entropy_models
from snn_codec.errors import UserError
from snn_codec.files import shown
from snn_codec.pipes import PIPE, is_pipe, writable

HELP = "Write events in another format, or the events of several files to one."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="EVENTS", help="event files, or folders of them; - for stdin"
    )
    parser.add_argument(
        "output",
        type=Output.of,
        help="file; - for stdout (spk, csv, npz); or an existing folder, for a file a recording",
    )
    parser.add_argument(
        "--to", metavar="KIND",
        help="spk, h5, shd, nwb, nirdata, csv or npz (default: by the suffix of OUTPUT, which may not be that of "
        "another kind)",
    )  # fmt: skip
    parser.add_argument("--recording", metavar="NAME", help="only this recording of .h5 files (default: all)")
    add_model(parser, None, MAKER)
    parser.add_argument(
        "--reseal",
        action="store_true",
        help="check the content of an .h5 file that another program has changed, and copy it with a new seal",
    )
    parser.add_argument(
        "--as-bits",
        action="store_true",
        help="write index bits, as those of rvq, for programs that take them for spikes",
    )
    parser.add_argument("--gzip", action="store_true", help="compress .h5 (libsonata cannot read that)")
    add_force(parser)


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec import checkpoints
    from snn_codec.storage import event_files

    target, is_folder = options.output
    if is_folder and not target.is_dir():
        raise UserError(f"{target}: no such folder; make it first")
    if options.reseal:
        return _reseal(options, target)
    if options.to is not None and options.to not in event_files.KINDS:
        raise UserError(f"--to {options.to}: must be one of {', '.join(event_files.KINDS)}")
    if target == PIPE and options.to not in event_files.STREAMED:
        raise UserError(f"-: goes to stdout; say --to {', '.join(event_files.STREAMED)}, or give a file")
    entropy_model = entropy_models(options.model)
    kind = options.to or (None if target.is_dir() else event_files.kind_of(target))
    if options.gzip and kind != "h5":
        raise UserError(f"--gzip: is for .h5 files, not for {kind}; leave it out")

    def check(file: Path, events: Any) -> None:
        if kind in event_files.FOR_SIMULATORS and not options.as_bits:
            checkpoints.check_spikes(file, events.fingerprint, options.model)

    read: list[str] = []
    with progress.bar("converting", None), writable(target) as output:
        written = event_files.convert(
            options.inputs,
            output,
            kind,
            name=options.recording,
            entropy_model=entropy_model,
            compress=options.gzip,
            force=options.force,
            check=check,
            progress=read.append,
        )
        size = sum(path.stat().st_size for path in written)
    streamed = is_pipe(target)
    made = "" if streamed else f": {len(written)} file(s), {size} bytes"
    print(
        f"{len(read)} recording(s) -> {shown(target)}{made}",
        file=sys.stderr if streamed else sys.stdout,
    )
    return 0


def _reseal(options: argparse.Namespace, output: Path) -> int:
    from snn_codec.storage import event_files, h5

    for name in ("to", "recording", "model", "as_bits", "gzip"):
        if getattr(options, name):
            raise UserError(f"--reseal: copies a file as it is; leave out --{name.replace('_', '-')}")
    source = options.inputs[0]
    if len(options.inputs) != 1 or source.is_dir():
        raise UserError("--reseal: one .h5 file is sealed at a time; give one input")
    if output == PIPE:
        raise UserError("-: an .h5 file does not go to stdout; give a file")
    event_files.check_suffix(output, "h5")
    with progress.bar("checking", None):
        h5.reseal(source, output, force=options.force)
    print(f"{shown(source)} -> {shown(output)}: every recording was read, and the file is sealed")
    return 0
