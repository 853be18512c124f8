"""`snn-codec simulate`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_codec import progress
from snn_codec.cli import batch
from snn_codec.cli.common import (
    Output,
    add_force,
    add_json,
    add_model,
    check_level,
    check_spiking,
    event_kind,
)
from snn_codec.errors import UserError
from snn_codec.files import check_writable

HELP = "Turn recordings into events on simulated neuromorphic hardware."
BACKENDS = ("lava-fixed", "lava-float", "integer")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="RECORDING", help="audio files or folders of them"
    )
    parser.add_argument(
        "-o", "--output", type=Output.of, required=True,
        help=".spk or .h5 file, or a folder (made for several inputs, or if a slash ends its name)",
    )  # fmt: skip
    add_model(parser, None, "default free; mu-sparse with --level; wide with --encoder")
    add_level(parser)
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=BACKENDS[0],
        help="Lava in fixed or floating point, or the same integers without Lava (default lava-fixed)",
    )
    parser.add_argument(
        "--net", type=Path,
        help="build the network from this file of `export netx` (default: from the model)",
    )  # fmt: skip
    parser.add_argument(
        "--encoder", action="store_true",
        help="the encoder on hardware, too: audio goes in, in 16 bits (wide)",
    )  # fmt: skip
    add_input_bits(parser, None)
    parser.add_argument(
        "--weight-bits",
        type=int,
        help="bits of a weight, 2 to 15; more than 8 take two synapses (default 8)",
    )
    parser.add_argument(
        "--lava-python", metavar="PROGRAM", help="the Python 3.10 that has Lava (default: that of .venv-lava)"
    )
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS",
        help="time limit per recording (default: well above the expected time)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=1, help="recordings simulated at the same time (default 1)"
    )
    parser.add_argument("--report", action="store_true", help="print operations per second of audio")
    add_force(parser)
    add_json(parser)


def add_input_bits(parser: argparse.ArgumentParser, default: int | None = 16) -> None:
    """The option for the width of the network's input."""
    parser.add_argument(
        "--input-bits", type=int, default=default, help="bits of the graded input, 2 to 16 (default 16)"
    )


