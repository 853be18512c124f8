"""Surrogate gradients by name: a Heaviside step forward, a chosen pseudo-derivative backward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from snntorch import surrogate
from torch import Tensor

from snn_codec.errors import UserError

SpikeFunction = Callable[[Tensor], Tensor]


class _PaperTriangle(torch.autograd.Function):
    @staticmethod
    def forward(ctx, membrane: Tensor, gamma: float) -> Tensor:
        ctx.save_for_backward(membrane)
        ctx.gamma = gamma
        return (membrane > 0).to(membrane.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (membrane,) = ctx.saved_tensors
        return gradient * ctx.gamma * (1 - membrane.abs()).clamp_min(0), None


def paper_triangle(gamma: float) -> SpikeFunction:
    """The paper's choice: `H'(u) = gamma max(0, 1 - |u|)`; it uses gamma = 0.3."""
    return lambda membrane: _PaperTriangle.apply(membrane, gamma)


SURROGATES: dict[str, Callable[[float], SpikeFunction]] = {
    "fast_sigmoid": lambda slope: surrogate.fast_sigmoid(slope=slope),
    "atan": lambda alpha: surrogate.atan(alpha=alpha),
    "sigmoid": lambda slope: surrogate.sigmoid(slope=slope),
    "triangular": lambda threshold: surrogate.triangular(threshold=threshold),
    "straight_through": lambda _: surrogate.straight_through_estimator(),
    "paper_triangle": paper_triangle,
}


def spike_function(name: str, slope: float) -> SpikeFunction:
    """The Heaviside step with the surrogate gradient `name`; `slope` is that function's own parameter.

    Raises:
        UserError: No surrogate has this name.
    """
    if name not in SURROGATES:
        raise UserError(f"surrogate {name!r} is not known; choose from {', '.join(SURROGATES)}")
    return SURROGATES[name](slope)
