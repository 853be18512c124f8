"""Distances between decoded and original sound that training and a search make small, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOWS = (256, 512, 1024, 2048)
FLOOR = 1e-4  # -80 dB below a normalised signal's level: quieter bins say nothing about a recording


def si_snr(estimate: Tensor, target: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale-invariant signal-to-noise ratio in dB, `[batch]`, of audio `[batch, samples]`, means removed."""
    estimate = estimate - estimate.mean(-1, keepdim=True)
    target = target - target.mean(-1, keepdim=True)
    scale = (estimate * target).sum(-1, keepdim=True) / (target.square().sum(-1, keepdim=True) + eps)
    signal = scale * target
    noise = estimate - signal
    return 10 * torch.log10((signal.square().sum(-1) + eps) / (noise.square().sum(-1) + eps))


def magnitudes(audio: Tensor, size: int) -> Tensor:
    """Magnitude STFT `[batch, frame, size / 2 + 1]` of `[batch, samples]`, Hann, hop size / 2, floored."""
    window = torch.hann_window(size, device=audio.device)
    spectrum = torch.fft.rfft(audio.unfold(-1, size, size // 2) * window, norm="ortho")
    return (spectrum.real.square() + spectrum.imag.square() + FLOOR**2).sqrt()  # faster than abs() to train


def stft_distance(estimate: Tensor, target: Tensor, windows: tuple[int, ...] = WINDOWS) -> Tensor:
    """Spectral convergence plus mean log-magnitude difference, averaged over windows; audio `[batch, samples]`."""
    total = estimate.new_zeros(())
    for size in windows:
        found, wanted = magnitudes(estimate, size), magnitudes(target, size)
        convergence = torch.linalg.vector_norm(found - wanted) / torch.linalg.vector_norm(wanted)
        total = total + convergence + (found / wanted).log().abs().mean()
    return total / len(windows)
