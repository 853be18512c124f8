"""The paper's diffusion decoder: a 1-D U-Net on the waveform, trained on v, with the latent injected at its stride.

Block k makes the signal `factors[k]` times slower, with `channels[k]` channels, and has `items[k]` residual units
before and after the block inside it; what goes around that block is added. With the paper's nine blocks the strides
are 1, 4, 16, 64, 128, 256, 512, 1024 and 2048; the features of the events, one a step of 512 samples, come in at the
seventh.

Departs: the paper's text leaves out what a residual unit is. Here: norm over channels, SiLU, convolution of 3, twice,
with a scale and shift by the time of the diffusion in between. The norm is over the channels of each sample alone, not
over time, so that a window's sound does not depend on what else it holds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from snn_codec.errors import UserError
from snn_codec.models import samplers
from snn_codec.models.flow import TIMES, embedding
from snn_codec.settings import Diffusion


class DiffusionDecoder(nn.Module):
    """Samples audio, given features.

    Args:
        hop: Samples a step; a stride of the network.
        features: Their width.
        settings: Sizes of the network.

    Raises:
        UserError: No block has the stride `hop`.
    """

    def __init__(self, hop: int, features: int, settings: Diffusion):
        super().__init__()
        strides = [math.prod(settings.factors[: k + 1]) for k in range(len(settings.factors))]
        if hop not in strides:
            raise UserError(
                f"the strides of a diffusion decoder, {strides}, must have the hop, {hop}, among them"
            )
        self.settings, self.hop, self.noise_size = settings, hop, hop
        self.quantum = max(1, strides[-1] // hop)  # lengths are multiples of so many steps
        width = 4 * max(settings.channels[0], 16)
        self.time = nn.Sequential(nn.Linear(TIMES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.nothing = nn.Parameter(torch.zeros(features))
        self.net = _Nested(1, strides.index(hop), features, width, settings)

    def forward(
        self, features: Tensor, plain: Tensor, target: Tensor, noise: Tensor, time: Tensor, kept: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mean square error of v, and the sound that the network aims at; arguments as those of `FlowDecoder`.

        `noise` is `[batch, step, hop]`; `plain` is not looked at.
        """
        state, wanted = samplers.diffused(target, noise.flatten(1), time[:, None])
        found = self._velocity(state, time, self._conditions(features, kept)).float()
        return (found - wanted).square().mean(), samplers.undone(state, found, time[:, None])[0]

    def sample(self, features: Tensor, noise: Tensor, steps: int = 0, guidance: float = 1.0) -> Tensor:
        """Audio `[batch, step * hop]` of features and noise `[batch, step, hop]`."""
        kept = torch.ones(len(features), dtype=torch.bool, device=features.device)
        conditions = [self._conditions(features, keep) for keep in (kept, ~kept)]
        network, free = (
            lambda x, time, condition=condition: self._velocity(x, time, condition)
            for condition in conditions
        )
        return samplers.ddim(
            samplers.guided(network, free, guidance), noise.flatten(1), steps or self.settings.sampler_steps
        )

    def _conditions(self, features: Tensor, kept: Tensor) -> Tensor:
        return torch.where(kept[:, None, None], features, self.nothing).transpose(1, 2)

    def _velocity(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        length, step = x.shape[-1], self.quantum * self.hop
        x = pad(x.unsqueeze(1), (0, -length % step))
        condition = pad(condition, (0, x.shape[-1] // self.hop - condition.shape[-1]))
        return self.net(x, self.time(embedding(time)), condition)[:, 0, :length]


class _Nested(nn.Module):
    """Block k of the U-Net and all that is inside it: `[batch, inputs, n]` -> the same shape."""

    def __init__(
        self, inputs: int, inject: int, features: int, time: int, settings: Diffusion, depth: int = 0
    ):
        super().__init__()
        channels, factor = settings.channels[depth], settings.factors[depth]
        self.down = nn.Conv1d(inputs, channels, 2 * factor + 1, factor, factor)
        self.inject = nn.Conv1d(features, channels, 1) if depth == inject else None
        self.before = nn.ModuleList(_Unit(channels, time) for _ in range(settings.items[depth]))
        inside = depth + 1 < len(settings.channels)
        self.inner = _Nested(channels, inject, features, time, settings, depth + 1) if inside else None
        self.after = nn.ModuleList(_Unit(channels, time) for _ in range(settings.items[depth]))
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=factor, mode="nearest"),
            nn.Conv1d(channels, inputs, 2 * factor + 1, padding=factor),
        )
        if depth == 0:
            nn.init.zeros_(self.up[1].weight)
            nn.init.zeros_(self.up[1].bias)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        x = self.down(x)
        if self.inject is not None:
            x = x + self.inject(condition)
        for unit in self.before:
            x = unit(x, time)
        if self.inner is not None:
            x = (x + self.inner(x, time, condition)) / math.sqrt(2)
        for unit in self.after:
            x = unit(x, time)
        return self.up(x)


class _Unit(nn.Module):
    """Residual unit: `[batch, channel, n]` and the time's embedding -> the same shape."""

    def __init__(self, channels: int, time: int):
        super().__init__()
        self.first = nn.Conv1d(channels, channels, 3, padding=1)
        self.second = nn.Conv1d(channels, channels, 3, padding=1)
        self.modulate = nn.Linear(time, 2 * channels)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.modulate(time).unsqueeze(-1).chunk(2, 1)
        y = self.first(silu(_normalised(x)))
        y = _normalised(y) * (1 + scale) + shift
        return x + self.second(silu(y))


def _normalised(x: Tensor) -> Tensor:
    """`[batch, channel, n]` with an RMS of 1 over the channels of each sample."""
    return x * (x.square().mean(1, keepdim=True) + 1e-6).rsqrt()
