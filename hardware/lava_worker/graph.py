"""The live graph: source -> synapses -> neurons -> sink, and lateral synapses from the neurons to themselves."""

import os

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.lif.process import LIF
from processes import FileSink, FileSource, LeakyNeuron

SLAB = 256  # steps between two reports


def simulate(folder, progress):
    """Run the layer in `folder` (see `worker`) on each of its inputs; `progress` takes the steps done."""
    with np.load(os.path.join(folder, "layer.npz")) as file:
        layer = dict(file)
    before = 0
    for run in range(int(layer["runs"])):
        source = os.path.join(folder, f"run{run}.npy")
        sink = os.path.join(folder, f"run{run}.spikes")
        network = netx(layer, source, sink) if "net" in layer else build(layer, source, sink)
        # the last group's last spike: one step through the synapses, and one for each group before it
        steps = len(np.load(source, mmap_mode="r")) + int(layer["groups"])
        for start in range(0, steps, SLAB):
            count = min(SLAB, steps - start)
            network.run(RunSteps(num_steps=count), Loihi2SimCfg(select_tag=str(layer["tag"])))
            progress(before + start + count)
        network.stop()
        before += steps


def build(layer, source, sink):
    """The neurons of a new network that reads the file `source` and writes the file `sink`."""
    neurons = _neurons(layer)
    units, width = layer["input0_weight"].shape
    reader, writer = FileSource(source, width), FileSink(sink, units)
    for number in range(int(layer["inputs"])):
        synapse = _synapse(layer, "input", number, num_message_bits=int(layer["message_bits"]))
        if number == 0 and layer["decay"] != layer["unity"]:
            _hold(synapse, layer)
        reader.s_out.connect(synapse.s_in)
        synapse.a_out.connect(neurons.a_in)
    for number in range(int(layer["laterals"])):
        synapse = _synapse(layer, "lateral", number, num_message_bits=0)
        neurons.s_out.connect(synapse.s_in)
        synapse.a_out.connect(neurons.a_in)
    neurons.s_out.connect(writer.s_in)
    return neurons


def netx(layer, source, sink):
    """As `build`, but lava-dl makes the network from the file `layer["net"]`."""
    from lava.lib.dl.netx.hdf5 import Network

    network = Network(net_config=str(layer["net"]), input_message_bits=int(layer["message_bits"]))
    synapse = network.layers[0].synapse
    exponent = int(network.net_config["layer"][1]["wgtExp"])
    synapse.proc_params.overwrite("weight_exp", synapse.proc_params.get("weight_exp") + exponent)
    reader, writer = FileSource(source, network.inp.shape[0]), FileSink(sink, network.out.shape[0])
    reader.s_out.connect(network.inp)
    network.out.connect(writer.s_in)
    return network


def _synapse(layer, kind, number, **settings):
    weights = layer[f"{kind}{number}_weight"]
    settings["weight_exp"] = int(layer[f"{kind}{number}_exponent"])
    if int(layer["groups"]) == 1:
        return Dense(weights=weights, **settings)
    return DelayDense(weights=weights, delays=layer[f"{kind}_delay"], **settings)


def _hold(synapse, layer):
    """Keep leaky neurons at rest until their first input comes, by a current that cancels their bias."""
    wait = layer["input_delay"][:, 0] + 1  # steps
    held = -layer["bias_mant"]
    if synapse.a_buff.shape == held.shape:
        synapse.a_buff.init = held
    else:
        synapse.a_buff.init = np.where(np.arange(synapse.a_buff.shape[1]) < wait[:, None], held[:, None], 0)


def _neurons(layer):
    settings = {
        "shape": layer["bias_mant"].shape,
        "dv": layer["decay"].item(),
        "vth": layer["threshold"].item(),
        "bias_mant": layer["bias_mant"],
        "bias_exp": layer["bias_exp"],
    }
    if layer["reset"] == "zero" or layer["decay"] == layer["unity"]:
        return LIF(du=layer["current_decay"].item(), **settings)
    return LeakyNeuron(reset=str(layer["reset"]), **settings)
