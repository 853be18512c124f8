"""What training and a search make small, differentiable: the noise in decoded sound."""

from __future__ import annotations

import torch
from torch import Tensor


def si_snr(estimate: Tensor, target: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale-invariant signal-to-noise ratio in dB, `[batch]`, of audio `[batch, samples]`, means removed."""
    estimate = estimate - estimate.mean(-1, keepdim=True)
    target = target - target.mean(-1, keepdim=True)
    scale = (estimate * target).sum(-1, keepdim=True) / (target.square().sum(-1, keepdim=True) + eps)
    signal = scale * target
    noise = estimate - signal
    return 10 * torch.log10((signal.square().sum(-1) + eps) / (noise.square().sum(-1) + eps))
