"""The losses of GAN training: discriminators', generator's, feature matching, and the balancer of their gradients.

    hinge      L_D = mean max(0, 1 - D(x)) + mean max(0, 1 + D(x'))      L_G = mean max(0, 1 - D(x'))
    squares    L_D = mean (D(x) - 1)^2 + mean (D(x') + 1)^2              L_G = mean (D(x') - 1)^2
    features   mean over layers of mean |D_l(x) - D_l(x')| / mean |D_l(x)|

x is a recording and x' what was decoded; all are averaged over discriminators (EnCodec, section 3.4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from snn_codec import settings as config
from snn_codec.metrics import batch_mel_distance, batch_stft_distance
from snn_codec.models.discriminators import Judgement
from snn_codec.training.losses import signed_si_snr


def discriminator_loss(real: Sequence[Judgement], fake: Sequence[Judgement], loss: str) -> Tensor:
    """The discriminators' loss L_D: 2 at chance, 0 if they are always right (`hinge`)."""
    total = real[0].logits.new_zeros(())
    for true, false in zip(real, fake, strict=True):
        total = total + _far(true.logits, 1, loss) + _far(false.logits, -1, loss)
    return total / len(real)


def generator_loss(fake: Sequence[Judgement], loss: str) -> Tensor:
    """The decoder's adversarial loss L_G."""
    return torch.stack([_far(judgement.logits, 1, loss) for judgement in fake]).mean()


def feature_loss(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """The feature loss: relative distance of the discriminators' layers on recording and decoded sound."""
    distances = [
        (wanted.detach() - found).abs().mean() / wanted.detach().abs().mean().clamp_min(1e-8)
        for true, false in zip(real, fake, strict=True)
        for wanted, found in zip(true.features, false.features, strict=True)
    ]
    return torch.stack(distances).mean()


def _far(logits: Tensor, sign: int, loss: str) -> Tensor:
    """How far logits are from the side of `sign`."""
    if loss == "hinge":
        return relu(1 - sign * logits).mean()
    return (logits - sign).square().mean()


def reconstruction_terms(estimate: Tensor, target: Tensor, sample_rate: int) -> dict[str, Tensor]:
    """Losses of audio `[batch, samples]` that need no discriminator, by name; all are to be minimised."""
    return {
        "stft": batch_stft_distance(estimate, target),
        "mel": batch_mel_distance(estimate, target, sample_rate),
        "waveform": (estimate - target).abs().mean(),
        "si_snr": -signed_si_snr(estimate, target).mean(),
    }


class Balancer(nn.Module):
    """Makes each loss a fixed share of the gradient at the decoder's output (EnCodec, section 3.4).

        g = sum_i  w_i / sum_j w_j  g_i / m_i

    g_i is the gradient of loss i by the audio, and m_i the moving average of its norm, corrected for its start at 0:
    m_i <- beta m_i + (1 - beta) ||g_i||. Only losses that are there share.

    Args:
        shares: w_i by name.
        decay: beta.
    """

    def __init__(self, shares: config.Shares, decay: float):
        super().__init__()
        self.shares, self.decay = vars(shares), decay
        for name in self.shares:
            self.register_buffer(f"norm_{name}", torch.zeros((), dtype=torch.float64))
            self.register_buffer(f"count_{name}", torch.zeros((), dtype=torch.int64))

    def forward(
        self, losses: Mapping[str, Tensor], audio: Tensor, mean: Callable[[Tensor], Tensor] = lambda x: x
    ) -> Tensor:
        """The balanced gradient, like `audio`, a leaf that all losses depend on.

        `mean` averages norms over devices.
        """
        wanted = {name: loss for name, loss in losses.items() if self.shares[name] > 0}
        whole = sum(self.shares[name] for name in wanted)
        balanced = torch.zeros_like(audio)
        for name, loss in wanted.items():
            (gradient,) = torch.autograd.grad(loss, audio, retain_graph=True)
            norm = mean(torch.linalg.vector_norm(gradient))
            if not torch.isfinite(norm):
                return torch.full_like(audio, float("nan"))
            balanced += self.shares[name] / whole * gradient / self._average(name, norm).clamp_min(1e-12)
        return balanced

    def _average(self, name: str, norm: Tensor) -> Tensor:
        average, count = getattr(self, f"norm_{name}"), getattr(self, f"count_{name}")
        average.mul_(self.decay).add_((1 - self.decay) * norm.to(average))
        count += 1
        return (average / (1 - self.decay**count)).to(norm)
