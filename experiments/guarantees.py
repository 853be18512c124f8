"""What `encode --kbps` and `--min-si-snr` promise, kept or not, on a data set.

    python experiments/guarantees.py --data DIR [--model mu-sparse] [--kbps 0.5 1 2 3] [--min-si-snr 4 6 8] [--quick]

For each rate: how far the true bytes of each recording's bitstream are from it. For each quality: chunks below it that
were not named (there must be none), chunks that no level lifts, and the true rate.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from snn_codec import audio, corpus, rate_control
from snn_codec.cli import fatal
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.loading import load
from snn_codec.metrics import si_snr


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--split", help="as in snn-codec evaluate")
    parser.add_argument("--model", default="mu-sparse", help="a model with levels (mu-sparse)")
    parser.add_argument("--kbps", nargs="*", type=float, default=[0.5, 1, 2, 3])
    parser.add_argument("--min-si-snr", nargs="*", type=float, default=[4, 6, 8])
    parser.add_argument("--quick", action="store_true", help="one recording: a minute")
    options = parser.parse_args()
    try:
        codec = load(options.model)
        paths = corpus.paths(options.data, corpus.measured_split(options.data, options.split))[
            : 1 if options.quick else None
        ]
        for wanted in options.kbps:
            print(rates(codec, paths, wanted), flush=True)
        for wanted in options.min_si_snr:
            print(qualities(codec, paths, wanted), flush=True)
    except UserError as error:
        return fatal(error)
    return 0


def rates(codec: Codec, paths: list[Path], wanted: float) -> str:
    """One line of text about a rate in kbps."""
    off, missed = [], 0
    for path in paths:
        try:
            found = rate_control.at_rate(codec, *source(path), wanted).kbps
        except UserError:
            missed += 1
            continue
        off.append(abs(found / wanted - 1))
    worst = f"at most {max(off):.2%} off (mean {np.mean(off):.2%})" if off else "never met"
    return f"{wanted:g} kbps: {worst}, {missed} of {len(paths)} recordings cannot have it"


def qualities(codec: Codec, paths: list[Path], wanted: float) -> str:
    """One line of text about a quality in dB."""
    chunks = unreached = broken = 0
    spent, seconds = 0.0, 0.0
    for path in paths:
        blocks, rate = source(path)
        found = rate_control.at_quality(codec, blocks, rate, wanted)
        events, named = found.events, set(found.unreached)
        measured = list(written(codec, events, blocks(), rate))
        broken += sum(value < wanted for n, value in enumerate(measured) if n not in named)
        chunks, unreached = chunks + len(measured), unreached + len(named)
        spent += rate_control.kbps(codec, events) * events.duration
        seconds += events.duration
    return (
        f"{wanted:g} dB: {broken} of {chunks} chunks below it unnamed, {unreached} ({unreached / chunks:.1%}) "
        f"named as out of reach; {spent / seconds:.3f} kbps"
    )


def source(path: Path) -> tuple[partial, int]:
    """A recording that can be read again and again, and its rate."""
    return partial(audio.read_blocks, path), audio.info(path).sample_rate


def written(codec: Codec, events, blocks, rate: int) -> Iterator[float]:
    """SI-SNR of each chunk of a decoded file, measured here and not by what made the promise."""
    sound = np.concatenate(list(audio.resampled(blocks, rate, events.sample_rate)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "decoded.wav"
        audio.write(file, codec.decode_blocks(events), events.sample_rate)
        back, _ = audio.read(file)
    size = events.chunk_steps * events.hop
    for start in range(0, len(sound), size):
        yield si_snr(back[start : start + size], sound[start : start + size])


if __name__ == "__main__":
    raise SystemExit(main())
