"""Speed on one core beside EnCodec 24 kHz, then time and memory of recordings of hours.

python experiments/speed_benchmark.py [--quick] [--model free] [--seconds 60] [--bandwidth 3]

Speed is in times real time: seconds of audio over seconds of work, the best of several rounds in which the
codecs take turns. Audio is the shipped recording, repeated to `--seconds`. EnCodec is
`transformers.EncodecModel(EncodecConfig())` with random weights (speed does not depend on them), given the same
audio resampled beforehand to 24 kHz, in pieces as long as our chunks: the whole in one call takes it about
twice the time. It needs `pip install transformers`, which nothing else here does; without it, only our own
figures come.

The recordings of 0.5, 1 and 3 hours (the shipped one, repeated) go through the command line, each command in a
process of its own. Its time is the command's own figure, without starting Python; its memory is the process's
peak resident set. This takes about 1 GB of temporary disk space, and Linux or macOS. `--quick` takes about a
minute, with recordings too short to say much about memory.

All runs with one thread; on Linux, everything is held on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from snn_codec import audio
from snn_codec.cli import fatal
from snn_codec.errors import UserError

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"
HOURS, QUICK_HOURS = (0.5, 1, 3), (1 / 30, 1 / 15, 1 / 5)
BUSY = 1.1  # wall-clock over processor time


class Coder(NamedTuple):
    """A codec to be timed: audio of its own kind to a code, and the code to audio."""

    name: str
    encode: Callable[[], Any]
    decode: Callable[[Any], Any]


class Times(NamedTuple):
    """Seconds of work, the best round of each."""

    encode: float
    decode: float
    both: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="free", help="a shipped model or a checkpoint folder (free)")
    parser.add_argument("--seconds", type=float, default=60, help="of audio in the comparison (60)")
    parser.add_argument(
        "--bandwidth", type=float, default=3, choices=[1.5, 3, 6, 12, 24], help="EnCodec's, in kbps (3)"
    )
    parser.add_argument("--quick", action="store_true", help="20 s, and recordings of minutes for hours")
    parser.add_argument(
        "--hours", type=float, nargs="+", help="lengths of the recordings (0.5 1 3, or minutes if --quick)"
    )
    options = parser.parse_args()
    if not 1 <= options.seconds <= 3600:
        parser.error(f"--seconds must be 1 to 3600, not {options.seconds}")
    seconds = min(20, options.seconds) if options.quick else options.seconds
    hold_on_one_core()
    try:
        # in a process of its own: a process's peak memory counts what its parent held when starting it
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            arguments = options.model, seconds, options.bandwidth, 2 if options.quick else 4
            pool.submit(report_speed, *arguments).result()
        report_length(options.model, tuple(options.hours or (QUICK_HOURS if options.quick else HOURS)))
    except UserError as error:
        return fatal(error)
    return 0


def hold_on_one_core() -> None:
    """Let this process and those that it starts use one thread, and one core where the system allows it."""
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def report_speed(model: str, seconds: float, bandwidth: float, rounds: int) -> None:
    """Time our codec and EnCodec on the same audio and print the table.

    Raises:
        UserError: No such model.
    """
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    sound, rate = audio.read(RECORDING)
    sound = np.resize(sound, round(seconds * rate))
    coders = [our_codec(model, sound, rate)]
    try:
        coders.append(encodec(bandwidth, sound, rate))
    except ImportError:
        print("EnCodec is left out: the package transformers is missing (pip install transformers).\n")
    wall, processor = time.perf_counter(), time.process_time()
    times = best_times(coders, rounds)
    busy = (time.perf_counter() - wall) / (time.process_time() - processor)

    print(f"{seconds:g} s of {RECORDING.name}, one thread, torch {torch.__version__}, best of {rounds}:")
    print(f"{'times real time':32}{'encode':>10}{'decode':>10}{'both':>10}")
    for coder, row in zip(coders, times, strict=True):
        print(f"{coder.name:32}" + "".join(f"{seconds / value:10.1f}" for value in row))
    if len(times) == 2:
        ours, theirs = times
        ratios = (b / a for a, b in zip(ours, theirs, strict=True))
        print(f"{'ours over EnCodec':32}" + "".join(f"{ratio:10.1f}" for ratio in ratios))
    if busy > BUSY:
        print(f"The core was shared: wall-clock was {busy:.2f} times processor time, so speeds are too low.")
    sys.stdout.flush()


def our_codec(model: str, sound: np.ndarray, rate: int) -> Coder:
    """The shipped codec, or a checkpoint, ready to code `sound`."""
    from snn_codec.codec import Codec

    codec = Codec.load(model)
    return Coder(f"snn_codec, {Path(model).name}", lambda: codec.encode(sound, rate), codec.decode)


def encodec(bandwidth: float, sound: np.ndarray, rate: int) -> Coder:
    """EnCodec 24 kHz with random weights and codebooks, ready to code `sound`.

    Raises:
        ImportError: transformers is not installed.
    """
    import soxr
    import torch
    from transformers import EncodecConfig, EncodecModel

    from snn_codec.events import CHUNK_STEPS

    torch.manual_seed(0)
    settings = EncodecConfig()
    network = EncodecModel(settings).eval()
    for name, buffer in network.named_buffers():
        if name.endswith("codebook.embed"):
            buffer.normal_()  # all zeros otherwise, which would decode to one constant
    resampled = torch.from_numpy(soxr.resample(sound, rate, settings.sampling_rate))
    pieces = resampled[None, None].split(round(CHUNK_STEPS * 512 / 22050 * settings.sampling_rate), -1)

    @torch.inference_mode()
    def encode() -> list[Any]:
        return [network.encode(piece, bandwidth=bandwidth) for piece in pieces]

    @torch.inference_mode()
    def decode(code: list[Any]) -> np.ndarray:
        decoded = [network.decode(piece.audio_codes, piece.audio_scales).audio_values for piece in code]
        return torch.cat(decoded, -1).numpy()

    return Coder(f"EnCodec 24 kHz, {bandwidth:g} kbps", encode, decode)


def best_times(coders: list[Coder], rounds: int) -> list[Times]:
    """Each coder's shortest times of `rounds`, after one round to warm up; the coders take turns."""
    taken: list[list[Times]] = [[] for _ in coders]
    for _ in range(rounds + 1):
        for coder, rows in zip(coders, taken, strict=True):
            began = time.perf_counter()
            code = coder.encode()
            encoded = time.perf_counter()
            coder.decode(code)
            finished = time.perf_counter()
            rows.append(Times(encoded - began, finished - encoded, finished - began))
    return [Times(*(min(column) for column in zip(*rows[1:], strict=True))) for rows in taken]


