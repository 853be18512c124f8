"""Training losses: multi-resolution STFT, waveform, SI-SNR, and the residual of the bottleneck."""

from __future__ import annotations

from torch import Tensor

from snn_codec import settings as config
from snn_codec.metrics import batch_si_snr, batch_stft_distance
from snn_codec.models.network import Output


def training_loss(output: Output, target: Tensor, weights: config.Loss) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the weighted sum of all terms for one batch of audio `[batch, samples]`, and the terms by name.

    Departs: the paper trains with its decoders' own losses; these are for a decoder that is trained alone.
    """
    estimate = output.audio.float()
    terms = {
        "stft": batch_stft_distance(estimate, target),
        "waveform": (estimate - target).abs().mean(),
        "si_snr": batch_si_snr(estimate, target).mean(),
        "residual": output.residual,
    }
    loss = (
        weights.stft * terms["stft"]
        + weights.waveform * terms["waveform"]
        - weights.si_snr * terms["si_snr"]
        + weights.residual * terms["residual"]
    )
    return loss, {name: value.detach() for name, value in terms.items()}