def add_level(parser: argparse.ArgumentParser) -> None:
    """The option for the sparsity of the events."""
    parser.add_argument(
        "--level", type=float,
        help="sparsity level, 0 (most events) to 31, in eighths (wide or mu-sparse; default: a quarter of the way up)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    began = time.perf_counter() - time.process_time()  # what ran until here was the start of the program
    from snn_codec import audio
    from snn_codec.hardware.interpreter import lava_python

    several = len(options.inputs) > 1 or options.inputs[0].is_dir()
    output, is_folder = options.output
    kind = "spk" if several or is_folder else event_kind(output)
    if not several and not is_folder and not output.is_dir():
        check_writable(output, force=options.force)
    if options.net is not None and options.backend == "lava-float":
        raise UserError("--net: holds integers; simulate it with lava-fixed or integer")
    if options.encoder:
        _check_encoder(options)
    bits = _bits(options)
    if options.timeout is not None and not options.timeout > 0:
        raise UserError(f"--timeout {options.timeout:g}: must be more than 0 seconds")
    name = options.model or _default(options)
    check_spiking(name)
    if options.level is not None:
        check_level(name, options.level)
    python = lava_python(options.lava_python) if options.backend != "integer" else None
    files = batch.Batch(
        options.inputs, output, audio.SUFFIXES, f".{kind}", is_folder,
        workers=options.workers, as_json=options.json,
    )  # fmt: skip
    simulation = _Simulation(
        name, kind, options.backend, options.net, options.encoder, bits, python, options.timeout,
        options.level, options.report, options.force, files.alone,
    )  # fmt: skip
    return batch.run(files, simulation, began)


def _default(options: argparse.Namespace) -> str:
    from snn_codec import checkpoints

    if options.encoder:
        return "wide"
    return "mu-sparse" if options.level is not None else checkpoints.DEFAULT


def _check_encoder(options: argparse.Namespace) -> None:
    if options.backend == "lava-float":
        raise UserError("--encoder: runs in integers; simulate it with lava-fixed or integer")
    if options.net is not None:
        raise UserError("--encoder: a --net holds the bottleneck alone; leave one of the two out")
    if options.input_bits is not None:
        raise UserError("--encoder: its features have 16 bits; leave out --input-bits")


def _bits(options: argparse.Namespace) -> dict[str, int]:
    """The widths that were asked for, as `integers_of` takes them.

    Raises:
        UserError: They are given already.
    """
    bits = {
        name: getattr(options, name)
        for name in ("input_bits", "weight_bits")
        if getattr(options, name) is not None
    }
    for name in bits:
        option = f"--{name.replace('_', '-')}"
        if options.net is not None:
            raise UserError(f"{option}: {options.net} has its widths; leave one of the two out")
        if options.backend == "lava-float":
            raise UserError(f"{option}: lava-float has no integers; simulate them with lava-fixed or integer")
    return bits


@dataclass(frozen=True)
class _Simulation:
    """How each recording is simulated; see `batch.Work`."""

    name: str
    kind: str
    backend: str
    net: Path | None
    encoder: bool
    bits: dict[str, int]
    python: str | None
    timeout: float | None
    level: float | None
    report: bool
    force: bool
    shows_progress: bool

    def model(self, file: Path) -> str:
        return self.name

    def check(self, job: batch.Job) -> None:
        from snn_codec import audio

        audio.info(job.file)

    def load(self, model: str, device: str) -> tuple[Any, Any]:
        """The codec, and its bottleneck or encoder in integers."""
        from snn_codec.hardware.encoder import encoder_of
        from snn_codec.loading import load

        codec = load(model, device)
        if self.encoder:
            return codec, encoder_of(codec, self.level, **self.bits)
        return codec, integers_of(codec, self.net, **self.bits)

    def __call__(self, codec: tuple[Any, Any], job: batch.Job) -> dict[str, Any]:
        from snn_codec.events import Builder
        from snn_codec.hardware.agreement import agreement_of, rounded_down
        from snn_codec.hardware.features import kept_steps
        from snn_codec.storage import event_files

        floats, integers = codec
        events, runs = self._inputs(floats, integers, job.file)
        began = time.perf_counter()
        parts: Iterable[Any] = self._spikes(floats, integers, runs)
        if not floats.bottleneck.stateless:
            parts = (part[:, keep] for part, keep in zip(parts, kept_steps(floats, events), strict=True))
        builder = Builder(events.n_units)
        for part in parts:
            builder.append(part)
        found = events.replace(events=builder.build())
        took = time.perf_counter() - began
        with progress.bar(f"{job.name}: writing", None, shown=self.shows_progress):
            event_files.write(
                job.target,
                self.kind,
                [(job.name, found)],
                entropy_model=floats.entropy_model,
                force=self.force,
            )
        same = agreement_of(found, events)
        cells, spikes = (rounded_down(share, 3) for share in same)
        alike = f"{cells} % of {events.n_cells} cells and {spikes} % of events as in torch"
        remarks = [f"{self.backend} took {took:.2f} s, {alike}"]
        if self.report:
            remarks += _report(floats, integers, runs, events.step_rate)
        shares = {"same_cells": same.cells, "same_events": same.events}
        return {"seconds": events.duration, "events": found.n_events, **shares, "remarks": remarks}

    def _inputs(self, codec: Any, integers: Any, file: Path) -> tuple[Any, list[Any]]:
        """A recording's events as torch makes them, and what the hardware gets: features, or frames of audio."""
        if not self.encoder:
            return encoded(codec, file, self.level, shown=self.shows_progress)
        from snn_codec.hardware.features import encode_with_audio

        events, sound = _followed(encode_with_audio, codec, file, self.level, self.shows_progress)
        return events, [integers.frames(sound, events.hop)]

    def _spikes(self, codec: Any, integers: Any, runs: Sequence[Any]) -> Iterable[Any]:
        """The spikes of each run; in integers, of each piece."""
        from snn_codec.hardware.fold import fold
        from snn_codec.hardware.simulate import in_lava

        if self.backend == "integer":
            return self._in_integers(integers, _pieces(codec, runs))
        graded = runs if self.encoder else [integers.graded(run) for run in runs]
        floating = self.backend == "lava-float"
        layer, inputs = (fold(codec.bottleneck), runs) if floating else (integers, graded)
        steps = sum(run.shape[1] for run in runs)
        with progress.bar("Lava", steps, shown=self.shows_progress) as advance:
            return in_lava(
                layer, inputs, net=self.net, python=self.python, timeout=self.timeout, progress=advance
            )

    def _in_integers(self, integers: Any, pieces: Sequence[Any]) -> Iterator[Any]:
        """The spikes of each piece, with a bar."""
        done, steps = 0, sum(piece.shape[1] for piece in pieces)
        with progress.bar("integers", steps, shown=self.shows_progress) as advance:
            for piece in pieces:
                yield integers.spikes(piece if self.encoder else integers.graded(piece))
                done += piece.shape[1]
                advance(done)


def _pieces(codec: Any, runs: Sequence[Any]) -> list[Any]:
    """Runs of stateless neurons cut into some steps at a time: all membranes of an hour would be gigabytes."""
    from snn_codec.cells import blocks

    if not codec.bottleneck.stateless:
        return list(runs)
    units = codec.settings.units
    return [run[:, start:stop] for run in runs for start, stop in blocks(units, run.shape[1])]


def _report(codec: Any, integers: Any, runs: Sequence[Any], step_rate: float) -> list[str]:
    """What the network computes in a second of audio."""
    import numpy as np

    from snn_codec.hardware.encoder import FULL_SCALE, IntegerEncoder, encoder_operations
    from snn_codec.hardware.fold import decoder_matrix
    from snn_codec.hardware.operations import operations

    decoder, pieces = decoder_matrix(codec.bottleneck), _pieces(codec, runs)
    seconds = sum(run.shape[1] for run in runs) / step_rate  # with the margins of each chunk
    if isinstance(integers, IntegerEncoder):
        full = sum(np.count_nonzero(np.abs(each) == FULL_SCALE) for each in pieces) / runs[0].size
        counts = _summed(encoder_operations(integers, each, seconds, decoder) for each in pieces)
        return [f"audio: 16 bits, {100 * full:.4f} % at full scale", *_per_second(counts)]
    full_scale = np.reshape(integers.scale, (-1, 1)) * integers.largest_input
    clipped = np.mean([np.mean(np.abs(run) > full_scale) for run in runs])
    graded = (integers.graded(each) for each in pieces)
    counts = _summed(operations(integers, each, integers.spikes(each), seconds, decoder) for each in graded)
    return [
        f"graded input: {integers.input_bits} bits, {100 * clipped:.4f} % clipped",
        *_per_second(counts),
    ]


def _summed(counts: Iterable[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for each in counts:
        total = {name: total.get(name, 0.0) + count for name, count in each.items()}
    return total


def _per_second(counts: dict[str, float]) -> list[str]:
    lines = (f"  {name.replace('_', ' '):34} {count:12.0f}" for name, count in counts.items())
    return ["per second of audio, by the integers:", *lines]


def integers_of(codec: Any, net: Path | None = None, **settings: Any) -> Any:
    """The bottleneck in integers: quantised by these settings, or as a file of `export netx` has it.

    Raises:
        UserError: The file cannot be read, or is of another model.
    """
    from snn_codec.hardware import netx
    from snn_codec.hardware.features import full_scale
    from snn_codec.hardware.fold import fold
    from snn_codec.hardware.quantise import quantise

    if net is None:
        layer = fold(codec.bottleneck)
        return quantise(layer, full_scale(codec, layer), **settings)
    integers, fingerprint = netx.read(net)
    if fingerprint != codec.fingerprint:
        raise UserError(
            f"{net}: was exported from the model {fingerprint}, but --model is {codec.fingerprint}"
        )
    return integers


def encoded(
    codec: Any, path: Path, level: float | None = None, *, shown: bool = True
) -> tuple[Any, list[Any]]:
    """A recording's events, and the features that the bottleneck got."""
    from snn_codec.hardware.features import encode_with_features

    return _followed(encode_with_features, codec, path, level, shown)


def _followed(
    encode: Callable[..., Any], codec: Any, path: Path, level: float | None, shown: bool
) -> tuple[Any, Any]:
    """What `encode` makes of a recording, with a bar."""
    from snn_codec import audio

    length = audio.info(path)
    with progress.bar(path.name, length.samples / length.sample_rate, shown=shown) as advance:
        return encode(codec, audio.read_blocks(path), length.sample_rate, advance, level=level)
