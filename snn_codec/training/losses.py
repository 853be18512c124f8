"""Training losses: multi-resolution STFT, waveform, SI-SNR, and the residual of the bottleneck."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from snn_codec import settings as config
from snn_codec.metrics import batch_si_snr, batch_stft_distance
from snn_codec.models.network import Output

LEAST = 0.1  # correlation from which on SI-SNR is itself: -20 dB


def training_loss(output: Output, target: Tensor, weights: config.Loss) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the weighted sum of all terms for one batch of audio `[batch, samples]`, and the terms by name.

    Departs: the paper trains with its decoders' own losses; these are for a decoder that is trained alone.
    """
    estimate = output.audio.float()
    terms = {
        "stft": batch_stft_distance(estimate, target),
        "waveform": (estimate - target).abs().mean(),
        "si_snr": signed_si_snr(estimate, target).mean(),
        "residual": output.residual,
    }
    loss = (
        weights.stft * terms["stft"]
        + weights.waveform * terms["waveform"]
        - weights.si_snr * terms["si_snr"]
        + weights.residual * terms["residual"]
    )
    return loss, {name: value.detach() for name, value in terms.items()}


def signed_si_snr(estimate: Tensor, target: Tensor) -> Tensor:
    """SI-SNR in dB that an inverted sound does not have, `[batch]`, of audio `[batch, samples]`.

        f(r) = 10 log10(r^2 / (1 - r^2)),  r >= r0;    f(r0) + f'(r0) (r - r0)  below

    f is SI-SNR, r the correlation and r0 `LEAST`. SI-SNR is the same for r and -r, and never leads from one to the
    other: models that were trained for it gave every sound inverted as often as not, and too soft, as far as their
    waveform loss still drew them. Below r0 it goes on along its tangent.
    """
    found, wanted = (audio - audio.mean(-1, keepdim=True) for audio in (estimate, target))
    product = (found * wanted).sum(-1)
    most = torch.linalg.vector_norm(found, dim=-1) * torch.linalg.vector_norm(wanted, dim=-1)
    slope = 20 / math.log(10) / (LEAST * (1 - LEAST**2))
    unlike = product < LEAST * most  # not if one is silent: it has no correlation
    correlation = product / torch.where(unlike, most, 1.0)
    tangent = 10 * math.log10(LEAST**2 / (1 - LEAST**2)) + slope * (correlation - LEAST)
    return torch.where(unlike, tangent, batch_si_snr(estimate, target))
