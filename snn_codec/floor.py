"""The floor: how loud is what the events leave out, by band, a few bits a chunk.

A decoder that fills in the spectrum (`snn_codec.models.filling`) can infer from the events how the sound of a note goes
on, but not how noisy the room is. So the floor travels with the events, as loudness does: of each chunk and each of B
bands, evenly spaced in mel,

    code = 31 + round(L_b / (3 dB)),   L_b = mean over frames of 10 log10(power of r in the band),

limited to 0..31, where r is the normalised audio without what the events stand for, in Hann windows of 512 samples. The
mean of decibels is that of the long quiet parts, not of the attacks.

Departs: the paper sends events alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from snn_codec.parallel import one_blas_thread

if TYPE_CHECKING:
    from torch import Tensor

TOP = 31  # a code has 5 bits
MAX_BANDS = 64
OCTAVE = 2.0  # codes that double the amplitude, 3 dB each
WINDOW = 512
FRAMES = 64  # windows that are transformed together, so that they stay in a core's cache
SILENT = 1e-12  # power below the lowest code's


@lru_cache(maxsize=16)
def shares(bands: int, bins: int, sample_rate: int) -> np.ndarray:
    """How much of each bin, evenly spaced in frequency, is in each band: triangles that sum to 1, `[band, bin]`."""
    mel = 2595 * np.log10(1 + (np.arange(bins) + 0.5) * sample_rate / 2 / bins / 700)
    places = np.interp(mel, [mel[0], mel[-1]], [0, bands - 1])
    share = np.maximum(0, 1 - np.abs(places - np.arange(bands)[:, None]))
    share.flags.writeable = False
    return share


def measure(residual: np.ndarray, bands: int, sample_rate: int, *, edge: int = 0) -> np.ndarray:
    """The codes of one chunk: uint8 `[band]`.

    Args:
        residual: What is left out, float `[samples]`, of the loudness that networks see.
        bands: B.
        sample_rate: Of `residual`, in Hz.
        edge: Samples at both ends that have no say, unless there are no others.
    """
    if len(residual) > 2 * edge:
        residual = residual[edge : len(residual) - edge]
    samples = np.pad(np.asarray(residual, np.float64), (0, max(0, WINDOW - len(residual))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)
    window = np.hanning(WINDOW + 1)[:-1]
    frames, weight = frames[:: WINDOW // 2], np.square(window).sum()
    spectra = (np.fft.rfft(frames[at : at + FRAMES] * window) for at in range(0, len(frames), FRAMES))
    power = np.concatenate([(np.square(some.real) + np.square(some.imag)) / weight for some in spectra])
    share = shares(bands, WINDOW // 2 + 1, sample_rate)
    with one_blas_thread():
        level = np.log2(power @ share.T / share.sum(1) + SILENT).mean(0) / 2
    return np.clip(TOP + np.rint(level * OCTAVE), 0, TOP).astype(np.uint8)


def octaves(codes: Tensor) -> Tensor:
    """Binary logarithm of the RMS that codes stand for."""
    return (codes.float() - TOP) / OCTAVE


def pack(codes: np.ndarray) -> bytes:
    """Codes `[band]` in 5 bits each."""
    bits = np.unpackbits(codes[:, None], axis=1, count=8)[:, 3:]
    return np.packbits(bits).tobytes()


def packed_bytes(bands: int) -> int:
    """Bytes that `pack` needs."""
    return -(-5 * bands // 8)


def unpack(data: bytes, bands: int) -> np.ndarray:
    """The inverse of `pack`: uint8 `[band]`."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=5 * bands).reshape(bands, 5)
    return np.packbits(np.pad(bits, ((0, 0), (3, 0))), axis=1)[:, 0]
