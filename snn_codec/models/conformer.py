"""Conformer layers before `L` and after `z`, with the prompt of a level.

Convolutions see a limited context, so neighbouring events may say the same twice; these layers let them know of
each other. In mu-SPARSE they are also told how much to say: the embedding of a level mu in 0..31 is added to the
encoder's output and to the decoder's input. A level between two has the embedding between theirs.

Departs: attention is limited to `window` steps on both sides, with a learned bias for each distance, so that a
recording cut into chunks gives the same events as in one piece; a window of 0 attends to all, as the paper does.
Layer norm stands where the conformer has batch norm. Each branch starts at zero, so that layers can be added to a
trained model without changing what it does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from snn_codec.errors import UserError
from snn_codec.settings import Conformer


class ConformerLayer(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, each added to its input.

    Args:
        width: Size of the features.
        settings: Heads, feed-forward width, kernel, window, dropout.

    Raises:
        UserError: Sizes that no layer can have.
    """

    def __init__(self, width: int, settings: Conformer):
        super().__init__()
        if width % settings.heads:
            raise UserError(f"a width of {width} cannot be split into {settings.heads} heads")
        self.first = _FeedForward(width, settings)
        self.attention = _Attention(width, settings)
        self.convolution = _Convolution(width, settings)
        self.second = _FeedForward(width, settings)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, step, width]` -> the same shape."""
        x = x + 0.5 * self.first(x)
        x = x + self.attention(x)
        x = x + self.convolution(x)
        return x + 0.5 * self.second(x)


class ConformerStack(nn.Module):
    """The prompt of a level, then conformer layers; with neither, the identity.

    Args:
        width: Size of the features.
        levels: Levels that can be prompted; 0 for none.
        settings: Sizes and number of layers.
    """

    def __init__(self, width: int, levels: int, settings: Conformer):
        super().__init__()
        if levels:
            self.prompt = nn.Parameter(torch.zeros(levels, width))
        self.layers = nn.Sequential(*(ConformerLayer(width, settings) for _ in range(settings.layers)))

    def forward(self, features: Tensor, level: Tensor | None = None) -> Tensor:
        """Features `[batch, step, width]`, levels in 0..levels - 1, `[batch, 1]` or `[batch, step]`, or None."""
        if level is not None:
            below = level.floor().long().clamp(0, len(self.prompt) - 1)
            above = (below + 1).clamp(max=len(self.prompt) - 1)
            share = (level - below).unsqueeze(-1)
            features = features + (1 - share) * self.prompt[below] + share * self.prompt[above]
        return self.layers(features)


class _FeedForward(nn.Module):
    def __init__(self, width: int, settings: Conformer):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, settings.feedforward)
        self.narrow = _starting_at_zero(nn.Linear(settings.feedforward, width))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.dropout(functional.silu(self.widen(self.norm(x))))))


class _Attention(nn.Module):
    def __init__(self, width: int, settings: Conformer):
        super().__init__()
        self.heads, self.window = settings.heads, settings.window
        self.norm = nn.LayerNorm(width)
        self.inputs = nn.Linear(width, 3 * width)
        self.output = _starting_at_zero(nn.Linear(width, width))
        self.dropout = nn.Dropout(settings.dropout)
        if self.window:
            self.bias = nn.Parameter(torch.zeros(settings.heads, 2 * self.window + 1))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.inputs(self.norm(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # [batch, head, step, size] each
        mask = self._mask(x.shape[1]).to(query.dtype) if self.window else None
        y = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.dropout(self.output(y.transpose(1, 2).flatten(2)))

    def _mask(self, steps: int) -> Tensor:
        """Bias of each head for each pair of steps, `[head, step, step]`; minus infinity beyond the window."""
        places = torch.arange(steps, device=self.bias.device)
        distance = places[None, :] - places[:, None] + self.window
        inside = (distance >= 0) & (distance <= 2 * self.window)
        bias = self.bias[:, distance.clamp(0, 2 * self.window)]
        return bias.masked_fill(~inside, float("-inf"))


class _Convolution(nn.Module):
    def __init__(self, width: int, settings: Conformer):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(
            width, width, settings.kernel, padding=settings.kernel // 2, groups=width, bias=False
        )
        self.inner_norm = nn.LayerNorm(width)
        self.output = _starting_at_zero(nn.Linear(width, width))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.glu(self.gate(self.norm(x)), -1)
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.output(functional.silu(self.inner_norm(x))))


def _starting_at_zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