def report_length(model: str, hours: tuple[float, ...]) -> None:
    """Encode and decode long recordings with the command line; print time and peak memory of each.

    Raises:
        UserError: A command failed.
    """
    print("\nLong recordings through snn-codec encode and snn-codec decode:")
    print(f"{'':12}{'encode':>10}{'decode':>10}{'times real':>12}{'peak memory, MiB':>22}")
    print(f"{'length':12}{'s':>10}{'s':>10}{'time, both':>12}{'encode':>11}{'decode':>11}")
    per_hour = []
    for length in hours:
        with tempfile.TemporaryDirectory() as folder:
            sound, events, decoded = (Path(folder) / name for name in ("in.wav", "events.spk", "out.wav"))
            rate = audio.info(RECORDING).sample_rate
            audio.write(sound, repeated(round(length * 3600 * rate)), rate)
            encoding, encoding_peak = command("encode", sound, "-o", events, "--model", model)
            decoding, decoding_peak = command("decode", events, "-o", decoded, "--model", model)
        name = f"{length:g} h" if length >= 0.5 else f"{length * 60:g} min"
        per_hour.append((encoding + decoding) / length)
        print(
            f"{name:12}{encoding:10.1f}{decoding:10.1f}{3600 / per_hour[-1]:12.1f}"
            f"{encoding_peak / 2**20:11.0f}{decoding_peak / 2**20:11.0f}",
            flush=True,
        )
    print(
        f"An hour of the longest takes {per_hour[-1] / per_hour[0]:.2f} times as long as one of the shortest."
    )


def repeated(samples: int) -> Iterator[np.ndarray]:
    """The shipped recording again and again, `samples` in all."""
    sound, _ = audio.read(RECORDING)
    while samples > 0:
        yield sound[:samples]
        samples -= len(sound)


def command(*arguments: str | Path) -> tuple[float, int]:
    """Run snn-codec in a process of its own: the seconds it says it took, and its peak resident bytes.

    Raises:
        UserError: It failed; it has said why on stderr.
    """
    line = [sys.executable, "-m", "snn_codec.cli", *map(str, arguments), "--json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(
            f"snn-codec {arguments[0]} ended with status {process.returncode}; its message is above"
        )
    (row,) = json.loads(printed)["files"]
    return row["took"], usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    raise SystemExit(main())
