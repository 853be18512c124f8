"""Distances between a recording and its decoded version; numpy in, floats out."""

from __future__ import annotations

import numpy as np
import torch

from snn_codec.training import losses


def si_snr(estimate: np.ndarray, target: np.ndarray) -> float:
    """Scale-invariant signal-to-noise ratio in dB of two recordings `[samples]` of one length; higher is better.

    A silent target or estimate has no such ratio: the result is NaN.
    """
    estimate, target = (torch.from_numpy(np.asarray(x, np.float64)) for x in (estimate, target))
    if not target.any() or not estimate.any():
        return float("nan")
    scale = torch.sqrt(target.numel() / target.square().sum())  # so that quiet recordings are not all eps
    return float(losses.si_snr(estimate * scale, target * scale, eps=1e-12))


def stft_distance(estimate: np.ndarray, target: np.ndarray) -> float:
    """Multi-resolution STFT distance at the target's level (`training.losses.stft_distance`); lower is better.

    NaN for a silent target or one shorter than the longest window.
    """
    estimate, target = (torch.from_numpy(np.asarray(x, np.float32)) for x in (estimate, target))
    level = target.square().mean().sqrt()
    if level == 0 or len(target) < max(losses.WINDOWS):
        return float("nan")
    return float(losses.stft_distance(estimate[None] / level, target[None] / level))
