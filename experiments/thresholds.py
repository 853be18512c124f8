"""Whether the thresholds of a thermometer are where they should be: SI-SNR at equal bytes with each of them moved.

    python experiments/thresholds.py DATA [--model wide] [--levels 4 14] [--clips 24]

The first threshold, all others together, and the scales of bands of bins are moved, one at a time; read-out,
refinement and entropy model stay. SI-SNR is compared at equal bytes with the levels around, along a parabola through
three of them, clip by clip, with intervals over recordings.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from snn_codec import corpus
from snn_codec.cli import fatal
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.evaluation.coders import ModelCoder
from snn_codec.loading import load
from snn_codec.metrics import si_snr
from snn_codec.named import Named
from snn_codec.progress import bar
from snn_codec.stats import between, bootstrap

FIRST = (-0.06, -0.03, 0.03)  # what is added to the first threshold, in steps of the quantiser
OTHERS = (-0.03, 0.03)
SCALES = (0.85, 1.18)
EDGES = (0, 24, 64, 128, 256)  # bins where bands begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of recordings")
    parser.add_argument("--model", default="wide", help="a model of a thermometer (wide)")
    parser.add_argument("--levels", type=int, nargs="+", default=[4, 14], help="(4 14)")
    parser.add_argument("--split", help="as in snn-codec evaluate")
    parser.add_argument("--clips", type=int, default=24, help="from all recordings (24)")
    options = parser.parse_args()
    try:
        paths = corpus.paths(options.data, corpus.measured_split(options.data, options.split))
        codec = load(options.model)
        if not hasattr(codec.bottleneck, "increments"):
            raise UserError(f"{options.model}: has no thermometer; name a model such as wide")
        print(
            "| moved | " + " | ".join(f"level {level}, dB at equal bytes" for level in options.levels) + " |"
        )
        print("|---" * (1 + len(options.levels)) + "|")
        columns = [gains(codec, paths, level, options.clips) for level in options.levels]
    except UserError as error:
        return fatal(error)
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
    return 0


def gains(codec: Codec, paths: list[Path], level: int, clips: int) -> dict[str, str]:
    """What each move brings at a level, with its interval."""
    each = -(-clips // len(paths))
    coder = ModelCoder(codec, Named(codec.fingerprint, level=level))
    sounds = [
        (path.name, clip)
        for path in paths
        for clip in corpus.clips([path], coder.length, coder.sample_rate, each=each)
        if clip.any()
    ]
    names = [name for name, _ in sounds]
    found, moves = {}, dict(moved(codec))
    with bar(f"level {level}", 3 + len(moves)) as advance:
        around = []
        for near in (level - 1, level, level + 1):
            around.append(measured(codec, near, sounds))
            advance(len(around))
        curves = [np.polyfit(*np.transpose(points), 2) for points in zip(*around, strict=True)]
        for number, (name, move) in enumerate(moves.items(), 1):
            with move:
                points = measured(codec, level, sounds)
            own = [snr - np.polyval(curve, rate) for (rate, snr), curve in zip(points, curves, strict=True)]
            value = bootstrap(np.array(own), names)
            found[name] = f"{value['mean']:+.3f} ({between(value, '+.3f')})"
            advance(3 + number)
    return found


def measured(codec: Codec, level: int, sounds: list[tuple[str, np.ndarray]]) -> list[tuple[float, float]]:
    """Binary logarithm of the true kbps, and SI-SNR, of each clip."""
    coder = ModelCoder(codec, Named(codec.fingerprint, level=level))
    coded = [(coder.code(clip), clip) for _, clip in sounds]
    return [(np.log2(one.kbps), si_snr(one.audio, clip)) for one, clip in coded]


def moved(codec: Codec) -> Iterator[tuple[str, object]]:
    """Names of moves, and contexts in which they are made."""
    bottleneck = codec.bottleneck
    first, others = (torch.zeros_like(bottleneck.thresholds) for _ in range(2))
    first[0], others[1:] = 1, 1
    for name, which, amounts in (("first threshold", first, FIRST), ("other thresholds", others, OTHERS)):
        for amount in amounts:
            yield (
                f"{name} {amount:+.2f}",
                replaced(bottleneck.thresholds, bottleneck.thresholds + amount * which),
            )
    bins = bottleneck.layout.bins
    for start, stop in zip(EDGES, (*EDGES[1:], bins), strict=True):
        for factor in SCALES:
            scale = bottleneck.scale().detach().clone()
            scale[start:stop] *= factor
            yield (
                f"steps of bins {start} to {stop} x {factor}",
                patch.object(bottleneck, "scale", return_value=scale),
            )


@contextmanager
def replaced(parameter: torch.Tensor, values: torch.Tensor) -> Iterator[None]:
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter.copy_(values)
    try:
        yield
    finally:
        with torch.no_grad():
            parameter.copy_(before)


if __name__ == "__main__":
    raise SystemExit(main())
