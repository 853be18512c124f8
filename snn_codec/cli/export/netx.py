"""`snn-codec export netx`."""

from __future__ import annotations

import argparse

from snn_codec.cli.export import files
from snn_codec.cli.simulate import add_input_bits, encoded, integers_of

HELP = "Write the bottleneck as a network of lava-dl, in Loihi's integers."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    files.add_options(parser, ".npz")
    add_input_bits(parser)


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    network, recording, features = files.checked(options, ".npz")

    import numpy as np

    from snn_codec.hardware import exchange, netx
    from snn_codec.loading import load

    codec = load(options.model)
    integers = integers_of(codec, input_bits=options.input_bits, whole_bias=True)
    rate = codec.settings.sample_rate / codec.settings.hop
    if recording:  # before the network is written, which would be left behind if this fails
        events, (run,) = encoded(codec, recording, options.level)
    netx.write(network, integers, step_rate=rate, fingerprint=codec.fingerprint, force=options.force)
    print(
        f"{options.model} -> {network}: {integers.input_bits}-bit graded input, full scale "
        f"{np.max(integers.scale) * integers.largest_input:.4g}"
    )
    if recording:
        exchange.write_graded(features, integers.graded(run), events, force=options.force)
        print(f"{recording} -> {features}: graded integers [{run.shape[0]}, {run.shape[1]}]")
    return 0
