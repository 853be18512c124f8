"""`snn-codec encode`."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from snn_codec import progress
from snn_codec.cli import batch
from snn_codec.cli.common import (
    Output,
    add_device,
    add_force,
    add_json,
    add_model,
    add_parallelism,
    check_level,
    event_kind,
)
from snn_codec.errors import UserError
from snn_codec.pipes import PIPE, is_pipe

HELP = "Turn recordings into events."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="RECORDING",
        help="audio files or folders of them; - for stdin",
    )
    parser.add_argument(
        "-o", "--output", type=Output.of,
        help=".spk or .h5 file, - for a bitstream on stdout, or a folder (made for several inputs, or if a slash ends "
        "its name; default: beside each recording)",
    )  # fmt: skip
    add_model(parser, None, "default free; mu-sparse with --level, --kbps or --min-si-snr")
    add_device(parser)
    add_parallelism(parser)
    add_force(parser)
    add_json(parser)
    parser.add_argument(
        "--format", choices=("spk", "h5"),
        help="bitstream or HDF5 spike trains, as the suffix of OUTPUT if it has one (default: by that, else spk)",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=1, help="chunks computed at once (default 1)")
    parser.add_argument(
        "--search", type=int, default=0, metavar="STEPS",
        help="steps per chunk of a search for better events, e.g. 20, or 1 with wide (default 0: off)",
    )  # fmt: skip
    parser.add_argument(
        "--channel", choices=("mix", "left", "right"), default="mix",
        help="which channel of a stereo recording to encode: their mean or one of them (default mix)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-incomplete", action="store_true",
        help="encode a truncated or damaged recording up to the damage (default: refuse it)",
    )  # fmt: skip
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "--level", type=float,
        help="sparsity level, 0 (most events) to 31, in eighths (wide or mu-sparse; default: a quarter of the way up)",
    )  # fmt: skip
    amount.add_argument("--kbps", type=float, help="rate of the file, met within 5 %% (wide or mu-sparse)")
    amount.add_argument(
        "--min-si-snr", type=float, metavar="DB",
        help="the fewest bytes with at least this SI-SNR in every chunk, decoded by plain (wide or mu-sparse)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    began = time.perf_counter() - time.process_time()  # what ran until here was the start of the program
    from snn_codec import audio, checkpoints

    several = len(options.inputs) > 1 or options.inputs[0].is_dir()
    output, is_folder = options.output or (None, False)
    kind = options.format or "spk"
    if output is not None and not several and not is_folder:
        kind = event_kind(output, options.format)
    prompted = (options.level, options.kbps, options.min_si_snr) != (None, None, None)
    name = options.model or ("mu-sparse" if prompted else checkpoints.DEFAULT)
    checkpoints.find(name)
    if prompted:
        check_level(name, options.level)
    files = batch.Batch(
        options.inputs, output, audio.SUFFIXES, f".{kind}", is_folder,
        device=options.device, workers=options.workers, devices=options.devices, nodes=options.nodes,
        as_json=options.json,
    )  # fmt: skip
    encoding = _Encoding(
        name, kind, options.batch_size, options.search, options.level, options.kbps, options.min_si_snr,
        options.channel, options.allow_incomplete, options.force, files.alone,
    )  # fmt: skip
    return batch.run(files, encoding, began)


@dataclass(frozen=True)
class _Encoding:
    """How each recording is encoded; see `batch.Work`."""

    name: str
    kind: str
    batch_size: int
    search: int
    level: float | None
    kbps: float | None
    min_si_snr: float | None
    channel: str
    incomplete_ok: bool
    force: bool
    shows_progress: bool

    def model(self, file: Path) -> str:
        return self.name

    def check(self, job: batch.Job) -> None:
        from snn_codec import audio

        try:
            audio.info(job.file, incomplete_ok=self.incomplete_ok)
        except audio.Incomplete as error:
            raise _with_option(error) from error

    def load(self, model: str, device: str) -> Any:
        from snn_codec.loading import load

        return load(model, device)

    def __call__(self, codec: Any, job: batch.Job) -> dict[str, Any]:
        from snn_codec import audio

        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                events, unreached = self._events(codec, job)
        except audio.Incomplete as error:
            raise _with_option(error) from error
        for warning in caught:
            option = " (--channel)" if warning.category is audio.ChannelsCancelWarning else ""
            warnings.warn(f"{warning.message}{option}", warning.category, stacklevel=2)
        for chunk in unreached:
            length = events.chunk_steps * events.hop / events.sample_rate
            start, stop = chunk * length, min((chunk + 1) * length, events.duration)
            warnings.warn(
                f"{job.file}: no level has {self.min_si_snr:g} dB in chunk {chunk} ({start:.2f} s to {stop:.2f} s)",
                stacklevel=2,
            )
        found = {"seconds": events.duration, "events": events.n_events}
        found |= {"events_per_second": events.events_per_second, "density": events.density}
        if self.min_si_snr is not None:
            found["chunks_below"] = unreached
        with progress.bar(f"{job.name}: writing", None, shown=self.shows_progress):
            n_bytes = self._write(events, job, codec.entropy_model)
        if n_bytes is None:
            return found
        rate = {"kbps": events.kbps(n_bytes)} if self.kind == "spk" else {}  # HDF5 costs kilobytes a file
        return found | {"file_bytes": n_bytes} | rate

    def _events(self, codec: Any, job: batch.Job) -> tuple[Any, list[int]]:
        """The events of a recording, and the chunks that no level brought to the quality that was asked for."""
        from snn_codec import audio
        from snn_codec.rate_control import at_quality, at_rate

        length = audio.info(job.file, incomplete_ok=self.incomplete_ok)
        rate = length.sample_rate
        total = 1 if self.kbps is not None else length.samples / rate
        blocks = partial(audio.read_blocks, job.file, channel=self.channel, incomplete_ok=self.incomplete_ok)
        how = {"batch_size": self.batch_size, "search": self.search}
        with progress.bar(job.name, total, shown=self.shows_progress) as advance:
            if self.kbps is not None:
                return at_rate(codec, blocks, rate, self.kbps, **how, progress=advance).events, []
            if self.min_si_snr is not None:
                events, _, unreached = at_quality(
                    codec, blocks, rate, self.min_si_snr, search=self.search, progress=advance
                )
                return events, unreached
            return codec.encode_blocks(blocks(), rate, level=self.level, **how, progress=advance), []

    def _write(self, events: Any, job: batch.Job, entropy_model: Any) -> int | None:
        """Write the events; how many bytes they are, which a pipe or a device does not tell."""
        from snn_codec.storage import event_files

        if job.target == PIPE:
            return _to_stdout(events, entropy_model)
        event_files.write(
            job.target, self.kind, [(job.name, events)], entropy_model=entropy_model, force=self.force
        )
        return None if is_pipe(job.target) else job.target.stat().st_size


def _with_option(error: UserError) -> UserError:
    return UserError(f"{error}, or give --allow-incomplete")


def _to_stdout(events: Any, entropy_model: Any) -> int:
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

    counted: Any = Counted()
    spk.write(counted, events, entropy_model=entropy_model)
    return counted.size
