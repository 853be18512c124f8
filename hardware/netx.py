"""A bottleneck in the files of lava-dl's netx (`lava.lib.dl.netx.hdf5.Network`): plain HDF5, no Lava needed.

    /layer/0      type "input", shape [width]
    /layer/1      type "dense", shape [N], weight float32 (out, in), bias float32, and
        wgtExp    what netx does not read and its user must add to the exponent of the synapse
        neuron/   type "CUBA", iDecay, vDecay, vThMant, refDelay, gradedSpike

Groups are a layer of type "dense_rec", with weight_rec, delay and wgtExpRec. netx has one matrix of delays for the
input and the recurrent synapse, so the two share no column: both have `width + N` inputs and neurons, of which the
input uses the first `width` and the neurons the last N. The others get and send nothing.

Attributes of the file tell the scale and bits of the graded input, the grid and the model. Behind the HDF5 data
stands the seal of `snn_codec.storage.h5`. `snn_codec.hardware.lava.netx_network` makes the network from a file.
By hand, for one group:

    network = Network(net_config="bottleneck.net", input_message_bits=16)
    synapse = network.layers[0].synapse
    exponent = int(network.net_config["layer"][1]["wgtExp"])
    synapse.proc_params.overwrite("weight_exp", synapse.proc_params.get("weight_exp") + exponent)

The first step of the output is the neurons' without any input; leave it out. Group k is k more steps late.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import h5py
import numpy as np

from snn_codec.errors import UserError
from snn_codec.files import replacing
from snn_codec.hardware.integers import UNITY, IntegerLayer, Synapse
from snn_codec.hardware.layer import delays
from snn_codec.hardware.matrices import Weights
from snn_codec.storage.h5 import SEAL, seal

FORMAT = "snn_codec.netx"
BIAS_EXPONENT = 6  # fixed in netx


def write(
    path: str | os.PathLike, layer: IntegerLayer, *, step_rate: float, fingerprint: str, force: bool = False
) -> None:
    """Write a layer that was quantised with `whole_bias`.

    Raises:
        UserError: netx cannot express the layer, or `path` cannot be written (`snn_codec.files.replacing`).
    """
    _check_expressible(path, layer)
    units, width = layer.inputs[0].weight.shape
    with replacing(path, force=force) as temporary:
        with h5py.File(temporary, "w") as file:
            file.attrs.update(
                format=FORMAT,
                input_scale=layer.scale,
                input_bits=layer.input_bits,
                step_rate=step_rate,
                fingerprint=fingerprint,
                units=units,
                width=width,
                groups=layer.groups,
            )
            first, second = file.create_group("layer/0"), file.create_group("layer/1")
            first["type"], second["type"] = np.array([b"input"], "S10"), np.array([b"dense"], "S10")
            if layer.groups == 1:
                first["shape"], second["shape"] = np.array([width]), np.array([units])
                _matrix(second, "weight", 2 * _dense(layer.inputs[0].weight))
                second["bias"] = layer.bias_mantissa.astype(np.float32)
                second["wgtExp"] = layer.inputs[0].exponent
            else:
                first["shape"] = second["shape"] = np.array([width + units])
                _write_recurrent(second, layer)
            second["inFeatures"], second["outFeatures"] = first["shape"][0], second["shape"][0]
            _write_neuron(second, layer)
        seal(temporary)


def _write_recurrent(group: h5py.Group, layer: IntegerLayer) -> None:
    del group["type"]
    group["type"] = np.array([b"dense_rec"], "S10")
    units, width = layer.inputs[0].weight.shape
    weight, recurrent, delay = (np.zeros((width + units, width + units), np.int64) for _ in range(3))
    weight[width:, :width] = 2 * layer.inputs[0].weight
    delay[width:, :width] = delays(units, layer.groups)[0][:, None]
    delay[width:, width:] = delays(units, layer.groups)[1]
    group["wgtExp"], group["wgtExpRec"] = layer.inputs[0].exponent, 0
    for synapse in layer.laterals:
        recurrent[width:, width:] = 2 * synapse.weight
        group["wgtExpRec"][...] = synapse.exponent
    for name, matrix in {"weight": weight, "weight_rec": recurrent}.items():
        _matrix(group, name, matrix)
    group.create_dataset("delay", data=delay, compression="gzip")
    group["bias"] = np.pad(layer.bias_mantissa, (width, 0)).astype(np.float32)


def _write_neuron(group: h5py.Group, layer: IntegerLayer) -> None:
    neuron = group.create_group("neuron")
    neuron.create_dataset("type", data="CUBA", dtype=h5py.string_dtype())
    for name, value in {
        "iDecay": UNITY, "vDecay": layer.decay, "vThMant": layer.threshold, "refDelay": 1, "gradedSpike": 0,
    }.items():  # fmt: skip
        neuron[name] = value


def _matrix(group: h5py.Group, name: str, weight: np.ndarray) -> None:
    group.create_dataset(name, data=weight.astype(np.float32), compression="gzip")


def _dense(weight: Weights) -> np.ndarray:
    return weight if isinstance(weight, np.ndarray) else weight.toarray()


def _check_expressible(path: object, layer: IntegerLayer) -> None:
    reasons = {
        "starts with a step of bias alone, which a leaky neuron would remember": layer.decay != UNITY,
        "has one synapse of 8 bits for each weight": len(layer.inputs) > 1 or len(layer.laterals) > 1,
        "has biases in whole units only": (layer.bias_exponent != BIAS_EXPONENT).any(),
    }
    for reason, broken in reasons.items():
        if broken:
            raise UserError(f"{path}: netx {reason}; `snn-codec simulate` runs such a model on Lava itself")


def read(path: str | os.PathLike) -> tuple[IntegerLayer, str]:
    """The layer in a file that `write` made, and the fingerprint of its model.

    Raises:
        UserError: The file is missing, damaged, or of another program.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if data[-12:] != SEAL + zlib.crc32(data[:-12]).to_bytes(4, "little"):
        raise UserError(f"{path}: is damaged, or not a network that `export netx` wrote; export it again")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise ValueError("another kind of file")
            return _layer(file), str(file.attrs["fingerprint"])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: is not a network that `export netx` wrote ({error})") from error


def _layer(file: h5py.File) -> IntegerLayer:
    dense, groups = file["layer/1"], int(file.attrs.get("groups", 1))
    first = int(file.attrs["width"]) if groups > 1 else 0

    def synapse(name: str, exponent: str, columns: slice) -> Synapse:
        weight = dense[name][first:, columns].astype(np.int32) // 2
        return Synapse(weight, int(dense[exponent][()]))

    bias, scale = dense["bias"][first:].astype(np.int32), file.attrs["input_scale"]
    lateral = (synapse("weight_rec", "wgtExpRec", slice(first, None)),) if groups > 1 else ()
    return IntegerLayer(
        (synapse("weight", "wgtExp", slice(0, first or None)),),
        lateral if lateral and lateral[0].weight.any() else (),
        bias,
        np.full(bias.shape, BIAS_EXPONENT),
        groups=groups,
        scale=scale if np.ndim(scale) else float(scale),
        input_bits=int(file.attrs["input_bits"]),
    )
