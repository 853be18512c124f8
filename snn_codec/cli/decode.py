"""`snn-codec decode`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from snn_codec import progress
from snn_codec.cli import batch
from snn_codec.cli.common import (
    MAKER,
    PIPE,
    add_device,
    add_force,
    add_json,
    add_model,
    add_parallelism,
    maker,
)
from snn_codec.errors import UserError
from snn_codec.files import check_writable

HELP = "Turn events into sound (16 bit, 22 050 Hz, mono)."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="EVENTS", help="event files or folders of them; - for stdin"
    )
    parser.add_argument(
        "-o", "--output", type=Path,
        help="file, or a folder for several inputs (default: beside each event file)",
    )  # fmt: skip
    add_model(parser, None, MAKER)
    add_device(parser)
    add_parallelism(parser)
    add_force(parser)
    add_json(parser)
    parser.add_argument(
        "--recording", metavar="NAME", help="which recording of an .h5 file that holds several"
    )
    parser.add_argument(
        "--decoder", default="plain",
        help="which of the checkpoint's decoders: plain, gan, flow or diffusion (default plain)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=int, default=0,
        help="sampler steps of a flow or diffusion decoder (default 0: as many as it was trained for)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the noise of a flow or diffusion decoder (default 0)"
    )
    parser.add_argument(
        "--guidance", type=float, default=1.0,
        help="guidance scale of a flow or diffusion decoder; 1 turns guidance off (default 1)",
    )  # fmt: skip
    parser.add_argument(
        "--salvage",
        action="store_true",
        help="decode what is left of a damaged bitstream, silence for the rest",
    )


@dataclass(frozen=True)
class _Reading:
    """How each event file is read, and its sound written."""

    recording: str | None
    salvage: bool
    force: bool
    shows_progress: bool


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec.storage import event_files

    model = options.model or maker(options.inputs)
    files = batch.Batch(
        options.inputs, options.output, event_files.SUFFIXES, ".wav",
        device=options.device, workers=options.workers, devices=options.devices, nodes=options.nodes,
        as_json=options.json,
    )  # fmt: skip
    reading = _Reading(options.recording, options.salvage, options.force, files.alone)
    sampling = (options.steps, options.seed, options.guidance)
    return batch.run(files, partial(_load, model, options.decoder, sampling), partial(_decode, reading))


def _load(model: str, decoder: str, sampling: tuple[int, int, float], device: str) -> Any:
    from snn_codec.decoders import Sampling
    from snn_codec.loading import load

    return load(model, device, decoder=decoder, sampling=Sampling(*sampling))


def _decode(reading: _Reading, codec: Any, source: Path, target: Path) -> dict[str, Any]:
    from snn_codec import audio

    check_writable(target, force=reading.force)
    events, damages = _read(reading, codec, source)

    def blocks() -> Iterator[Any]:
        done = 0
        with progress.bar(source.name, events.duration, shown=reading.shows_progress) as advance:
            for block in codec.decode_blocks(events):
                yield block
                done += len(block)
                advance(done / events.sample_rate)

    try:
        clipped = audio.write(target, blocks(), events.sample_rate, force=reading.force)
    except UserError as error:
        raise UserError(str(error) if str(target) in str(error) else f"{source}: {error}") from error
    for damage in damages:
        print(f"snn-codec: {source}: {damage} and is silent", file=sys.stderr)
    return {
        "seconds": events.duration,
        "clipped_samples": clipped,
        "damaged_chunks": [damage.chunk for damage in damages],
    }


def _read(reading: _Reading, codec: Any, source: Path) -> tuple[Any, list[Any]]:
    """The events of a file, and what is damaged of them."""
    from snn_codec.storage import event_files, spk

    if source == PIPE:
        return spk.read(sys.stdin.buffer, entropy_model=codec.entropy_model), []
    if reading.salvage and event_files.is_bitstream(source):
        return spk.salvaged(source, entropy_model=codec.entropy_model)
    return event_files.read(source, reading.recording, entropy_model=codec.entropy_model), []
