"""The bottleneck's neuron of other frameworks, beside snntorch's: the same weights give the same spikes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from snn_codec.errors import UserError
from snn_codec.models.spiking import SpikingBottleneck

SLAYER_SCALE = 1 << 20  # slayer rounds currents to 1 / (64 scale), 1.5e-8 here


class Heaviside(nn.Module):
    """A stateless neuron with the interface of `snntorch.Leaky` that the bottleneck uses.

    Args:
        threshold: Of the membrane.
        fire: Membrane minus threshold, any shape -> spikes, with the framework's surrogate gradient.
    """

    def __init__(self, threshold: Tensor, fire: Callable[[Tensor], Tensor]):
        super().__init__()
        self.register_buffer("threshold", threshold)
        self.register_buffer("mem", torch.zeros(0), persistent=False)
        self.fire = fire

    def forward(self, current: Tensor, membrane: Tensor) -> tuple[Tensor, Tensor]:
        """Current -> (spikes, membrane); the membrane of before is 0 and is not used."""
        return self.fire(current - self.threshold), current


def _norse() -> Callable[[Tensor], Tensor]:
    from norse.torch.functional.lif_box import (
        LIFBoxFeedForwardState,
        LIFBoxParameters,
        lif_box_feed_forward_step,
    )

    settings = LIFBoxParameters(tau_mem_inv=torch.tensor(1.0), v_th=torch.tensor(0.0))

    def fire(excess: Tensor) -> Tensor:
        rest = LIFBoxFeedForwardState(torch.zeros_like(excess))
        return lif_box_feed_forward_step(excess, rest, settings, dt=1.0)[0]

    return fire


def _slayer() -> Callable[[Tensor], Tensor]:
    from lava.lib.dl.slayer.neuron import cuba

    # a threshold of 0 would make the width of slayer's surrogate 0, and gradients NaN
    neuron = cuba.Neuron(threshold=1.0, current_decay=1.0, voltage_decay=1.0, scale=SLAYER_SCALE)

    def fire(excess: Tensor) -> Tensor:
        return neuron((excess + 1).reshape(1, -1, 1)).view_as(excess)  # slayer's shape: batch, neuron, step

    return fire


FRAMEWORKS = {"norse": _norse, "slayer": _slayer}


def with_neuron(bottleneck: SpikingBottleneck, framework: str) -> SpikingBottleneck:
    """A copy of the bottleneck whose neuron is that of "norse" or "slayer" (lava-dl, Python 3.10 only).

    Raises:
        UserError: No such framework, its package is missing, or the neuron is leaky: slayer rounds decays to 12
            bits, and resets differ.
    """
    if framework not in FRAMEWORKS:
        raise UserError(f"{framework}: no such framework; use one of snntorch, {', '.join(FRAMEWORKS)}")
    if not bottleneck.stateless:
        raise UserError(
            f"{framework}: only a stateless neuron is the same in all frameworks; this one is leaky"
        )
    try:
        fire = FRAMEWORKS[framework]()
    except ImportError as error:
        raise UserError(f"{framework}: its package {error.name} is not installed here") from error
    changed = copy.deepcopy(bottleneck)
    changed.neuron = Heaviside(torch.as_tensor(float(bottleneck.neuron.threshold)), fire)
    return changed
