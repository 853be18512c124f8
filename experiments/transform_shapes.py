#!/usr/bin/env python3
"""How long the blocks of a lapped transform should be, and which window: SNR at equal bits of a textbook coder.

    python experiments/transform_shapes.py DATA... [--rates 2.6 1.0] [--clips 24]

Every clip is transformed, quantised uniformly with steps relative to its RMS, and coded in static tables, by ideal code
lengths: the magnitudes around a cell (the frame before, the bins below) and its frequency choose the table, which is
counted on the very clips. SNR and bits of the clips are read at one mean rate, linearly in the logarithm of the rate.
Differences are to blocks of 2048 new samples with a sine window, clip by clip; intervals are over recordings.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.special import i0

from snn_codec import corpus
from snn_codec.cli import fatal
from snn_codec.errors import UserError
from snn_codec.evaluation.transform import LENGTH, ROUNDING, SAMPLE_RATE
from snn_codec.models import lapped
from snn_codec.stats import between, bootstrap

SHAPES = (
    (2048, "sine"), (2048, "vorbis"), (2048, "kbd:2"), (2048, "kbd:4"), (512, "sine"), (1024, "sine"), (4096, "sine"),
)  # fmt: skip
STEPS = 0.4 * 2.0 ** np.arange(0, 5.5, 0.5)  # of the quantiser, relative to a clip's RMS
TOP, SUMS, BANDS = 30, 61, 12  # largest magnitude with a count of its own; contexts
PRIOR = 0.02  # cells


def window(kind: str, frame: int) -> np.ndarray:
    """The rising half of a window, float64 `[frame]`, whose squares add up to 1 with the falling one's."""
    place = (np.arange(frame) + 0.5) / frame
    if kind == "sine":
        return np.sin(np.pi / 2 * place)
    if kind == "vorbis":
        return np.sin(np.pi / 2 * np.sin(np.pi / 2 * place) ** 2)
    alpha = float(kind.removeprefix("kbd:"))  # Kaiser-Bessel-derived
    kaiser = i0(np.pi * alpha * np.sqrt(np.clip(1 - (2 * np.arange(frame + 1) / frame - 1) ** 2, 0, 1)))
    return np.sqrt(np.cumsum(kaiser)[:-1] / kaiser.sum())


