"""`snn-codec simulate` and `snn-codec export netx | nir | spikes`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from snn_codec.errors import UserError
from snn_codec.files import check_writable, replacing

BACKENDS = ("lava-fixed", "lava-float", "integer")


def add(
    command: Callable[..., argparse.ArgumentParser], model: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Add the commands; `command(name, run, text)` makes a parser, `model` adds the option that chooses one."""
    simulate = command(
        "simulate", _simulate, "Turn a recording into events on simulated neuromorphic hardware."
    )
    simulate.add_argument("recording", type=Path)
    simulate.add_argument("-o", "--output", type=Path, required=True, help=".spk or .h5 file")
    model(simulate)
    simulate.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help="(lava-fixed)")
    simulate.add_argument(
        "--net", type=Path, help="a file of `export netx`, for lava-dl to make the network from"
    )
    _bits(simulate)
    simulate.add_argument("--weight-bits", type=int, default=8, help="2 to 15; two synapses above 8 (8)")
    simulate.add_argument(
        "--lava-python", metavar="PROGRAM", help="the Python 3.10 that has Lava (.venv-lava's)"
    )
    simulate.add_argument("--timeout", type=float, metavar="SECONDS", help="for the simulation")
    simulate.add_argument("--report", action="store_true", help="print operations per second of audio")
    simulate.add_argument("--force", action="store_true", help="replace OUTPUT if it exists")

    kinds = command("export", None, "Write the bottleneck, or events, for simulators.").add_subparsers(
        required=True, metavar="WHAT"
    )

    def kind(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = kinds.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        added.add_argument("-o", "--output", type=Path, required=name != "spikes")
        added.add_argument("--force", action="store_true", help="replace files that exist")
        return added

    netx = kind("netx", _export_netx, "The bottleneck as a network of lava-dl, in Loihi's integers.")
    netx.add_argument("recording", type=Path, nargs="?", help="also write its features, OUTPUT with .npy")
    _bits(netx)
    model(netx)
    model(kind("nir", _export_nir, "The bottleneck in the Neuromorphic Intermediate Representation."))
    spikes = kind("spikes", _export_spikes, "Events as the input of another simulation.")
    spikes.add_argument("events", type=Path, help=".spk or .h5 file")
    spikes.add_argument("--to", choices=("lava", "nir", "sonata", "shd"), required=True)
    spikes.add_argument("--recording", metavar="NAME", help="only this one of an .h5 file")
    model(spikes)


def _bits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input-bits", type=int, default=16, help="of the graded input, 2 to 16 (16)")


def _simulate(options: argparse.Namespace) -> int:
    from snn_codec.cli.main import _event_kind, _load, _progress
    from snn_codec.hardware.layer import fold, kept_steps
    from snn_codec.hardware.quantise import operations
    from snn_codec.hardware.simulate import in_lava, lava_python
    from snn_codec.storage import event_files

    kind = _event_kind(options.output)
    check_writable(options.output, force=options.force)
    if options.net is not None and options.backend == "lava-float":
        raise UserError("--net: holds integers; simulate it with lava-fixed or integer")
    python = lava_python(options.lava_python) if options.backend != "integer" else None
    options.device = "cpu"
    codec = _load(options)
    integers = _integers(codec, options)
    events, runs = _encoded(codec, options.recording)
    graded = [integers.graded(run) for run in runs]
    layer, inputs = (fold(codec.bottleneck), runs) if options.backend == "lava-float" else (integers, graded)
    began = time.perf_counter()
    if options.backend == "integer":
        parts = [layer.spikes(run) for run in inputs]
    else:
        with _progress("Lava", sum(run.shape[1] for run in runs)) as advance:
            parts = in_lava(
                layer, inputs, net=options.net, python=python, timeout=options.timeout, progress=advance
            )
    took = time.perf_counter() - began
    if not codec.bottleneck.stateless:
        parts = [part[:, keep] for part, keep in zip(parts, kept_steps(codec, events), strict=True)]
    found = replace(events, events=np.concatenate(parts, 1))
    event_files.write(
        options.output,
        kind,
        [(options.recording.name, found)],
        entropy_model=codec.entropy_model,
        force=options.force,
    )
    same = np.mean(found.events == events.events)
    print(
        f"{options.recording} -> {options.output}: {events.duration:.2f} s by {options.backend} in {took:.2f} s, "
        f"{100 * same:.3f} % of {events.events.size} cells as in torch"
    )
    if options.report:
        clipped = np.mean([np.mean(np.abs(run) > integers.scale * integers.largest_input) for run in runs])
        print(f"  graded input: {integers.input_bits} bits, {100 * clipped:.4f} % clipped")
        steps_run = sum(run.shape[1] for run in runs) / events.step_rate  # with borrowed context, seconds
        spikes = np.concatenate([integers.spikes(run) for run in graded], 1)
        print("  per second of audio, by the integers:")
        for name, count in operations(integers, np.concatenate(graded, 1), spikes, steps_run).items():
            print(f"    {name.replace('_', ' '):28} {count:12.0f}")
    return 0


def _integers(codec: Any, options: argparse.Namespace, **settings: Any) -> Any:
    """The bottleneck in the integers that the options ask for."""
    from snn_codec.hardware import netx
    from snn_codec.hardware.layer import calibrated_peak, fold
    from snn_codec.hardware.quantise import quantise

    if getattr(options, "net", None) is None:
        return quantise(
            fold(codec.bottleneck), calibrated_peak(codec), input_bits=options.input_bits, **settings
        )
    integers, fingerprint = netx.read(options.net)
    if fingerprint != codec.fingerprint:
        raise UserError(
            f"{options.net}: was exported from the model {fingerprint}, but --model is {codec.fingerprint}"
        )
    return integers


def _encoded(codec: Any, path: Path) -> tuple[Any, list[np.ndarray]]:
    from snn_codec import audio
    from snn_codec.cli.main import _progress
    from snn_codec.hardware.layer import encode_with_features

    length = audio.info(path)
    with _progress(path.name, length.samples / length.sample_rate) as advance:
        return encode_with_features(codec, audio.read_blocks(path), length.sample_rate, advance)


def _export_netx(options: argparse.Namespace) -> int:
    from snn_codec.cli.main import _load
    from snn_codec.hardware import netx

    features = options.output.with_suffix(".npy")
    for path in (options.output, features) if options.recording else (options.output,):
        check_writable(path, force=options.force)
    options.device = "cpu"
    codec = _load(options)
    integers = _integers(codec, options, whole_bias=True)
    rate = codec.settings.sample_rate / codec.settings.hop
    netx.write(options.output, integers, step_rate=rate, fingerprint=codec.fingerprint, force=options.force)
    print(
        f"{options.model} -> {options.output}: {integers.input_bits}-bit graded input, full scale "
        f"{integers.scale * integers.largest_input:.4g}"
    )
    if options.recording:
        _, (run,) = _encoded(codec, options.recording)
        with replacing(features, force=options.force) as temporary, open(temporary, "wb") as file:
            np.save(file, integers.graded(run))
        print(f"{options.recording} -> {features}: graded integers [{run.shape[0]}, {run.shape[1]}]")
    return 0


def _export_nir(options: argparse.Namespace) -> int:
    from snn_codec.cli.main import _load
    from snn_codec.hardware import nir
    from snn_codec.hardware.layer import fold

    check_writable(options.output, force=options.force)
    options.device = "cpu"
    codec = _load(options)
    nir.write(
        options.output,
        fold(codec.bottleneck),
        step_seconds=codec.settings.hop / codec.settings.sample_rate,
        fingerprint=codec.fingerprint,
        force=options.force,
    )
    print(f"{options.model} -> {options.output}")
    return 0


def _export_spikes(options: argparse.Namespace) -> int:
    from snn_codec import checkpoints
    from snn_codec.hardware import streams
    from snn_codec.storage import event_files
    from snn_codec.storage.entropy_model import EntropyModel

    entropy_model = EntropyModel.of(checkpoints.find(options.model))
    recordings = list(event_files.recordings(options.events, options.recording, entropy_model=entropy_model))
    output = options.output or options.events.with_suffix(streams.SUFFIXES[options.to])
    streams.write(output, options.to, recordings, force=options.force)
    print(f"{options.events} -> {output}: {len(recordings)} recording(s) for {options.to}")
    return 0
