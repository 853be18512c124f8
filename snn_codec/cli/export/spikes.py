"""`snn-codec export spikes`."""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec import progress
from snn_codec.cli.common import MAKER, add_force, add_model, entropy_models, file_name
from snn_codec.files import check_not_input

HELP = "Write events as the input of another simulation."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("events", type=Path, help=".spk or .h5 file")
    parser.add_argument("-o", "--output", type=file_name, help="file to write (default: beside EVENTS)")
    parser.add_argument("--to", choices=("lava", "nir", "sonata", "shd"), required=True, help="its format")
    parser.add_argument(
        "--recording", metavar="NAME", help="only this recording of an .h5 file (default: all)"
    )
    parser.add_argument("--as-bits", action="store_true", help="write index bits, as those of rvq, as spikes")
    add_model(parser, None, MAKER)
    add_force(parser)


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec import checkpoints
    from snn_codec.hardware import streams
    from snn_codec.storage import event_files

    output = options.output or options.events.with_suffix(streams.SUFFIXES[options.to])
    check_not_input(output, options.events)
    entropy_model = entropy_models(options.model)
    with progress.bar("exporting", None):
        recordings = list(
            event_files.recordings(options.events, options.recording, entropy_model=entropy_model)
        )
        for _, events in recordings:
            if not options.as_bits:
                checkpoints.check_spikes(options.events, events.fingerprint, options.model)
        streams.write(output, options.to, recordings, force=options.force)
    print(f"{options.events} -> {output}: {len(recordings)} recording(s) for {options.to}")
    return 0
