"""A loss for redundant events: how well others, at most `LAGS` steps earlier, predict them linearly.

    K_l = mean over steps of s_t s_(t-l)^T,   s = 2 z - 1 less each unit's mean;   cost = sum over l of |K_l|^2 / N

with l from 0 to `LAGS`, and K_0 without its diagonal. One batch has too few steps for N x N numbers a lag, so that most
of its |K|^2 would be chance; the gradient is therefore that of a running mean of K: 2 <mean K, dK> / N.

The entropy model of the bitstream finds the same redundancy, and more, but one that learns along is too slow
for this (`training.sparsity.objective=fill`): the encoder is ahead of it.

Of a model with levels, only those with many events count: a sample has the weight max(0, 1 - level / `REACH`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

LAGS = 8
REACH = 6
SHARE = 0.03  # of the newest batch in the running mean


class Correlation(nn.Module):
    """The running mean of K, and the loss by it.

    Args:
        units: N.
    """

    def __init__(self, units: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(LAGS + 1, units, units))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(
        self,
        spikes: Tensor,
        level: Tensor | None = None,
        everywhere: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> tuple[Tensor, Tensor]:
        """Spikes `[batch, unit, step]` -> (what to descend, the cost by the running mean, without a gradient).

        `level` are those of the samples, `[batch, 1]`, if there are any; `everywhere` averages over all processes.
        """
        shares = torch.ones(len(spikes)) if level is None else torch.relu(1 - level[:, 0] / REACH)
        found = correlations(spikes, shares)
        with torch.no_grad():
            self.mean.lerp_(everywhere(found.detach()), SHARE if self.steps else 1.0)
            self.steps += 1
        units = spikes.shape[1]
        return 2 * (self.mean * found).sum() / units, self.mean.square().sum() / units


def correlations(spikes: Tensor, shares: Tensor) -> Tensor:
    """K of spikes `[batch, unit, step]`, weighted by `shares` `[batch]`: `[lag, unit, unit]`, row: the later event."""
    shares = (shares / shares.sum().clamp_min(1)).to(spikes)[:, None, None]
    signs = spikes * 2 - 1
    signs = signs - (signs * shares).sum((0, 2), keepdim=True).detach() / spikes.shape[2]
    steps, found = signs.shape[2], []
    for lag in range(LAGS + 1):
        later = (signs * shares)[:, :, lag:].transpose(0, 1).flatten(1)
        earlier = signs[:, :, : steps - lag].transpose(0, 1).flatten(1)
        found.append(later @ earlier.T / (steps - lag))
    found[0] = found[0] - torch.diag(found[0].diagonal())
    return torch.stack(found)
