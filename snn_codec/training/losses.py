"""Training losses: multi-resolution STFT, waveform, SI-SNR, and the residual of the bottleneck."""

from __future__ import annotations

import torch
from torch import Tensor

from snn_codec import settings as config
from snn_codec.distortion import si_snr
from snn_codec.models.network import Output

WINDOWS = (256, 512, 1024, 2048)
FLOOR = 1e-4  # -80 dB below a normalised signal's level: quieter bins say nothing about a recording


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


def training_loss(output: Output, target: Tensor, weights: config.Loss) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of all terms for one batch of audio `[batch, samples]`, and the terms by name.

    Departs: the paper trains with its decoders' own losses; these are for a decoder that is trained alone.
    """
    estimate = output.audio.float()
    terms = {
        "stft": stft_distance(estimate, target),
        "waveform": (estimate - target).abs().mean(),
        "si_snr": si_snr(estimate, target).mean(),
        "residual": output.residual,
    }
    loss = (
        weights.stft * terms["stft"]
        + weights.waveform * terms["waveform"]
        - weights.si_snr * terms["si_snr"]
        + weights.residual * terms["residual"]
    )
    return loss, {name: value.detach() for name, value in terms.items()}
