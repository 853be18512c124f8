"""What each measure says of damages that are known: whether it notices them, and what a difference in it is worth.

    python experiments/known_damages.py DATA [--clips 12] [--perceptual visqol,zimtohrli]

Every damage is done to the same clips of 5.94 s. A measure that has nearly as many points for a low-pass, or for the
clip played backwards, as for the clip itself says little of codecs that are a few hundredths apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy import signal

from snn_codec.cli import fatal
from snn_codec.cli.common import chosen_data
from snn_codec.errors import UserError
from snn_codec.evaluation.coder import NONE, Coded
from snn_codec.evaluation.command import evaluation
from snn_codec.evaluation.transform import LENGTH, SAMPLE_RATE
from snn_codec.metrics import MEASURES

ALWAYS = ("si_snr", "stft_distance", "mel_distance")


def low_passed(clip: np.ndarray, corner: float) -> np.ndarray:
    """Without what is above a frequency in Hz, and without delay."""
    return signal.sosfiltfilt(signal.butter(8, corner, fs=SAMPLE_RATE, output="sos"), clip)


def noise(clip: np.ndarray, decibels: float, above: float = 0.0) -> np.ndarray:
    """White noise so many dB below the clip, of which only what is above a frequency in Hz is left."""
    found = np.random.default_rng(0).standard_normal(len(clip))
    if above:
        found = signal.sosfiltfilt(signal.butter(8, above, "high", fs=SAMPLE_RATE, output="sos"), found)
    return (
        found
        * np.sqrt(np.square(clip, dtype=float).mean() / np.square(found).mean())
        * 10 ** (-decibels / 20)
    )


DAMAGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda clip: clip,
    "inverted": lambda clip: -clip,
    "6 dB softer": lambda clip: 0.5 * clip,
    "low-pass at 3.5 kHz": partial(low_passed, corner=3500),
    "low-pass at 1 kHz": partial(low_passed, corner=1000),
    "noise above 8 kHz, 70 dB below": lambda clip: clip + noise(clip, 70, above=8000),
    "noise 40 dB below": lambda clip: clip + noise(clip, 40),
    "noise 20 dB below": lambda clip: clip + noise(clip, 20),
    "noise as loud": lambda clip: clip + noise(clip, 0),
    "noise instead": lambda clip: noise(clip, 0),
    "played backwards": lambda clip: clip[::-1],
}


class Damage:
    """A damage as a coder that costs nothing."""

    sample_rate, length = SAMPLE_RATE, LENGTH

    def __init__(self, name: str):
        self.name = self.fingerprint = name

    def code(self, clip: np.ndarray) -> Coded:
        return Coded(np.ascontiguousarray(DAMAGES[self.name](clip), np.float32), NONE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of recordings")
    parser.add_argument("--split", help="as in snn-codec evaluate")
    parser.add_argument("--clips", type=int, default=12, help="evenly spaced over all (12)")
    parser.add_argument("--perceptual", default="", metavar="NAMES", help="as in snn-codec evaluate (none)")
    options = parser.parse_args()
    options.perceptual_clips = options.clips
    try:
        data = chosen_data(options)
        names = [*ALWAYS, *data.selection.perceptual]
        print(f"| damage | {' | '.join(MEASURES[name].title for name in names)} |")
        print("|---" * (1 + len(names)) + "|")
        for damage in DAMAGES:
            found = evaluation(Damage(damage), data)
            assert found is not None
            means = (found["summary"].get(name, {}).get("mean") for name in names)
            cells = (
                "-" if mean is None else f"{mean:.{MEASURES[name].digits}f}"
                for name, mean in zip(names, means, strict=True)
            )
            print(f"| {damage} | {' | '.join(cells)} |", flush=True)
    except UserError as error:
        return fatal(error)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
