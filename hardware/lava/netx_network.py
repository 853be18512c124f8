"""The network that lava-dl makes from a file of `snn_codec.hardware.netx`, with what netx does not read of it.

netx leaves out the shifts of both synapses (of a delayed one even its own). It also gives delayed synapses buffers
for 62 steps and computes all of them at every step, so these are cut to the delays that there are.
"""

import h5py
from lava.lib.dl.netx.hdf5 import Network


def load(path):
    """The network in a file of `export netx`; its attributes say the scale and bits of the input.

    With groups it has `width + N` inputs, of which the first `width` count, and as many outputs, of which the last
    N do; those of group k are k + 1 steps late.
    """
    with h5py.File(path, "r") as file:
        message_bits = int(file.attrs["input_bits"])
    network = Network(net_config=str(path), input_message_bits=message_bits)
    layer, config = network.layers[0], network.net_config["layer"][1]
    _shift(layer.synapse, int(config["wgtExp"]))
    if "weight_rec" in config.f:
        _shift(layer.synapse_rec, int(config.f["wgtExpRec"][()]))
        steps = int(config["delay"].max()) + 1
        for synapse in (layer.synapse, layer.synapse_rec):
            synapse.a_buff.shape = (synapse.a_buff.shape[0], steps)
    return network


def _shift(synapse, exponent):
    synapse.proc_params.overwrite("weight_exp", synapse.proc_params.get("weight_exp", 0) + exponent)
