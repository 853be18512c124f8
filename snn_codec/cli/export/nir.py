"""`snn-codec export nir`."""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec.cli.common import add_force, add_model, check_spiking
from snn_codec.cli.export.netx import add_recording
from snn_codec.cli.simulate import add_level, encoded
from snn_codec.errors import UserError
from snn_codec.files import check_writable

HELP = "Write the bottleneck in the Neuromorphic Intermediate Representation."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_recording(parser, ".nirdata")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write")
    add_model(parser)
    add_level(parser)
    add_force(parser)


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    recording = options.recording or options.same_recording
    features = options.output.with_suffix(".nirdata")
    for path in (options.output, features) if recording else (options.output,):
        check_writable(path, force=options.force)
    check_spiking(options.model)

    from snn_codec.hardware import exchange, nir
    from snn_codec.hardware.fold import fold
    from snn_codec.loading import load

    codec = load(options.model)
    layer = fold(codec.bottleneck)
    if recording and layer.beta > 0:
        raise UserError(
            f"{recording}: leaky neurons start from rest in every chunk, which the features of one run cannot "
            "say; leave it out, or use `snn-codec simulate`"
        )
    nir.write(
        options.output,
        layer,
        step_seconds=codec.settings.hop / codec.settings.sample_rate,
        fingerprint=codec.fingerprint,
        force=options.force,
    )
    print(f"{options.model} -> {options.output}")
    if recording:
        events, (run,) = encoded(codec, recording, options.level)
        exchange.write_features(features, run, events, force=options.force)
        print(f"{recording} -> {features}: features [{run.shape[0]}, {run.shape[1]}]")
    return 0
