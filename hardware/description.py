"""A layer as the arrays that `snn_codec.hardware.lava.processes.neurons.Bottleneck` is made of.

One form for both arithmetics, in plain arrays, so that it goes through a file to a Python that has Lava and
nothing of this package. Group k is k steps late (`snn_codec.hardware.layer`), and its spikes wait until the last group
has its own. A synapse with delays is one matrix `[depth N, n]`: its rows d N to d N + N - 1 hold the weights that are
d steps late.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, csr_array

from snn_codec.hardware.encoder import FULL_SCALE, IntegerEncoder
from snn_codec.hardware.integers import UNITY, IntegerLayer
from snn_codec.hardware.layer import Layer, delays
from snn_codec.hardware.matrices import Weights

Description = dict[str, np.ndarray]


def encoder_description(encoder: IntegerEncoder) -> Description:
    """All that Lava needs to know of an encoder of audio: its neurons, and the transform in front."""
    transform = encoder.transform
    facts = description(encoder.neurons)
    facts |= {
        "latency": facts["latency"] + 1,
        "frame": transform.synapses[0].weight.shape[1],
        "offset": transform.offset,
        "shift": transform.shift,
        "largest": FULL_SCALE,
        **_synapses("transform", [(2 * synapse.weight, synapse.exponent) for synapse in transform.synapses]),
    }
    return {name: np.asarray(value) for name, value in facts.items()}


def latency(groups: int) -> int:
    """Steps from an input to its spikes: the neurons' one, one for each further group, one to bring groups together."""
    return 1 if groups == 1 else groups + 1


def description(layer: Layer | IntegerLayer) -> Description:
    """All that Lava needs to know of a layer."""
    facts = _fixed(layer) if isinstance(layer, IntegerLayer) else _floating(layer)
    wait = delays(len(facts["bias_mant"]), layer.groups)[0]
    facts |= {
        "threshold": layer.threshold,
        "reset": layer.reset,
        "groups": layer.groups,
        "latency": latency(layer.groups),
        "input_delay": wait,
        "output_delay": layer.groups - 1 - wait,
    }
    if layer.groups > 1:
        facts |= _synapses(
            "output", [(_late(np.eye(len(wait), dtype=int), facts["output_delay"][:, None]), 0)]
        )
    return {name: np.asarray(value) for name, value in facts.items()}


def _fixed(layer: IntegerLayer) -> dict:
    bias = layer.bias_mantissa.astype(np.int64) << layer.bias_exponent
    return {
        "tag": "fixed_pt",
        "stateless": layer.decay == UNITY,
        "decay": layer.decay,
        "current_decay": UNITY - 1,
        "bias_mant": layer.bias_mantissa,
        "bias_exp": layer.bias_exponent,
        "held": -(-bias >> 6),  # rounded up, so that what is left is not above 0
        "message_bits": layer.input_bits,
        "width": layer.inputs[0].weight.shape[1],
        **_layer_synapses(
            layer.groups,
            [(2 * synapse.weight, synapse.exponent) for synapse in layer.inputs],
            [(2 * synapse.weight, synapse.exponent) for synapse in layer.laterals],
        ),
    }


def _floating(layer: Layer) -> dict:
    return {
        "tag": "floating_pt",
        "stateless": layer.beta == 0,
        "decay": 1 - layer.beta,
        "current_decay": 1.0,
        "bias_mant": layer.bias,
        "bias_exp": np.zeros_like(layer.bias),
        "held": layer.bias,
        "message_bits": 16,
        "width": layer.weight.shape[1],
        **_layer_synapses(
            layer.groups, [(layer.weight, 0)], [(layer.lateral, 0)] if layer.groups > 1 else []
        ),
    }


def _layer_synapses(
    groups: int, inputs: list[tuple[Weights, int]], laterals: list[tuple[Weights, int]]
) -> dict:
    if groups == 1:
        return _synapses("input", inputs) | _synapses("lateral", [])
    wait, between = delays(inputs[0][0].shape[0], groups)
    return _synapses("input", [(_late(w, wait[:, None]), e) for w, e in inputs]) | _synapses(
        "lateral", [(_late(w, between), e) for w, e in laterals]
    )


def _late(weight: Weights, delay: np.ndarray) -> csr_array:
    """Weights `[N, n]` with their delays, `[N, n]` or `[N, 1]`, as one matrix `[depth N, n]`."""
    entries = coo_array(weight)
    units, width = weight.shape
    late = np.broadcast_to(delay, (units, width))[entries.row, entries.col]
    rows = late * units + entries.row
    return csr_array((entries.data, (rows, entries.col)), ((int(delay.max()) + 1) * units, width))


def _synapses(kind: str, synapses: list[tuple[Weights, int]]) -> dict:
    facts: dict = {f"{kind}s": len(synapses)}
    for number, (weight, exponent) in enumerate(synapses):
        facts[f"{kind}{number}_exponent"] = exponent
        if isinstance(weight, np.ndarray):
            facts[f"{kind}{number}_weight"] = weight
        else:
            parts = {name: getattr(weight, name) for name in ("data", "indices", "indptr", "shape")}
            facts |= {f"{kind}{number}_{name}": part for name, part in parts.items()}
    return facts
