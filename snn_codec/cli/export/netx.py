"""`snn-codec export netx`."""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec.cli.common import add_force, add_model
from snn_codec.cli.simulate import add_input_bits, encoded, integers_of
from snn_codec.files import check_writable, replacing

HELP = "Write the bottleneck as a network of lava-dl, in Loihi's integers."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "recording",
        type=Path,
        nargs="?",
        help="also write the features of this audio file, to OUTPUT with .npy",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write")
    add_input_bits(parser)
    add_model(parser)
    add_force(parser)


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    features = options.output.with_suffix(".npy")
    for path in (options.output, features) if options.recording else (options.output,):
        check_writable(path, force=options.force)

    import numpy as np

    from snn_codec.hardware import netx
    from snn_codec.loading import load

    codec = load(options.model)
    integers = integers_of(codec, input_bits=options.input_bits, whole_bias=True)
    rate = codec.settings.sample_rate / codec.settings.hop
    netx.write(options.output, integers, step_rate=rate, fingerprint=codec.fingerprint, force=options.force)
    print(
        f"{options.model} -> {options.output}: {integers.input_bits}-bit graded input, full scale "
        f"{integers.scale * integers.largest_input:.4g}"
    )
    if options.recording:
        _, (features_run,) = encoded(codec, options.recording)
        with replacing(features, force=options.force) as temporary, open(temporary, "wb") as file:
            np.save(file, integers.graded(features_run))
        units, steps = features_run.shape
        print(f"{options.recording} -> {features}: graded integers [{units}, {steps}]")
    return 0
