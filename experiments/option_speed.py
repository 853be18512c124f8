"""Speed and algorithmic latency of every model, option and decoder, on one core.

    python experiments/option_speed.py [RECORDING] [--seconds 18] [--rounds 2] [--model free wide ...]

Speed is seconds of audio over seconds of processor time (user and system) of one thread, the best of several
runs; loading the model and reading files are not counted.

Latency is how far the work lags behind its input, whatever the speed. Encoding: audio that has been read when a chunk
of events is ready, from the chunk's first sample on. Decoding: the same from audio to audio, which adds the events
that a chunk of sound waits for; found by changing events and looking at the sound.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from snn_codec import Codec, EventMatrix, UserError, checkpoints, read_audio
from snn_codec.cli import fatal

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"
SEARCH = 20
KBPS = {"mu-sparse": 1.0, "wide": 1.0}
MIN_SI_SNR = {"mu-sparse": 6.0, "wide": 12.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recording", nargs="?", type=Path, default=RECORDING)
    parser.add_argument(
        "--seconds", type=float, default=18, help="of the recording, three chunks or more (18)"
    )
    parser.add_argument("--rounds", type=int, default=2, help="the best of so many counts (2)")
    parser.add_argument(
        "--model", nargs="+", default=checkpoints.names(), help="shipped models or checkpoint folders (all)"
    )
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        sound, rate = read_audio(options.recording)
        sound = np.resize(sound, round(options.seconds * rate))
        print("| model, option | x real time | latency |\n|---|---|---|")
        for model in options.model:
            report(model, sound, rate, options.rounds)
    except UserError as error:
        return fatal(error)
    return 0


def report(model: str, sound: np.ndarray, rate: int, rounds: int) -> None:
    """Print the rows of a model: of its ways to encode, then of its decoders."""
    codec, name = Codec.load(model), Path(model).name
    duration = len(sound) / rate
    for option, encode in ways_to_encode(codec, name):
        runs = [timed_encoding(encode, sound, rate) for _ in range(rounds)]
        print_row(f"`{name}`, encode{option}", duration / min(took for took, _ in runs), runs[0][1])
    events = codec.encode(sound, rate)
    for decoder in codec.decoders:
        codec = Codec.load(model, decoder=decoder)
        took = min(timed(partial(codec.decode, events)) for _ in range(rounds))
        latency = (
            (2 + chunks_waited_for(codec, events)) * events.chunk_steps * events.hop / events.sample_rate
        )
        print_row(f"`{name}`, decode, `{decoder}`", duration / took, latency)


def ways_to_encode(codec: Codec, name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Options of `encode`, and what takes a recording's blocks and rate (and `progress`) by each."""
    from snn_codec.rate_control import at_quality, at_rate

    def plainly(blocks: Callable, rate: int, **options: Any) -> Any:
        return codec.encode_blocks(blocks(), rate, **options)

    yield "", plainly
    by_gradients = hasattr(codec.bottleneck, "search_step")
    search = SEARCH if by_gradients else 1  # a thermometer's needs no more
    if by_gradients or codec.entropy_model:
        yield f" `--search {search}`", partial(plainly, search=search)
    if codec.settings.levels:
        yield " `--level 12`", partial(plainly, level=12)
        kbps, quality = KBPS.get(name, 1.0), MIN_SI_SNR.get(name, 6.0)
        yield f" `--kbps {kbps:g}`", lambda blocks, rate, **_: at_rate(codec, blocks, rate, kbps)
        yield (
            f" `--min-si-snr {quality:g}`",
            lambda blocks, rate, **_: at_quality(codec, blocks, rate, quality),
        )


def blocks_of(sound: np.ndarray, rate: int) -> Iterator[np.ndarray]:
    """The recording in blocks of 5 ms."""
    return iter(np.array_split(sound, max(1, round(len(sound) / rate * 200))))


def timed(work: Callable[[], Any]) -> float:
    """Processor time of a run, in seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def timed_encoding(encode: Callable[..., Any], sound: np.ndarray, rate: int) -> tuple[float, float | None]:
    """Processor time, and seconds of audio read when the first chunk of events is ready; None if that is all of it."""
    read, ready = 0, []

    def blocks() -> Iterator[np.ndarray]:
        nonlocal read
        for block in blocks_of(sound, rate):
            read += len(block)
            yield block

    took = timed(lambda: encode(blocks, rate, progress=lambda seconds: ready.append(read / rate)))
    return took, ready[0] if ready else None


def chunks_waited_for(codec: Codec, events: EventMatrix) -> int:
    """How many chunks of events after its own the first chunk of sound depends on."""
    whole = next(codec.decode_blocks(events))
    for after in range(events.n_chunks):
        matrix, loudness = events.events.copy(), events.loudness.copy()
        matrix[:, (after + 1) * events.chunk_steps :] = False
        loudness[after + 1 :] = 0
        if np.array_equal(
            whole, next(codec.decode_blocks(EventMatrix(matrix, **events.metadata | {"loudness": loudness})))
        ):
            return after
    raise AssertionError("a chunk depends on all that comes after it")


def print_row(what: str, speed: float, latency: float | None) -> None:
    waits = "the recording" if latency is None else f"{1000 * latency:.0f} ms"
    print(f"| {what} | {speed:.{1 if speed < 10 else 0}f} | {waits} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
