"""How many operations a layer does, counted as NeuroBench does (https://neurobench.ai)."""

from __future__ import annotations

import numpy as np

from snn_codec.hardware.integers import IntegerLayer
from snn_codec.hardware.matrices import Weights, nonzero_columns


def operations(
    layer: IntegerLayer,
    graded: np.ndarray,
    spikes: np.ndarray,
    seconds: float,
    decoder: Weights | None = None,
) -> dict[str, float]:
    """Per second of audio, as neurobench counts: events, synaptic operations and multiply-accumulates.

    A multiply-accumulate is effective if weight and graded input are not 0; an event costs one accumulate for
    each weight behind it that is not 0: to later groups, and in the decoder's first matrix. The dense equivalent
    multiplies every weight of every synapse at every step.

    Args:
        layer: In integers.
        graded: Its input, `[width, steps]`.
        spikes: Its output, bool `[N, steps]`.
        seconds: Of audio that these are.
        decoder: The decoder's first matrix, `[width, N]`; one without zeros if it is not given.
    """
    units, width = layer.inputs[0].weight.shape
    steps = spikes.shape[1]
    fan_out = sum(nonzero_columns(synapse.weight) for synapse in layer.laterals) + np.zeros(units)
    fan_in = sum(nonzero_columns(synapse.weight) for synapse in layer.inputs)
    decoder_fan_out = np.full(units, width) if decoder is None else nonzero_columns(decoder)
    events = spikes.sum(1)
    macs = float(fan_in @ np.count_nonzero(graded, 1))
    later = max(len(layer.laterals), 1) * (units**2 * (layer.groups - 1) // (2 * layer.groups))
    counts = {
        "events": float(events.sum()),
        "bottleneck_macs": macs,
        "between_groups_synaptic_operations": float(fan_out @ events),
        "decoder_synaptic_operations": float(decoder_fan_out @ events),
        "dense_macs": float(steps * ((len(layer.inputs) + 1) * units * width + later)),
    }
    return {name: count / seconds for name, count in counts.items()}
