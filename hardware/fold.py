"""From a trained bottleneck to one layer of spiking neurons (`snn_codec.hardware.layer`)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import nn

from snn_codec.errors import UserError
from snn_codec.hardware.layer import Layer, group_of
from snn_codec.models.spiking import SpikingBottleneck
from snn_codec.models.thermometer import Thermometer


def fold(bottleneck: nn.Module) -> Layer:
    """The trained bottleneck as one layer; the threshold of a stateless neuron goes into the bias.

    Raises:
        UserError: The bottleneck has no neurons.
    """
    if isinstance(bottleneck, Thermometer):
        return _thermometer(bottleneck)
    if not isinstance(bottleneck, SpikingBottleneck):
        raise UserError(
            "this model's bottleneck has no spiking neurons, so there is nothing to put on hardware"
        )
    neuron, norms = bottleneck.neuron, bottleneck.norms

    def joined(name: str) -> np.ndarray:
        return _float64(torch.cat([getattr(norm, name) for norm in norms]))

    gain = joined("weight") / np.sqrt(joined("running_var") + norms[0].eps)
    group = group_of(len(gain), len(norms))
    earlier = group[None] < group[:, None]
    signed = (
        gain[:, None] * (_float64(bottleneck.encode_weight) @ _float64(bottleneck.decode_weight)) * earlier
    )
    bias = joined("bias") - gain * joined("running_mean") + signed.sum(1)
    threshold, stateless = float(neuron.threshold), bottleneck.stateless
    return Layer(
        weight=gain[:, None] * _float64(bottleneck.encode_weight),
        bias=bias - threshold if stateless else bias,
        lateral=-2 * signed,
        groups=len(norms),
        beta=float(neuron.beta),
        reset="none" if stateless else neuron.reset_mechanism,
        threshold=0.0 if stateless else threshold,
    )


def _thermometer(bottleneck: Thermometer) -> Layer:
    """A thermometer: one group, and one input for each unit."""
    gain, shift = (_float64(part) for part in bottleneck.norm())
    layout = bottleneck.layout
    units = np.arange(layout.units)
    weight = csr_array((layout.sign * gain, (units, layout.bin)), (layout.units, layout.bins))
    return Layer(weight, shift, csr_array((layout.units, layout.units)))


def _float64(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float64)
