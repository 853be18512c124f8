"""`snn-codec decode`."""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_codec import progress
from snn_codec.cli import batch
from snn_codec.cli.common import (
    MAKER,
    Output,
    add_device,
    add_force,
    add_json,
    add_model,
    add_parallelism,
    maker,
)
from snn_codec.pipes import PIPE

HELP = "Turn events into sound (16 bit, 22 050 Hz, mono)."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="EVENTS", help="event files or folders of them; - for stdin"
    )
    parser.add_argument(
        "-o", "--output", type=Output.of,
        help="file, - for WAV on stdout, or a folder (made for several inputs, or if a slash ends its name; default: "
        "beside each event file)",
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
        help="which of the checkpoint's decoders: plain, filling, gan, flow or diffusion (default plain)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=int, default=0,
        help="sampler steps of a flow or diffusion decoder (default 0: as many as it was trained for)",
    )  # fmt: skip
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the noise of a filling, flow or diffusion decoder (default 0)",
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


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    began = time.perf_counter() - time.process_time()  # what ran until here was the start of the program
    from snn_codec import checkpoints
    from snn_codec.storage import event_files

    if options.model is not None:
        checkpoints.find(options.model)
    output, is_folder = options.output or (None, False)
    files = batch.Batch(
        options.inputs, output, event_files.SUFFIXES, ".wav", is_folder,
        device=options.device, workers=options.workers, devices=options.devices, nodes=options.nodes,
        as_json=options.json,
    )  # fmt: skip
    decoding = _Decoding(
        options.model, options.decoder, options.steps, options.seed, options.guidance, options.recording,
        options.salvage, options.force, files.alone,
    )  # fmt: skip
    return batch.run(files, decoding, began)


@dataclass(frozen=True)
class _Decoding:
    """How each event file is decoded; see `batch.Work`."""

    name: str | None
    decoder: str
    sampler_steps: int
    seed: int
    guidance: float
    recording: str | None
    salvage: bool
    force: bool
    shows_progress: bool

    def model(self, file: Path) -> str:
        return self.name or maker(file, self.recording)

    def check(self, job: batch.Job) -> None:
        from snn_codec import audio
        from snn_codec.checkpoints import PLAIN, Checkpoint

        if job.target != PIPE:
            audio.check_format(job.target)
        if self.decoder != PLAIN:
            Checkpoint.find(job.model).decoder_name(self.decoder)

    def load(self, model: str, device: str) -> Any:
        from snn_codec.decoders import Sampling
        from snn_codec.loading import load

        sampling = Sampling(self.sampler_steps, self.seed, self.guidance)
        return load(model, device, decoder=self.decoder, sampling=sampling)

    def __call__(self, codec: Any, job: batch.Job) -> dict[str, Any]:
        from snn_codec import audio

        with progress.bar(f"{job.name}: reading", None, shown=self.shows_progress):
            events, damages = self._read(codec, job.file)

        def blocks() -> Iterator[Any]:
            done = 0
            with progress.bar(job.name, events.duration, shown=self.shows_progress) as advance:
                for block in codec.decode_blocks(events):
                    yield block
                    done += len(block)
                    advance(done / events.sample_rate)

        if job.target == PIPE:
            clipped = audio.write_stream(sys.stdout.buffer, blocks(), events.sample_rate, events.n_samples)
        else:
            clipped = audio.write(job.target, blocks(), events.sample_rate, force=self.force)
        for damage in damages:
            warnings.warn(f"{job.file}: {damage}", stacklevel=2)
        return {
            "seconds": events.duration,
            "clipped_samples": clipped,
            "damaged_chunks": [damage.chunk for damage in damages if math.isfinite(damage.stop)],
            "cut_off_at_seconds": next((d.start for d in damages if math.isinf(d.stop)), None),
        }

    def _read(self, codec: Any, file: Path) -> tuple[Any, list[Any]]:
        """The events of a file, and what is damaged of them."""
        from snn_codec.storage import event_files, spk

        if self.salvage and self.recording is None and event_files.is_bitstream(file):
            return spk.salvaged(file, entropy_model=codec.entropy_model)
        return event_files.read(file, self.recording, entropy_model=codec.entropy_model), []
