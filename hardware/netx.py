"""A bottleneck in the files of lava-dl's netx (`lava.lib.dl.netx.hdf5.Network`): plain HDF5, no Lava needed.

    /layer/0      type "input", shape [width]
    /layer/1      type "dense", shape [N], weight float32 (out, in), bias float32, and
        wgtExp    what netx does not read and its user must add to the exponent of the synapse
        neuron/   type "CUBA", iDecay, vDecay, vThMant, refDelay, gradedSpike

Attributes of the file tell the scale and bits of the graded input, the grid and the model. Behind the HDF5 data
stands the seal of `snn_codec.storage.h5`. To run a file by hand:

    network = Network(net_config="bottleneck.net", input_message_bits=16)
    synapse = network.layers[0].synapse
    exponent = int(network.net_config["layer"][1]["wgtExp"])
    synapse.proc_params.overwrite("weight_exp", synapse.proc_params.get("weight_exp") + exponent)

The first step of the output is the neurons' without any input; leave it out.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import h5py
import numpy as np

from snn_codec.errors import UserError
from snn_codec.files import replacing
from snn_codec.hardware.quantise import UNITY, IntegerLayer, Synapse
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
    (synapse,) = layer.inputs
    with replacing(path, force=force) as temporary:
        with h5py.File(temporary, "w") as file:
            file.attrs.update(
                format=FORMAT,
                input_scale=layer.scale,
                input_bits=layer.input_bits,
                step_rate=step_rate,
                fingerprint=fingerprint,
            )
            units, width = synapse.weight.shape
            first, second = file.create_group("layer/0"), file.create_group("layer/1")
            first["shape"], first["type"] = np.array([width]), np.array([b"input"], "S10")
            second["shape"], second["type"] = np.array([units]), np.array([b"dense"], "S10")
            second["weight"] = (2 * synapse.weight).astype(np.float32)
            second["bias"] = layer.bias_mantissa.astype(np.float32)
            second["wgtExp"] = synapse.exponent
            second["inFeatures"], second["outFeatures"] = width, units
            neuron = second.create_group("neuron")
            neuron.create_dataset("type", data="CUBA", dtype=h5py.string_dtype())
            for name, value in {
                "iDecay": UNITY, "vDecay": layer.decay, "vThMant": layer.threshold, "refDelay": 1, "gradedSpike": 0,
            }.items():  # fmt: skip
                neuron[name] = value
        seal(temporary)


def _check_expressible(path: object, layer: IntegerLayer) -> None:
    reasons = {
        "has no lateral connections, which the groups of a residual bottleneck need": layer.groups > 1,
        "starts with a step of bias alone, which a leaky neuron would remember": layer.decay != UNITY,
        "has one synapse of 8 bits for each weight": len(layer.inputs) > 1,
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
            dense = file["layer/1"]
            bias = dense["bias"][:].astype(np.int32)
            layer = IntegerLayer(
                (Synapse(dense["weight"][:].astype(np.int32) // 2, int(dense["wgtExp"][()])),),
                (),
                bias,
                np.full(bias.shape, BIAS_EXPONENT),
                scale=float(file.attrs["input_scale"]),
                input_bits=int(file.attrs["input_bits"]),
            )
            return layer, str(file.attrs["fingerprint"])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: is not a network that `export netx` wrote ({error})") from error
