"""What a learned window, and switching between lengths of the transform, would bring at equal bits.

    python experiments/learned_transform.py DATA [--clips 48] [--learn 200]

Coefficients are quantised uniformly and cost what they cost under static tables, counted on the same clips, whose
contexts are the cells around (as the textbook's are). SI-SNR is compared at equal bits with the sine window of 2048
samples a step, along the slope between two steps of the quantiser. The learned window's angles minimise the bits of a
Gaussian with each coefficient's energy, on every other clip; all is measured on the others.

Switching takes, in each 8192 samples, the length of step with the least bits and error, as if windows of different
lengths could meet without a price: more than any real codec gets. Fixed lengths and other windows are in
`transform_shapes.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snn_codec import corpus
from snn_codec.cli import fatal
from snn_codec.errors import UserError
from snn_codec.models.lapped import mdct, sine
from snn_codec.progress import bar

RATE, LENGTH, STEP = 22050, 2**17, 2048
SEGMENT = 8192
SIZES = (0.6, 1.6)  # of the quantiser's step, relative to the RMS of the clip's loudest 2048 samples
ROUNDING, TOP = 0.36, 30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of recordings")
    parser.add_argument("--split", help="as in snn-codec evaluate")
    parser.add_argument("--clips", type=int, default=48, help="of 5.94 s, from all recordings (48)")
    parser.add_argument("--learn", type=int, default=200, help="steps that learn the window (200)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        clips = read(
            corpus.paths(options.data, corpus.measured_split(options.data, options.split)), options.clips
        )
        learned = learn(clips[::2], options.learn)
    except UserError as error:
        return fatal(error)
    clips = clips[1::2]
    shapes = {f"sine, {step} samples a step": (step, sine(step)) for step in (2048, 1024, 4096)}
    names = list(shapes)
    shapes["learned window, 2048"] = STEP, learned
    coded = {name: [Coded(clips, *shape, size) for size in SIZES] for name, shape in shapes.items()}
    coded["switched, 1024 to 4096"] = [switched([coded[name][place] for name in names]) for place in range(2)]
    first = next(iter(coded.values()))
    print("| transform | " + " | ".join("kbps | SI-SNR (dB) | at equal bits (dB)" for _ in SIZES) + " |")
    print("|---" * (1 + 3 * len(SIZES)) + "|")
    slope = (first[0].si_snr - first[1].si_snr) / np.log2(first[0].kbps / first[1].kbps)
    for name, found in coded.items():
        cells = [
            f"{own.kbps:.2f} | {own.si_snr:.2f} | "
            f"{own.si_snr - reference.si_snr - slope * np.log2(own.kbps / reference.kbps):+.2f}"
            for own, reference in zip(found, first, strict=True)
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")
    return 0


def read(paths: list[Path], count: int) -> Tensor:
    """Clips `[clip, sample]` from all recordings, scaled by their loudest step."""
    each = -(-count // len(paths))
    found = list(corpus.clips(paths, LENGTH, RATE, each=each))
    clips = torch.from_numpy(np.stack([clip for clip in found if clip.any()])).double()[:count]
    if len(clips) < 2:
        raise UserError(
            f"{paths[0].parent}: has fewer than two clips of {LENGTH / RATE:.1f} s that are not silent"
        )
    loudest = clips.unflatten(-1, (-1, STEP)).square().mean(-1).amax(-1).sqrt()
    return clips / loudest[:, None]


def learn(clips: Tensor, steps: int) -> Tensor:
    """Angles of a window of 2048 samples a step with the fewest bits."""
    angle = sine(STEP).requires_grad_(True)
    optimiser = torch.optim.Adam([angle], 3e-3)
    with bar("learning a window", steps) as advance:
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
            some = clips[torch.arange(step, step + 4) % len(clips)]
            size = SIZES[step % len(SIZES)]
            bits = torch.log2(1 + (2 * mdct(some, STEP, angle) / size) ** 2).mean()
            optimiser.zero_grad()
            bits.backward()
            optimiser.step()
            advance(step + 1)
    return angle.detach()


class Coded:
    """Clips by one transform at one size of the quantiser's step.

    Attributes:
        bits, error: Of each segment of each clip, `[clip, segment]`.
        energy: Of each clip.
        size: Of the quantiser's step.
    """

    def __init__(self, clips: Tensor, step: int, angle: Tensor, size: float):
        coefficients = mdct(clips, step, angle).numpy()
        self.size, self.energy = size, np.square(coefficients).sum((1, 2))
        found = np.sign(coefficients) * np.floor(np.abs(coefficients) / size + ROUNDING)
        magnitudes = np.minimum(np.abs(found), TOP).astype(np.int64)
        contexts = _contexts(magnitudes, step)
        counts = np.full((contexts.max() + 1, TOP + 1), 0.02)
        np.add.at(counts, (contexts, magnitudes), 1)
        lengths = -np.log2(counts / counts.sum(1, keepdims=True))
        bits = lengths[contexts, magnitudes] + (magnitudes > 0)
        error = np.square(coefficients - found * size)
        shape = len(clips), LENGTH // SEGMENT, SEGMENT
        self.bits, self.error = (part.reshape(shape).sum(2) for part in (bits, error))

    @property
    def kbps(self) -> float:
        return float(self.bits.sum(1).mean() / (LENGTH / RATE) / 1000)

    @property
    def si_snr(self) -> float:
        return float(np.mean(10 * np.log10(self.energy / self.error.sum(1))))


def _contexts(magnitudes: np.ndarray, step: int) -> np.ndarray:
    """Of the two steps before, the bins below, and the band of frequency."""
    around = np.pad(magnitudes, ((0, 0), (2, 0), (2, 2)))
    last, older = around[:, 1:-1], around[:, :-2]
    near = 2 * last[..., 2:-2] + older[..., 2:-2] + last[..., 1:-3] + last[..., 3:-1]
    sums = np.minimum(2 * (near + 2 * around[:, 2:, 1:-3] + around[:, 2:, :-4]), 60)
    bands = np.log2(np.arange(magnitudes.shape[2]) * STEP / step / 30 + 1) * 2
    return sums * 10 + np.minimum(bands.astype(np.int64), 9)


def switched(choices: list[Coded]) -> Coded:
    """The best of them in each segment; a bit is worth 6 dB of a coefficient's error at the step's own noise."""
    best = Coded.__new__(Coded)
    best.size, best.energy = choices[0].size, choices[0].energy
    price = choices[0].size ** 2 * np.log(2) / 6
    costs = np.stack([choice.error + price * choice.bits for choice in choices])
    picked = np.argmin(costs, 0)[None]
    best.bits, best.error = (
        np.take_along_axis(np.stack([getattr(choice, name) for choice in choices]), picked, 0)[0]
        for name in ("bits", "error")
    )
    return best


if __name__ == "__main__":
    raise SystemExit(main())