def mdct(clips: np.ndarray, rising: np.ndarray) -> np.ndarray:
    """Orthonormal coefficients float64 `[clip, frame, bin]` of `[clip, samples]`, with this half of a window."""
    angle = torch.arcsin(torch.from_numpy(rising[len(rising) // 2 :]))
    return lapped.mdct(torch.from_numpy(clips).double(), len(rising), angle).numpy()


def coded(coefficients: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Bits and SNR in dB of each clip, `[clip]` both."""
    bits, error = costs(coefficients, step)
    return bits.sum((1, 2)), 10 * np.log10((coefficients**2).sum((1, 2)) / error.sum((1, 2)))


def costs(coefficients: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Bits and squared error of each coefficient, `[clip, frame, bin]` both."""
    magnitudes = np.floor(np.abs(coefficients) / step + ROUNDING)
    error = np.where(magnitudes > 0, np.abs(coefficients) - magnitudes * step, coefficients)
    capped = np.minimum(magnitudes, TOP).astype(np.int64)
    rows = contexts(capped)
    counts = np.bincount((rows * (TOP + 1) + capped).ravel(), minlength=SUMS * BANDS * (TOP + 1))
    counts = counts.reshape(-1, TOP + 1) + PRIOR
    lengths = -np.log2(counts / counts.sum(1, keepdims=True))[rows, capped]
    beyond = 2 * np.log2(np.maximum(magnitudes - TOP, 0) + 1)
    return lengths + beyond + (capped > 0), error**2


def contexts(magnitudes: np.ndarray) -> np.ndarray:
    """The table of each cell, int64 `[clip, frame, bin]`."""
    padded = np.pad(magnitudes, ((0, 0), (2, 0), (2, 2)))
    own, last, older = padded[:, 2:], padded[:, 1:-1], padded[:, :-2]
    around = 2 * last[..., 2:-2] + last[..., 1:-3] + last[..., 3:-1] + older[..., 2:-2]
    sums = np.minimum(2 * (around + 2 * own[..., 1:-3] + own[..., :-4]), SUMS - 1)
    bins = magnitudes.shape[2]
    octaves = np.log2(np.arange(bins) * SAMPLE_RATE / (2 * bins) / 150 + 1)
    return sums * BANDS + np.minimum(2 * octaves, BANDS - 1).astype(np.int64)


def at_rates(clips: np.ndarray, frame: int, kind: str, rates: list[float]) -> list[np.ndarray]:
    """SNR of each clip at each mean rate.

    Raises:
        UserError: A rate is beyond those of the steps.
    """
    coefficients = mdct(clips, window(kind, frame))
    bits, snr = (np.array(part) for part in zip(*(coded(coefficients, step) for step in STEPS), strict=True))
    kbps = bits.mean(1) * SAMPLE_RATE / LENGTH / 1000
    found = []
    for rate in rates:
        if not kbps[-1] <= rate <= kbps[0]:
            raise UserError(
                f"{rate:g} kbps: the quantiser's steps have {kbps[-1]:.2f} to {kbps[0]:.2f} on these clips"
            )
        place = np.interp(-np.log(rate), -np.log(kbps), np.arange(len(kbps)))
        low = min(int(place), len(kbps) - 2)
        found.append(snr[low] + (place - low) * (snr[low + 1] - snr[low]))
    return found


def read(folder: Path, count: int, split: str | None = None) -> tuple[np.ndarray, list[str]]:
    """Clips `[clip, samples]` with an RMS of 1, evenly chosen, and the recording of each."""
    clips, names = [], []
    for path in corpus.paths(folder, corpus.measured_split(folder, split)):
        for clip in corpus.clips([path], LENGTH, SAMPLE_RATE):
            if np.sqrt(np.square(clip, dtype=np.float64).mean()) > 1e-4:
                clips.append(clip)
                names.append(path.stem)
    if not clips:
        raise UserError(f"{folder}: has no clip of {LENGTH / SAMPLE_RATE:.2f} s with sound")
    places = np.unique(np.linspace(0, len(clips) - 1, count).round().astype(int))
    chosen = np.stack([clips[place] for place in places]).astype(np.float64)
    return chosen / np.sqrt(np.square(chosen).mean(1, keepdims=True)), [names[place] for place in places]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="+", help="folders of recordings")
    parser.add_argument("--rates", type=float, nargs="+", default=[2.6, 1.0], help="in kbps (2.6 1.0)")
    parser.add_argument("--clips", type=int, default=24, help="of each folder (24)")
    options = parser.parse_args()
    table: dict[tuple[int, str], list[str]] = {shape: [] for shape in SHAPES}
    try:
        for folder in options.data:
            clips, names = read(folder, options.clips)
            reference = at_rates(clips, *SHAPES[0], options.rates)
            for shape, cells in table.items():
                for own, base in zip(at_rates(clips, *shape, options.rates), reference, strict=True):
                    found = bootstrap(own if shape == SHAPES[0] else own - base, names)
                    sign = "" if shape == SHAPES[0] else "+"
                    cells.append(f"{found['mean']:{sign}.2f} ({between(found, sign + '.2f')})")
    except UserError as error:
        return fatal(error)
    heads = [f"{folder.name}, {rate:g} kbps" for folder in options.data for rate in options.rates]
    print(f"| new samples, window | {' | '.join(heads)} |")
    print("|---" * (1 + len(heads)) + "|")
    for (frame, kind), cells in table.items():
        print(f"| {frame}, {kind} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
