"""`snn-codec import`."""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec.cli.common import add_force, file_name
from snn_codec.errors import UserError
from snn_codec.files import check_not_input
from snn_codec.pipes import name_of

HELP = "Make an event file of the spikes that another simulator returned."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "spikes", type=Path, help="spikes [units, steps], 0 or 1: an .npy, .npz (`data`) or NIRData file"
    )
    parser.add_argument(
        "--like", type=Path, required=True, metavar="FEATURES",
        help="the recording's features, written by `export netx` or `export nir`",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=file_name, required=True, help=".spk or .h5 file")
    parser.add_argument(
        "--late", type=int, default=0, metavar="STEPS",
        help="drop this many steps at the start, which precede the first input (default 0)",
    )  # fmt: skip
    parser.add_argument(
        "--cut", action="store_true",
        help="leave out spikes after the recording's last step, which are refused otherwise",
    )  # fmt: skip
    add_force(parser)


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec import api
    from snn_codec.cli.common import event_kind
    from snn_codec.hardware.exchange import spikes_back

    event_kind(options.output)
    for source in (options.spikes, options.like):
        check_not_input(options.output, source)
    if options.late < 0:
        raise UserError(f"--late {options.late}: must be 0 or more")
    events = spikes_back(options.spikes, options.like, late=options.late, cut=options.cut)
    api.write_events(options.output, {name_of(options.spikes): events}, force=options.force)
    print(f"{options.spikes} -> {options.output}: {events.duration:.2f} s, {events.n_events} events")
    return 0
