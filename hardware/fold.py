"""From a trained bottleneck to one layer of spiking neurons (`snn_codec.hardware.layer`), an encoder to a matrix."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import nn

from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.hardware.layer import Layer, group_of
from snn_codec.hardware.matrices import Weights
from snn_codec.models.spiking import SpikingBottleneck
from snn_codec.models.thermometer import Thermometer


def fold(bottleneck: nn.Module) -> Layer:
    """The trained bottleneck as one layer; the threshold of a stateless neuron goes into the bias.

    Raises:
        UserError: The bottleneck has no neurons.
    """
    if isinstance(bottleneck, Thermometer):
        return _thermometer(bottleneck)
    if isinstance(bottleneck, SpikingBottleneck):
        return _dense(bottleneck)
    raise UserError("this model's bottleneck has no spiking neurons, so there is nothing to put on hardware")


def _thermometer(bottleneck: Thermometer) -> Layer:
    layout = bottleneck.layout
    gain, bias = (_float64(part) for part in bottleneck.norm())
    units = np.arange(layout.units)
    weight = csr_array((gain * layout.sign, (units, layout.bin)), (layout.units, layout.bins))
    return Layer(weight, bias, csr_array((layout.units, layout.units)))


def decoder_matrix(bottleneck: nn.Module) -> Weights:
    """What the spikes of the bottleneck meet first in the decoder, `[width, N]`.

    Raises:
        UserError: The bottleneck has no neurons.
    """
    if isinstance(bottleneck, Thermometer):
        layout = bottleneck.layout
        places = (layout.bin, np.arange(layout.units))
        return csr_array((_float64(bottleneck.readout()), places), (layout.bins, layout.units))
    if isinstance(bottleneck, SpikingBottleneck):
        return _float64(bottleneck.decode_weight)
    raise UserError("this model's bottleneck has no spiking neurons, so there is nothing to put on hardware")


def encoder_matrix(codec: Codec, level: float | None = None) -> tuple[np.ndarray, int]:
    """The encoder of a codec as a matrix `[width, frame]` from normalised audio to the bottleneck's features.

    Found by impulses. The features of step t are those of the samples from t hop - `before` on. Departs: the first and
    the last step of a recording, beyond which there is no audio, may have others.

    Args:
        codec: One whose encoder says that it is linear.
        level: As in `Codec.encode`.

    Returns:
        (matrix, before)

    Raises:
        UserError: The encoder is not linear, or there is no such level.
    """
    if not getattr(codec.encoder, "is_linear", False) or len(codec.before.layers):
        raise UserError(
            "this model's encoder is a network, not a matrix; only its bottleneck runs on hardware (wide's is a matrix)"
        )
    hop = codec.settings.hop
    middle, samples = 2, 5 * hop
    prompt = codec.level_tensor(codec.prompts(level).codes(1)[:, None])
    columns = []
    with torch.inference_mode(), codec.evaluating():
        for start in range(0, samples, 256):
            impulses = torch.eye(samples)[start : start + 256]
            prompts = None if prompt is None else prompt.expand(len(impulses), 1)
            columns.append(codec.analyse(impulses, prompts)[:, middle].T)
    matrix = _float64(torch.cat(columns, 1))
    used = np.flatnonzero(np.abs(matrix).max(0) > 1e-9 * np.abs(matrix).max())
    return matrix[:, used[0] : used[-1] + 1], middle * hop - int(used[0])


def _dense(bottleneck: SpikingBottleneck) -> Layer:
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


def _float64(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float64)
