"""`snn-codec export nir`."""

from __future__ import annotations

import argparse

from snn_codec.cli.export import files
from snn_codec.cli.simulate import encoded
from snn_codec.errors import UserError

HELP = "Write the bottleneck in the Neuromorphic Intermediate Representation."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    files.add_options(parser, ".nirdata")


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    network, recording, features = files.checked(options, ".nirdata")

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
    if recording:  # before the network is written, which would be left behind if this fails
        events, (run,) = encoded(codec, recording, options.level)
    nir.write(
        network,
        layer,
        step_seconds=codec.settings.hop / codec.settings.sample_rate,
        fingerprint=codec.fingerprint,
        force=options.force,
    )
    print(f"{options.model} -> {network}")
    if recording:
        exchange.write_features(features, run, events, force=options.force)
        print(f"{recording} -> {features}: features [{run.shape[0]}, {run.shape[1]}]")
    return 0
