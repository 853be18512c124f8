"""Loudness: one quantised number for each chunk, and the smooth gain that it stands for.

The networks see audio whose loudness is always about the same; the loudness itself travels with the events, one
byte a chunk. So that the gain has no step at a chunk border (the networks look across borders), it is
linear in dB between knots: at the centre of a chunk its own loudness, at a border the higher of the two loudnesses
beside it. The gain is therefore never below a chunk's own loudness, and normalised audio never overloads.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

FLOOR_DB = -160  # code 0; 24-bit silence is near -144 dB
LARGEST = 10 ** ((255 + FLOOR_DB) / 20)  # of samples that no code is too small for, 95 dB above full scale


def measure(audio: np.ndarray, hop: int) -> int:
    """The loudness code of one chunk: its loudest step's RMS in dB re 1, rounded to 1 dB, plus 160, as 0..255.

    `audio` is float `[samples]`; a partial last step is padded with zeros.
    """
    samples = np.pad(np.asarray(audio, np.float64), (0, -len(audio) % hop))
    power = np.max(np.square(samples).reshape(-1, hop).mean(1))
    with np.errstate(divide="ignore"):  # silence has -infinity decibels
        return int(np.clip(np.rint(10 * np.log10(power)) - FLOOR_DB, 0, 255))


def gain(loudness: np.ndarray, chunk_samples: int, start: int, stop: int) -> np.ndarray:
    """The gain for the samples [start, stop) of a recording with these loudness codes: float32, linear scale.

    Normalised audio is audio / gain. It depends on the loudness of the chunks that hold [start, stop) and
    of their neighbours.
    """
    decibels = loudness.astype(np.float64) + FLOOR_DB
    borders = np.maximum(decibels[:-1], decibels[1:])
    knots = np.empty(2 * len(loudness) - 1)
    knots[0::2], knots[1::2] = decibels, borders
    positions = (np.arange(len(knots)) + 1) * (chunk_samples / 2)
    inner = np.ceil(positions - 0.5).astype(np.int64)
    edges = [start, *inner[(inner > start) & (inner < stop)].tolist(), stop]
    found = np.empty(stop - start, np.float32)
    for begin, end in pairwise(edges):
        ends = np.interp([begin + 0.5, end - 0.5], positions, knots)
        if (
            ends[0] == ends[1]
        ):  # so is the half of a chunk that is beside a softer one, and takes a power alone
            curve = ends[:1]
        else:
            curve = np.interp(np.arange(begin, end) + 0.5, positions, knots)
        found[begin - start : end - start] = 10 ** (curve / 20)
    return found
