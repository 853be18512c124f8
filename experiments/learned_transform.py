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
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transform_shapes import costs, read

from snn_codec.cli import fatal
from snn_codec.errors import UserError
from snn_codec.evaluation.transform import LENGTH, SAMPLE_RATE
from snn_codec.models.lapped import mdct, sine
from snn_codec.progress import bar

STEP, SEGMENT = 2048, 8192
SIZES = (1.4, 4.0)  # of the quantiser's step, relative to a clip's RMS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of recordings")
    parser.add_argument("--split", help="as in snn-codec evaluate")
    parser.add_argument("--clips", type=int, default=48, help="of 5.94 s, from all recordings (48)")
    parser.add_argument("--learn", type=int, default=200, help="steps that learn the window (200)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        clips = torch.from_numpy(read(options.data, options.clips, options.split)[0])
        if len(clips) < 2:
            raise UserError(
                f"{options.data}: has one clip with sound, where two are needed, to learn and to measure"
            )
        learned = learn(clips[::2], options.learn)
    except UserError as error:
        return fatal(error)
    clips = clips[1::2]
    shapes = {f"sine, {step} samples a step": (step, sine(step)) for step in (2048, 1024, 4096)}
    fixed = list(shapes)
    shapes["learned window, 2048"] = STEP, learned
    found = {name: [coded(clips, *shape, size) for size in SIZES] for name, shape in shapes.items()}
    found["switched, 1024 to 4096"] = [
        switched([found[name][place] for name in fixed], size) for place, size in enumerate(SIZES)
    ]
    first = next(iter(found.values()))
    print("| transform | " + " | ".join("kbps | SI-SNR (dB) | at equal bits (dB)" for _ in SIZES) + " |")
    print("|---" * (1 + 3 * len(SIZES)) + "|")
    slope = (first[0].si_snr - first[1].si_snr) / np.log2(first[0].kbps / first[1].kbps)
    for name, at_sizes in found.items():
        cells = [
            f"{own.kbps:.2f} | {own.si_snr:.2f} | "
            f"{own.si_snr - reference.si_snr - slope * np.log2(own.kbps / reference.kbps):+.2f}"
            for own, reference in zip(at_sizes, first, strict=True)
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")
    return 0


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


class Coded(NamedTuple):
    """Clips with an RMS of 1 at one size of the quantiser's step: bits and squared error, `[clip, segment]` each."""

    bits: np.ndarray
    error: np.ndarray

    @property
    def kbps(self) -> float:
        return float(self.bits.sum(1).mean() / (LENGTH / SAMPLE_RATE) / 1000)

    @property
    def si_snr(self) -> float:
        return float(np.mean(10 * np.log10(LENGTH / self.error.sum(1))))


def coded(clips: Tensor, step: int, angle: Tensor, size: float) -> Coded:
    """Clips by one transform."""
    found = costs(mdct(clips, step, angle).numpy(), size)
    return Coded(*(part.reshape(len(clips), LENGTH // SEGMENT, SEGMENT).sum(2) for part in found))


def switched(choices: list[Coded], size: float) -> Coded:
    """The best of them in each segment; a bit is worth 6 dB of a coefficient's error at the step's own noise."""
    bits, error = (np.stack(part) for part in zip(*choices, strict=True))
    picked = np.argmin(error + size**2 * np.log(2) / 6 * bits, 0)[None]
    return Coded(*(np.take_along_axis(part, picked, 0)[0] for part in (bits, error)))


if __name__ == "__main__":
    raise SystemExit(main())
