"""`snn-codec export netx`."""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec.cli.common import add_force, add_model, check_spiking
from snn_codec.cli.simulate import add_input_bits, add_level, encoded, integers_of
from snn_codec.files import check_writable

HELP = "Write the bottleneck as a network of lava-dl, in Loihi's integers."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_recording(parser, ".npz")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write")
    add_input_bits(parser)
    add_model(parser)
    add_level(parser)
    add_force(parser)


def add_recording(parser: argparse.ArgumentParser, suffix: str) -> None:
    """The recording whose features to write, as an argument or as an option."""
    what = f"also write the features of this audio file, to OUTPUT with {suffix}"
    parser.add_argument("recording", type=Path, nargs="?", help=what)
    parser.add_argument("--recording", type=Path, metavar="FILE", dest="same_recording", help="the same")


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    recording = options.recording or options.same_recording
    features = options.output.with_suffix(".npz")
    for path in (options.output, features) if recording else (options.output,):
        check_writable(path, force=options.force)
    check_spiking(options.model)

    import numpy as np

    from snn_codec.hardware import exchange, netx
    from snn_codec.loading import load

    codec = load(options.model)
    integers = integers_of(codec, input_bits=options.input_bits, whole_bias=True)
    rate = codec.settings.sample_rate / codec.settings.hop
    netx.write(options.output, integers, step_rate=rate, fingerprint=codec.fingerprint, force=options.force)
    print(
        f"{options.model} -> {options.output}: {integers.input_bits}-bit graded input, full scale "
        f"{np.max(integers.scale) * integers.largest_input:.4g}"
    )
    if recording:
        events, (run,) = encoded(codec, recording, options.level)
        exchange.write_graded(features, integers.graded(run), events, force=options.force)
        print(f"{recording} -> {features}: graded integers [{run.shape[0]}, {run.shape[1]}]")
    return 0
