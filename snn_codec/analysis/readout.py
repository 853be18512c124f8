"""How much of the score one linear layer reads from the events: onsets of 88 keys, scored with mir_eval.

For each step the features of a short window (`CONTEXT` seconds to both sides) predict by ridge regression which keys
start there; local maxima above one threshold are notes. The penalty and the threshold are chosen on every fifth
recording of the training set, then the weights are fitted to all of it. A found note is right if its key is, and
its onset within 50 ms (mir_eval's `transcription`, offsets ignored). The same readout from a mel spectrogram, with
as many bands as there are units, says what such a layer can do at all.

mir_eval comes with the extra `analysis`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import linalg, ndimage

from snn_codec.analysis.notes import LOWEST, Score
from snn_codec.analysis.spectra import decibels, powers
from snn_codec.errors import UserError
from snn_codec.events import steps_for
from snn_codec.metrics import mel_filters

CONTEXT = 0.116  # seconds, in whole steps: 5 of the paper's
TOLERANCE = 0.05  # seconds
APART = 0.046  # seconds, in whole steps: a maximum is the largest so far around
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of standardised features, a step
THRESHOLDS = tuple(np.round(np.geomspace(0.05, 0.6, 12), 3))
TARGET = (0.5, 1.0, 0.5)  # an onset near the border of two steps is in both, if both are within the tolerance
HELD_OUT = 5
BLOCK_CELLS = 1 << 23  # of the windows that are in memory at once


class Example(NamedTuple):
    """A recording: features float or bool `[features, T]` on the grid of `sample_rate` and `hop`, and its notes."""

    features: np.ndarray
    score: Score
    sample_rate: int
    hop: int

    def steps(self, seconds: float) -> float:
        """Seconds as a number of steps, not rounded."""
        return seconds * self.sample_rate / self.hop


Examples = Sequence[
    Callable[[], Example]
]  # each loaded when needed, so that a data set need not be in memory


class Readout(NamedTuple):
    """Weights float32 `[features x window + 1, 88]`, the last row is the bias; and what was chosen."""

    weights: np.ndarray
    threshold: float
    penalty: float

    def __call__(self, example: Example) -> np.ndarray:
        """How likely each key starts at each step: float32 `[88, T]`, 1 for sure."""
        likely = np.zeros((self.weights.shape[1], example.features.shape[1]), np.float32)
        for steps, rows in _windows(example):
            likely[:, steps] = (rows @ self.weights).T
        return likely

    def notes(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        """Onsets in seconds and MIDI numbers of the notes found."""
        return _picked(self(example), self.threshold, example)


def fit(examples: Examples) -> Readout:
    """Fit the readout to a training set.

    Raises:
        UserError: It has fewer than two recordings or too little music, or mir_eval is not installed.
    """
    transcription()
    if len(examples) < 2:
        raise UserError("a readout needs at least two recordings to learn from; give more")
    held_out = examples[1::HELD_OUT]
    held = _added(held_out)
    rest = _added([example for number, example in enumerate(examples) if number % HELD_OUT != 1])
    total = [a + b for a, b in zip(rest, held, strict=True)]
    solutions = {penalty: _solved(rest, penalty) for penalty in PENALTIES}
    penalty = min(PENALTIES, key=lambda each: _squared_error(solutions[each], held))
    trial, scores = Readout(solutions[penalty], 0.0, penalty), []
    for example in (load() for load in held_out):
        likely = trial(example)
        scores.append([_score(example, *_picked(likely, each, example))[2] for each in THRESHOLDS])
    threshold = THRESHOLDS[int(np.argmax(np.mean(scores, 0)))]
    return Readout(_solved(total, penalty), float(threshold), penalty)


def evaluate(readout: Readout, examples: Examples) -> list[dict[str, float]]:
    """Score the readout: onset `precision`, `recall` and `f1` of each recording, at 50 ms.

    Raises:
        UserError: mir_eval is not installed.
    """
    rows = []
    for example in (load() for load in examples):
        rows.append(
            dict(zip(("precision", "recall", "f1"), _score(example, *readout.notes(example)), strict=True))
        )
    return rows


def mel(audio: np.ndarray, sample_rate: int, hop: int, bands: int, *, window: int = 2048) -> np.ndarray:
    """Logarithmic mel spectrogram: float32 `[bands, T]`, windows centred on the middle of each step.

    Decibels relative to the loudest cell, floor -80, scaled to 0..1; bands from 30 Hz to half the sample rate. A window
    is as long as a step at least.
    """
    steps, window = steps_for(len(audio), hop), max(window, hop)
    filters = mel_filters(sample_rate, window, bands)
    found = decibels(powers(audio, steps, hop, window, lambda power: power @ filters))
    return np.maximum(found / 80 + 1, 0).astype(np.float32)


def _windows(example: Example) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of steps: float32 `[steps, features x window + 1]`, zeros beyond the ends, ones in the last column."""
    features, total, around = example.features, example.features.shape[1], math.ceil(example.steps(CONTEXT))
    window = 2 * around + 1
    block = max(1, BLOCK_CELLS // (len(features) * window + 1))
    for first in range(0, total, block):
        last = min(first + block, total)
        part = features[:, max(0, first - around) : last + around].astype(np.float32)
        padded = np.pad(part, ((0, 0), (max(0, around - first), max(0, last + around - total))))
        rows = np.lib.stride_tricks.sliding_window_view(padded, window, axis=1).transpose(1, 0, 2)
        yield (
            slice(first, last),
            np.hstack([rows.reshape(last - first, -1), np.ones((last - first, 1), np.float32)]),
        )


def _sums(example: Example) -> list[np.ndarray]:
    """What ridge regression needs of a recording: X'X, X'Y, and the sum of Y^2."""
    grid = example.score.grid(example.features.shape[1], example.sample_rate, example.hop)
    wanted = grid.onsets().astype(np.float32)
    if example.steps(TOLERANCE) >= 2:
        wanted = ndimage.convolve1d(wanted, TARGET, axis=1, mode="constant")
    wanted = np.minimum(wanted, 1).T.astype(float)
    square, cross = np.zeros(()), np.zeros(())
    for steps, block in _windows(example):
        rows = block.astype(float)  # in float32, X'X of fewer steps than features is not positive definite
        square, cross = square + rows.T @ rows, cross + rows.T @ wanted[steps]
    return [square, cross, np.square(wanted).sum(0)]


def _added(examples: Examples) -> list[np.ndarray]:
    total = _sums(examples[0]())
    for load in examples[1:]:
        total = [a + b for a, b in zip(total, _sums(load()), strict=True)]
    return total


def _solved(sums: list[np.ndarray], penalty: float) -> np.ndarray:
    square, cross, _ = sums
    steps, means = square[-1, -1], square[-1] / square[-1, -1]
    variances = np.diag(square) - steps * means**2
    # the penalty weighs features alike, whatever their scale; the bias has none
    ridge = penalty * np.maximum(variances, 1e-6 * steps)
    ridge[-1] = 0
    try:
        return linalg.solve(square + np.diag(ridge), cross, assume_a="pos").astype(np.float32)
    except linalg.LinAlgError as error:
        raise UserError(
            f"a readout cannot be fitted to {steps:.0f} steps of {len(square) - 1} features; give more music"
        ) from error


def _squared_error(weights: np.ndarray, sums: list[np.ndarray]) -> float:
    square, cross, wanted = sums
    return float(np.sum(weights * (square @ weights - 2 * cross)) + wanted.sum())


def _picked(likely: np.ndarray, threshold: float, example: Example) -> tuple[np.ndarray, np.ndarray]:
    around = 2 * max(round(example.steps(APART)), 1) + 1
    peaks = (likely >= threshold) & (likely == ndimage.maximum_filter1d(likely, around, axis=1))
    steps, keys = np.nonzero(peaks.T)
    return (steps + 0.5) * example.hop / example.sample_rate, keys + LOWEST


def _score(example: Example, onsets: np.ndarray, pitches: np.ndarray) -> tuple[float, float, float]:
    score = example.score.within(example.features.shape[1], example.sample_rate, example.hop)
    notes = score.notes()
    if not len(onsets) or not len(notes.onset):
        return 0.0, 0.0, 0.0
    return transcription().precision_recall_f1_overlap(
        *_as_intervals(notes.onset, notes.pitch),
        *_as_intervals(onsets, pitches),
        onset_tolerance=TOLERANCE,
        offset_ratio=None,
    )[:3]


def _as_intervals(onsets: np.ndarray, pitches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([onsets, onsets + 0.1], 1), 440 * 2 ** ((np.asarray(pitches) - 69) / 12)


def transcription():  # noqa: ANN202
    """mir_eval's module.

    Raises:
        UserError: mir_eval is not installed.
    """
    try:
        from mir_eval import transcription
    except ImportError as error:
        raise UserError('scoring notes needs mir_eval: pip install "snn_codec[analysis]"') from error
    return transcription
