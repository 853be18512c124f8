"""Flow-matching decoder in the frame domain: what the plain decoder left out, sampled at the step rate.

The paper's diffusion decoder makes the waveform anew, by 100 evaluations of a large network. This one takes the plain
decoder's sound as a start and asks only what is missing, in few evaluations of a network of a codec's size:

    audio = plain + inverse MDCT of  s e y      y sampled by flow matching, given features and plain

The MDCT (hop of a step, sine window of two) is orthonormal, so white noise stays white and nothing is redundant. e is
the plain sound's envelope, its MDCT's power smoothed over neighbouring steps and bins; s is what the difference from a
recording measures in units of e, for each bin. So y is about 1 everywhere, and quiet high frequencies count as much
as loud low ones.

At a `temperature` of 1 a sample has all the variance that the data has. It is scaled for each bin by min(1, s): where
the plain decoder is nearly right, noise would cost more than blur does; where it knows nothing, blur is dull.

Departs: all of it is ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from snn_codec import config
from snn_codec.models import samplers
from snn_codec.models.spectral import Block

LARGEST = (
    8.0  # of y in training: where the plain sound misses a note altogether, y would be all that is learned
)
TIMES = 64  # size of the embedding of time


class Mdct(nn.Module):
    """Modified discrete cosine transform with a sine window; `inverse` is its inverse and its adjoint."""

    def __init__(self, hop: int):
        super().__init__()
        self.hop = hop
        n = torch.arange(2 * hop, dtype=torch.float64)[:, None] + 0.5
        k = torch.arange(hop, dtype=torch.float64) + 0.5
        basis = torch.cos(math.pi / hop * (n + hop / 2) * k) * torch.sin(math.pi / (2 * hop) * n)
        self.register_buffer("basis", (math.sqrt(2 / hop) * basis).float(), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Audio `[batch, step * hop]` -> `[batch, step + 2, hop]`; frame t + 1 is centred on step t."""
        margin = self.hop + self.hop // 2
        return pad(audio, (margin, margin)).unfold(-1, 2 * self.hop, self.hop) @ self.basis

    def inverse(self, frames: Tensor) -> Tensor:
        """`[batch, step + 2, hop]` -> audio `[batch, step * hop]`."""
        halves = (frames @ self.basis.T).unflatten(-1, (2, self.hop))
        joined = (pad(halves[:, :, 0], (0, 0, 0, 1)) + pad(halves[:, :, 1], (0, 0, 1, 0))).flatten(1)
        margin = self.hop + self.hop // 2
        return joined[:, margin:-margin]


class FlowDecoder(nn.Module):
    """Samples what a plain decoder's sound lacks.

    Args:
        hop: Samples a step.
        features: Their width.
        settings: Sizes of the network.
    """

    def __init__(self, hop: int, features: int, settings: config.Flow):
        super().__init__()
        self.settings, self.hop = settings, hop
        self.mdct = Mdct(hop)
        self.register_buffer("spread", torch.ones(hop))  # s
        self.condition = nn.Linear(features + 2 * hop, settings.width)
        self.nothing = nn.Parameter(torch.zeros(settings.width))
        self.state = nn.Linear(hop, settings.width)
        self.time = nn.Sequential(nn.Linear(TIMES, settings.width), nn.SiLU())
        self.moments = nn.ModuleList(
            nn.Linear(settings.width, settings.width) for _ in range(settings.blocks)
        )
        self.blocks = nn.ModuleList(
            Block(settings.width, settings.kernel, settings.expansion) for _ in range(settings.blocks)
        )
        self.norm = nn.LayerNorm(settings.width)
        self.velocity = nn.Linear(settings.width, hop)
        nn.init.zeros_(self.velocity.weight)
        nn.init.zeros_(self.velocity.bias)

    def envelope(self, plain: Tensor) -> Tensor:
        """e, of an MDCT `[batch, frame, bin]`: its RMS over 3 frames and 9 bins."""
        power = nn.functional.avg_pool2d(
            plain.square().unsqueeze(1), (3, 9), 1, (1, 4), count_include_pad=False
        )
        return (power.squeeze(1) + self.settings.floor**2).sqrt()

    @torch.no_grad()
    def calibrate(self, plain: Tensor, target: Tensor) -> None:
        """Set s from audio `[batch, samples]`, plain and original, in which every bin has something to say."""
        found = self.mdct(plain)
        ratio = ((self.mdct(target) - found) / self.envelope(found)).clamp(-LARGEST, LARGEST)
        spread = ratio.square().mean((0, 1))[None, None]
        self.spread.copy_(nn.functional.avg_pool1d(spread, 9, 1, 4, count_include_pad=False)[0, 0].sqrt())

    def forward(
        self, features: Tensor, plain: Tensor, target: Tensor, noise: Tensor, time: Tensor, kept: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mean square error of v, and the sound that the network aims at, for training.

        Args:
            features: `[batch, step, width]`.
            plain, target: Audio `[batch, step * hop]`.
            noise: `[batch, step + 2, hop]`.
            time: `[batch]`, 0 (noise) to 1.
            kept: bool `[batch]`; where it is False, the network is given no condition.
        """
        with torch.autocast(plain.device.type, enabled=False):
            start = self.mdct(plain)
            scale = self.envelope(start) * self.spread
            y = ((self.mdct(target) - start) / scale).clamp(-LARGEST, LARGEST)
            state, wanted = samplers.flowing(y, noise, time[:, None, None])
        found = self._velocity(state, time, self._conditions(features, start, kept))
        with torch.autocast(plain.device.type, enabled=False):
            found = found.float()
            aimed = self.mdct.inverse(start + scale * (state + (1 - time[:, None, None]) * found))
        return (found - wanted).square().mean(), aimed

    def sample(
        self, features: Tensor, plain: Tensor, noise: Tensor, steps: int = 0, guidance: float = 1.0
    ) -> Tensor:
        """Audio `[batch, step * hop]` of features, the plain decoder's audio, and noise `[batch, step + 2, hop]`."""
        start = self.mdct(plain)
        kept = torch.ones(len(plain), dtype=torch.bool, device=plain.device)
        conditions = [self._conditions(features, start, keep) for keep in (kept, ~kept)]
        network, free = (
            lambda x, time, condition=condition: self._velocity(x, time, condition)
            for condition in conditions
        )
        noise = noise * (self.settings.temperature * self.spread.clamp_max(1))
        y = samplers.euler(samplers.guided(network, free, guidance), noise, steps or self.settings.steps)
        return self.mdct.inverse(start + self.envelope(start) * self.spread * y)

    def _conditions(self, features: Tensor, plain: Tensor, kept: Tensor) -> Tensor:
        envelope = self.envelope(plain)
        known = torch.cat([pad(features, (0, 0, 1, 1)), plain / envelope, envelope.log() / 4], -1)
        return torch.where(kept[:, None, None], self.condition(known), self.nothing)

    def _velocity(self, state: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        moment = self.time(embedding(time))
        x = self.state(state) + condition
        for block, shift in zip(self.blocks, self.moments, strict=True):
            x = block(x + shift(moment)[:, None])
        return self.velocity(self.norm(x))


def embedding(time: Tensor) -> Tensor:
    """Times `[batch]` from 0 to 1 as sines and cosines `[batch, TIMES]`."""
    frequencies = torch.logspace(-0.5, 2, TIMES // 2, device=time.device)
    phases = time[:, None] * frequencies
    return torch.cat([phases.sin(), phases.cos()], -1)
