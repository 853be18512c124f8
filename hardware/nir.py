"""A bottleneck in the Neuromorphic Intermediate Representation: Affine + LIF, which its readers have in common.

    tau dv/dt = v_leak - v + r I,   I = Affine(x);   a spike where v > v_threshold, then v = v_reset = 0

NIR has no order within a step, which groups need: each group sees the spikes of those before it. So they are
unrolled, G times all neurons with all lateral weights; in the k-th copy the spikes of groups 0 to k are right, and
the last one is the output. All copies get the drive of the affine map, of which none computes anything twice:

    u = Affine(x);   z_0 = LIF_0(u);   z_k = LIF_k(u + Lateral_k(z_(k-1)));   output z_(G-1)

With steps of dt, by Euler: beta = 1 - dt / tau, and the affine map carries the factor tau / dt, so that r is 1.
A stateless neuron has tau = dt. NIR has no time step, and snntorch assumes 0.1 ms, whatever the file says; so dt
is 0.1 ms here, and the metadata holds the real length of a step. Readers differ in what NIR leaves open:

    snntorch   import_from_nir(graph), its step is 0.1 ms
    norse      from_nir(graph, dt=1e-4)
    sinabs     from_nir(graph, batch_size=1), then spike_fn = SingleSpike: its neurons may spike many times a
               step; stateless neurons only, as it has another leak and subtracts

Readers that run a graph by the order in which nodes are first reached (norse, sinabs) need the edge from "affine" to
"lif0" to come first, as it does here.
"""

from __future__ import annotations

import os

import numpy as np

from snn_codec.errors import UserError
from snn_codec.files import replacing
from snn_codec.hardware.layer import Layer

STEP = 1e-4  # seconds; of the graph, not of the sound


def graph(layer: Layer, *, step_seconds: float, fingerprint: str = ""):
    """The layer as a `nir.NIRGraph`: input `[width]`, an Affine, an LIF for each group, output `[N]`.

    Raises:
        UserError: NIR or its readers cannot express the layer, or the package is missing.
    """
    try:
        import nir
    except ImportError as error:
        raise UserError("NIR needs the package nir; install it with pip install nir") from error

    if layer.beta > 0 and layer.reset != "zero":
        raise UserError(f"NIR's LIF resets to a value, so it cannot express reset={layer.reset}")
    units, width = layer.weight.shape
    scale = 1 / (1 - layer.beta)
    full = np.ones(units)

    def neurons() -> nir.LIF:
        return nir.LIF(
            tau=STEP * scale * full,
            r=full,
            v_leak=0 * full,
            v_threshold=layer.threshold * full,
            v_reset=0 * full,
        )

    weight = layer.weight if isinstance(layer.weight, np.ndarray) else layer.weight.toarray()
    nodes = {
        "input": nir.Input({"input": np.array([width])}),
        "affine": nir.Affine(weight * scale, layer.bias * scale),
        "lif0": neurons(),
    }
    edges = [("input", "affine"), ("affine", "lif0")]
    for k in range(1, layer.groups):
        # an Affine, as some readers have no Linear
        nodes |= {f"lateral{k}": nir.Affine(layer.lateral * scale, np.zeros(units)), f"lif{k}": neurons()}
        edges += [(f"lif{k - 1}", f"lateral{k}"), (f"lateral{k}", f"lif{k}"), ("affine", f"lif{k}")]
    nodes["output"] = nir.Output({"output": np.array([units])})
    edges.append((f"lif{layer.groups - 1}", "output"))
    return nir.NIRGraph(
        nodes=nodes,
        edges=edges,
        metadata={
            "dt": step_seconds,
            "dt_of_tau": STEP,
            "source": "snn_codec",
            "fingerprint": fingerprint,
        },
    )


def write(
    path: str | os.PathLike, layer: Layer, *, step_seconds: float, fingerprint: str, force: bool = False
) -> None:
    """Write `graph` to a file.

    Raises:
        UserError: As `graph`, or `path` cannot be written (`snn_codec.files.replacing`).
    """
    made = graph(layer, step_seconds=step_seconds, fingerprint=fingerprint)
    import nir

    with replacing(path, force=force) as temporary:
        nir.write(str(temporary), made)
