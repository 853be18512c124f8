"""`snn-codec encode`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from snn_codec import checkpoints, progress
from snn_codec.cli import batch
from snn_codec.cli.common import (
    PIPE,
    add_device,
    add_force,
    add_json,
    add_model,
    add_parallelism,
    event_kind,
)
from snn_codec.files import check_writable

HELP = "Turn recordings into events."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("inputs", nargs="+", type=Path, metavar="RECORDING", help="files, or folders of them")
    parser.add_argument(
        "-o", "--output", type=Path,
        help=".spk or .h5 file, - for a bitstream on stdout, or a folder for several inputs "
        "(default: beside each recording)",
    )  # fmt: skip
    add_model(parser, None, "default free; mu-sparse with --level, --kbps or --min-si-snr")
    add_device(parser)
    add_parallelism(parser)
    add_force(parser)
    add_json(parser)
    parser.add_argument(
        "--format", choices=("spk", "h5"),
        help="bitstream or HDF5 spike trains (default: by the suffix of OUTPUT, else spk)",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=1, help="chunks computed at once (default 1)")
    parser.add_argument(
        "--search", type=int, default=0, metavar="STEPS",
        help="optimiser steps per chunk to search for better events, e.g. 20 (default 0: off)",
    )  # fmt: skip
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "--level", type=float,
        help="sparsity level, 0 (most events) to 31, in eighths (mu-sparse only; default: a quarter of the way up)",
    )  # fmt: skip
    amount.add_argument("--kbps", type=float, help="rate of the file, met within 5 %% (mu-sparse only)")
    amount.add_argument(
        "--min-si-snr", type=float, metavar="DB",
        help="the fewest bytes with at least this SI-SNR in every chunk (mu-sparse only)",
    )  # fmt: skip


@dataclass(frozen=True)
class _Coding:
    """How each recording is encoded."""

    kind: str
    batch_size: int
    search: int
    level: float | None
    kbps: float | None
    min_si_snr: float | None
    force: bool
    shows_progress: bool


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec import audio

    kind = options.format or (event_kind(options.output) if options.output else "spk")
    prompted = (options.level, options.kbps, options.min_si_snr) != (None, None, None)
    model = options.model or ("mu-sparse" if prompted else checkpoints.DEFAULT)
    files = batch.Batch(
        options.inputs, options.output, audio.SUFFIXES, f".{kind}",
        device=options.device, workers=options.workers, devices=options.devices, nodes=options.nodes,
        as_json=options.json,
    )  # fmt: skip
    coding = _Coding(
        kind, options.batch_size, options.search, options.level, options.kbps, options.min_si_snr,
        options.force, files.alone,
    )  # fmt: skip
    return batch.run(files, partial(_load, model), partial(_encode, coding))


def _load(model: str, device: str) -> Any:
    from snn_codec.loading import load

    return load(model, device)


def _encode(coding: _Coding, codec: Any, source: Path, target: Path) -> dict[str, Any]:
    from snn_codec.storage import event_files

    if target != PIPE:
        check_writable(target, force=coding.force)
    events, unreached = _events(coding, codec, source)
    for chunk in unreached:
        times = (n * events.chunk_steps * events.hop / events.sample_rate for n in (chunk, chunk + 1))
        print(
            "snn-codec: {}: no level has {:g} dB in chunk {} ({:.2f} s to {:.2f} s)".format(
                source, coding.min_si_snr, chunk, *times
            ),
            file=sys.stderr,
        )
    result = {"seconds": events.duration, "events": events.n_events}
    result |= {"events_per_second": events.events_per_second, "density": events.density}
    if coding.min_si_snr is not None:
        result["chunks_below"] = unreached
    if target == PIPE:
        n_bytes = _to_pipe(events, codec.entropy_model)
    else:
        event_files.write(
            target,
            coding.kind,
            [(source.name, events)],
            entropy_model=codec.entropy_model,
            force=coding.force,
        )
        n_bytes = target.stat().st_size
    return result | {"file_bytes": n_bytes, "kbps": events.kbps(n_bytes)}


def _events(coding: _Coding, codec: Any, source: Path) -> tuple[Any, list[int]]:
    """The events of a recording, and the chunks that no level brought to the quality that was asked for."""
    from snn_codec import audio
    from snn_codec.rate_control import at_quality, at_rate

    length = audio.info(source)
    rate = length.sample_rate
    total = 1 if coding.kbps is not None else length.samples / rate
    blocks = partial(audio.read_blocks, source)
    how = {"batch_size": coding.batch_size, "search": coding.search}
    with progress.bar(source.name, total, shown=coding.shows_progress) as advance:
        if coding.kbps is not None:
            return at_rate(codec, blocks, rate, coding.kbps, **how, progress=advance).events, []
        if coding.min_si_snr is not None:
            events, _, unreached = at_quality(
                codec, blocks, rate, coding.min_si_snr, search=coding.search, progress=advance
            )
            return events, unreached
        return codec.encode_blocks(blocks(), rate, level=coding.level, **how, progress=advance), []


def _to_pipe(events: Any, entropy_model: Any) -> int:
    """Write a bitstream to stdout; how many bytes it has."""
    from snn_codec.storage import spk

    class Counted:
        size = 0
        name = "stdout"

        def write(self, data: bytes) -> None:
            sys.stdout.buffer.write(data)
            self.size += len(data)

        def flush(self) -> None:
            sys.stdout.buffer.flush()

    counted = Counted()
    spk.write(counted, events, entropy_model=entropy_model)
    return counted.size
