"""The live graph: source -> bottleneck -> sink, run once for each run of the neurons from rest."""

import os

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense
from processes.files import FileSink, FileSource
from processes.neurons import Bottleneck, DelayedSynapse, Graded, sparse
from scipy.sparse import csr_matrix, hstack

SLAB = 64  # steps between two reports


def simulate(layer, source, sink, progress):
    """Run the layer on each of its inputs (see `worker`); `progress` takes the steps done."""
    with os.fdopen(layer, "rb") as file, np.load(file) as arrays:
        description = dict(arrays)
    latency, tag = int(description["latency"]), str(description["tag"])
    width, units = int(description["width"]), len(description["bias_mant"])
    first = done = 0
    for rows in description["runs"].tolist():
        writer = FileSink(descriptor=sink, width=units)
        if "net" in description:
            network, entry = netx(description, writer)
        else:
            network = Bottleneck(description=description)
            network.s_out.connect(writer.s_in)
            entry = network.s_in
        file = {"descriptor": source, "dtype": str(description["dtype"]), "rows": rows}
        if "transforms" in description:
            transform(description, file | {"first": 2 * first}, entry)
        else:
            zeros = entry.shape[0] - width
            FileSource(**file, width=width, first=first, zeros=zeros).s_out.connect(entry)
        steps = rows + latency
        for start in range(0, steps, SLAB):
            count = min(SLAB, steps - start)
            network.run(RunSteps(num_steps=count), Loihi2SimCfg(select_tag=tag))
            progress(done + start + count)
        network.stop()
        first, done = first + rows, done + steps


def transform(description, file, entry):
    """Audio from two sources, of its high and low bytes, through four synapses to graded features."""
    features = Graded(
        offset=description["offset"], shift=description["shift"], largest=int(description["largest"])
    )
    features.s_out.connect(entry)
    width, rows = int(description["frame"]), file["rows"]
    for part, first in enumerate((file["first"], file["first"] + rows)):
        reader = FileSource(**(file | {"first": first}), width=width)
        for number in (2 * part, 2 * part + 1):
            synapse = Dense(
                weights=description[f"transform{number}_weight"],
                weight_exp=int(description[f"transform{number}_exponent"]),
                num_message_bits=16,
            )
            reader.s_out.connect(synapse.s_in)
            synapse.a_out.connect(features.a_in)


def netx(description, writer):
    """The network that lava-dl makes from the file `net`, its groups brought together, and its entry."""
    from netx_network import load

    network = load(str(description["net"]))
    units, outputs = len(description["bias_mant"]), network.out.shape[0]
    if int(description["groups"]) == 1:
        network.out.connect(writer.s_in)
    else:
        late = sparse(description, "output0")
        before = csr_matrix((late.shape[0], outputs - units))
        together = DelayedSynapse(weights=hstack([before, late], format="csr", dtype=int), units=units)
        network.out.connect(together.s_in)
        together.a_out.connect(writer.s_in)
    return network, network.inp
