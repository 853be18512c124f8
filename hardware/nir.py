"""A bottleneck in the Neuromorphic Intermediate Representation: Affine + LIF, which its readers have in common.

    tau dv/dt = v_leak - v + r I,   I = Affine(x);   a spike where v > v_threshold, then v = v_reset = 0

With steps of dt, by Euler: beta = 1 - dt / tau, and the affine map carries the factor tau / dt, so that r is 1.
A stateless neuron has tau = dt. NIR has no time step, and snntorch assumes 0.1 ms, whatever the file says; so dt
is 0.1 ms here, and the metadata holds the real length of a step. Readers differ in what NIR leaves open:

    snntorch   import_from_nir(graph), its step is 0.1 ms
    norse      from_nir(graph, dt=1e-4)
    sinabs     from_nir(graph, batch_size=1), then spike_fn = SingleSpike: its neurons may spike many times a
               step; stateless neurons only, as it has another leak and subtracts
"""

from __future__ import annotations

import os

import numpy as np

from snn_codec.errors import UserError
from snn_codec.files import replacing
from snn_codec.hardware.layer import Layer

STEP = 1e-4  # seconds; of the graph, not of the sound


def graph(layer: Layer, *, step_seconds: float, fingerprint: str = ""):
    """The layer as a `nir.NIRGraph`: input `[width]`, one Affine, one LIF, output `[N]`.

    Raises:
        UserError: NIR or its readers cannot express the layer, or the package is missing.
    """
    try:
        import nir
    except ImportError as error:
        raise UserError("NIR needs the package nir; install it with pip install nir") from error

    if layer.groups > 1:
        raise UserError(
            "NIR has no order within a step, which the groups of a residual bottleneck need, and its readers "
            "take no delays; export a model with one group, or simulate this one on Lava"
        )
    if layer.beta > 0 and layer.reset != "zero":
        raise UserError(f"NIR's LIF resets to a value, so it cannot express reset={layer.reset}")
    units, width = layer.weight.shape
    scale = 1 / (1 - layer.beta)
    full = np.ones(units)
    return nir.NIRGraph(
        nodes={
            "input": nir.Input({"input": np.array([width])}),
            "affine": nir.Affine(layer.weight * scale, layer.bias * scale),
            "lif": nir.LIF(
                tau=STEP * scale * full, r=full, v_leak=0 * full, v_threshold=layer.threshold * full,
                v_reset=0 * full,
            ),
            "output": nir.Output({"output": np.array([units])}),
        },
        edges=[("input", "affine"), ("affine", "lif"), ("lif", "output")],
        metadata={
            "dt": step_seconds,
            "dt_of_tau": STEP,
            "source": "snn_codec",
            "fingerprint": fingerprint,
        },
    )  # fmt: skip


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
