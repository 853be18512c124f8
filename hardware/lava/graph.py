"""The live graph: source -> bottleneck -> sink, run once for each run of the neurons from rest."""

import os

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from processes.files import FileSink, FileSource
from processes.neurons import Bottleneck

SLAB = 256  # steps between two reports


def simulate(layer, source, sink, progress):
    """Run the layer on each of its inputs (see `worker`); `progress` takes the steps done."""
    with os.fdopen(layer, "rb") as file, np.load(file) as arrays:
        description = dict(arrays)
    latency, tag = int(description["latency"]), str(description["tag"])
    first = done = 0
    for rows in description["runs"].tolist():
        reader = FileSource(
            descriptor=source,
            dtype=str(description["dtype"]),
            width=int(description["width"]),
            first=first,
            rows=rows,
        )
        network = netx(description) if "net" in description else Bottleneck(description=description)
        entry, exit = (network.inp, network.out) if "net" in description else (network.s_in, network.s_out)
        writer = FileSink(descriptor=sink, width=exit.shape[0])
        reader.s_out.connect(entry)
        exit.connect(writer.s_in)
        steps = rows + latency
        for start in range(0, steps, SLAB):
            count = min(SLAB, steps - start)
            network.run(RunSteps(num_steps=count), Loihi2SimCfg(select_tag=tag))
            progress(done + start + count)
        network.stop()
        first, done = first + rows, done + steps


def netx(description):
    """The network that lava-dl makes from the file `net`."""
    from lava.lib.dl.netx.hdf5 import Network

    network = Network(net_config=str(description["net"]), input_message_bits=int(description["message_bits"]))
    synapse = network.layers[0].synapse
    exponent = int(network.net_config["layer"][1]["wgtExp"])
    synapse.proc_params.overwrite("weight_exp", synapse.proc_params.get("weight_exp") + exponent)
    return network
