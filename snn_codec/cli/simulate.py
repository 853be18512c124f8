"""`snn-codec simulate`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snn_codec import progress
from snn_codec.cli.common import add_force, add_model, event_kind
from snn_codec.errors import UserError
from snn_codec.files import check_writable

HELP = "Turn a recording into events on simulated neuromorphic hardware."
BACKENDS = ("lava-fixed", "lava-float", "integer")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("recording", type=Path, help="audio file")
    parser.add_argument("-o", "--output", type=Path, required=True, help=".spk or .h5 file")
    add_model(parser)
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help="(default lava-fixed)")
    parser.add_argument(
        "--net", type=Path,
        help="a file of `export netx` to make the network from (default: made from the model)",
    )  # fmt: skip
    add_input_bits(parser)
    parser.add_argument(
        "--weight-bits", type=int, default=8, help="2 to 15; above 8, two synapses a weight (default 8)"
    )
    parser.add_argument(
        "--lava-python", metavar="PROGRAM", help="the Python 3.10 that has Lava (default: that of .venv-lava)"
    )
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="stop the simulation after this (default: never)"
    )
    parser.add_argument("--report", action="store_true", help="print operations per second of audio")
    add_force(parser, "OUTPUT if it exists")


def add_input_bits(parser: argparse.ArgumentParser) -> None:
    """The option for the width of the network's input."""
    parser.add_argument(
        "--input-bits", type=int, default=16, help="bits of the graded input, 2 to 16 (default 16)"
    )


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec.hardware.simulate import lava_python
    from snn_codec.storage import event_files

    kind = event_kind(options.output)
    check_writable(options.output, force=options.force)
    if options.net is not None and options.backend == "lava-float":
        raise UserError("--net: holds integers; simulate it with lava-fixed or integer")
    python = lava_python(options.lava_python) if options.backend != "integer" else None

    import numpy as np

    from snn_codec.hardware.layer import kept_steps
    from snn_codec.loading import load

    codec = load(options.model)
    integers = integers_of(codec, options.net, input_bits=options.input_bits, weight_bits=options.weight_bits)
    events, runs = encoded(codec, options.recording)
    began = time.perf_counter()
    parts = _simulated(codec, integers, runs, options.backend, options.net, python, options.timeout)
    took = time.perf_counter() - began
    if not codec.bottleneck.stateless:
        parts = [part[:, keep] for part, keep in zip(parts, kept_steps(codec, events), strict=True)]
    found = events.replace(events=np.concatenate(parts, 1))
    named = [(options.recording.name, found)]
    event_files.write(options.output, kind, named, entropy_model=codec.entropy_model, force=options.force)
    same = np.mean(found.events == events.events)
    print(
        f"{options.recording} -> {options.output}: {events.duration:.2f} s by {options.backend} in {took:.2f} s, "
        f"{100 * same:.3f} % of {events.n_cells} cells as in torch"
    )
    if options.report:
        _report(integers, runs, events.step_rate)
    return 0


def _simulated(
    codec: Any,
    integers: Any,
    runs: Sequence[Any],
    backend: str,
    net: Path | None,
    python: str | None,
    timeout: float | None,
) -> list[Any]:
    """The spikes of each run of features."""
    from snn_codec.hardware.layer import fold
    from snn_codec.hardware.simulate import in_lava

    graded = [integers.graded(run) for run in runs]
    if backend == "integer":
        return [integers.spikes(run) for run in graded]
    layer, inputs = (fold(codec.bottleneck), runs) if backend == "lava-float" else (integers, graded)
    with progress.bar("Lava", sum(run.shape[1] for run in runs)) as advance:
        return in_lava(layer, inputs, net=net, python=python, timeout=timeout, progress=advance)


def _report(integers: Any, runs: Sequence[Any], step_rate: float) -> None:
    """Print what the network computes in a second of audio."""
    import numpy as np

    from snn_codec.hardware.quantise import operations

    graded = [integers.graded(run) for run in runs]
    clipped = np.mean([np.mean(np.abs(run) > integers.scale * integers.largest_input) for run in runs])
    print(f"  graded input: {integers.input_bits} bits, {100 * clipped:.4f} % clipped")
    seconds = sum(run.shape[1] for run in runs) / step_rate  # with the margins of each chunk
    spikes = np.concatenate([integers.spikes(run) for run in graded], 1)
    print("  per second of audio, by the integers:")
    for name, count in operations(integers, np.concatenate(graded, 1), spikes, seconds).items():
        print(f"    {name.replace('_', ' '):28} {count:12.0f}")


def integers_of(codec: Any, net: Path | None = None, **settings: Any) -> Any:
    """The bottleneck in integers: quantised by these settings, or as a file of `export netx` has it.

    Raises:
        UserError: The file cannot be read, or is of another model.
    """
    from snn_codec.hardware import netx
    from snn_codec.hardware.layer import calibrated_peak, fold
    from snn_codec.hardware.quantise import quantise

    if net is None:
        return quantise(fold(codec.bottleneck), calibrated_peak(codec), **settings)
    integers, fingerprint = netx.read(net)
    if fingerprint != codec.fingerprint:
        raise UserError(
            f"{net}: was exported from the model {fingerprint}, but --model is {codec.fingerprint}"
        )
    return integers


def encoded(codec: Any, path: Path) -> tuple[Any, list[Any]]:
    """A recording's events, and the features that the bottleneck got."""
    from snn_codec import audio
    from snn_codec.hardware.layer import encode_with_features

    length = audio.info(path)
    with progress.bar(path.name, length.samples / length.sample_rate) as advance:
        return encode_with_features(codec, audio.read_blocks(path), length.sample_rate, advance)
