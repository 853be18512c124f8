"""Distances between a recording and its decoded version; numpy in, floats out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from snn_codec import distortion
from snn_codec.analysis.readout import mel_filters

BANDS = {512: 32, 1024: 64, 2048: 128}  # mel bands by window: one is as wide as a bin at the low end
BEFORE, AFTER = 0.010, 0.070  # seconds around an onset: the attack, and what a step or two can smear it by


def si_snr(estimate: np.ndarray, target: np.ndarray) -> float:
    """Scale-invariant signal-to-noise ratio in dB of two recordings `[samples]` of one length; higher is better.

    A silent target or estimate has no such ratio: the result is NaN.
    """
    estimate, target = (torch.from_numpy(np.asarray(x, np.float64)) for x in (estimate, target))
    if not target.any() or not estimate.any():
        return float("nan")
    scale = torch.sqrt(target.numel() / target.square().sum())  # so that quiet recordings are not all eps
    return float(distortion.si_snr(estimate * scale, target * scale, eps=1e-12))


def stft_distance(estimate: np.ndarray, target: np.ndarray) -> float:
    """Multi-resolution STFT distance at the target's level (`distortion.stft_distance`); lower is better.

    NaN for a silent target or one shorter than the longest window.
    """
    estimate, target = (torch.from_numpy(np.asarray(x, np.float32)) for x in (estimate, target))
    level = target.square().mean().sqrt()
    if level == 0 or len(target) < max(distortion.WINDOWS):
        return float("nan")
    return float(distortion.stft_distance(estimate[None] / level, target[None] / level))


def mel_distance(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Multi-scale log-mel distance in dB, at the target's level; lower is better.

    Both are divided by the target's RMS. For windows of 512, 1024 and 2048 samples (Hann, hop half a window)
    and 32, 64, 128 triangular bands from 30 Hz to half the sample rate (HTK's scale), the mean over frames and
    bands of the absolute difference of 10 log10(mel power), each bin floored 80 dB below the level (orthonormal
    transform); then the mean over windows.

    NaN for a silent target or one shorter than the longest window.

    Reference: the log term of the mel loss of the Descript Audio Codec (Kumar et al. 2023, arXiv 2306.06546).
    Departs: in dB and averaged over scales, not summed; at one level, so that quiet recordings count the same.
    """
    estimate, target = (torch.from_numpy(np.asarray(x, np.float32)) for x in (estimate, target))
    level = target.square().mean().sqrt()
    if level == 0 or len(target) < max(BANDS):
        return float("nan")
    total = 0.0
    for size, bands in BANDS.items():
        found, wanted = (_mel_db(x[None] / level, sample_rate, size, bands) for x in (estimate, target))
        total += float((found - wanted).abs().mean())
    return total / len(BANDS)


def _mel_db(audio: Tensor, sample_rate: int, size: int, bands: int) -> Tensor:
    power = distortion.magnitudes(audio, size).square()
    return 10 * torch.log10(power @ _filters(sample_rate, size, bands))


@lru_cache
def _filters(sample_rate: int, size: int, bands: int) -> Tensor:
    return torch.from_numpy(mel_filters(sample_rate, size, bands))


def onset_si_snr(
    estimate: np.ndarray, target: np.ndarray, onsets: Sequence[float] | np.ndarray, sample_rate: int
) -> float:
    """SI-SNR in dB over the union of the windows of -10 to +70 ms around note onsets; higher is better.

    Args:
        estimate, target: `[samples]`.
        onsets: In seconds from the first sample; those outside count as far as their windows reach in.

    The samples of all windows are taken as one signal, whose mean is removed and whose scale is free. NaN if
    there is none, or it is silent.
    """
    inside = np.zeros(len(target), bool)
    before, after = round(BEFORE * sample_rate), round(AFTER * sample_rate)
    for onset in np.rint(np.asarray(onsets, float) * sample_rate).astype(int):
        inside[max(onset - before, 0) : max(onset + after, 0)] = True
    if not inside.any():
        return float("nan")
    return si_snr(np.asarray(estimate)[inside], np.asarray(target)[inside])
