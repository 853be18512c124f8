"""Spikes of a layer by Lava, which runs in a process of its own: it needs Python 3.10 and may hang or crash.

Layer, features and spikes pass through open files without a name, so that nothing is left on disk
whatever happens to either process; `snn_codec.hardware.supervise` sees to the processes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from snn_codec.errors import UserError
from snn_codec.hardware import lanes
from snn_codec.hardware.description import Description, description, encoder_description
from snn_codec.hardware.encoder import IntegerEncoder, split
from snn_codec.hardware.integers import IntegerLayer
from snn_codec.hardware.interpreter import lava_python
from snn_codec.hardware.layer import Layer
from snn_codec.hardware.supervise import run_worker

WORKER = Path(__file__).parent / "lava" / "worker.py"
SECONDS_TO_START = 120.0
SECONDS_A_STEP = 0.1  # many times what it takes


def in_lava(
    layer: Layer | IntegerLayer | IntegerEncoder,
    runs: Sequence[np.ndarray],
    *,
    net: str | os.PathLike | None = None,
    python: str | os.PathLike | None = None,
    timeout: float | None = None,
    progress: Callable[[float], None] = lambda steps: None,
) -> list[np.ndarray]:
    """Spikes of a layer as Lava's `floating_pt` or `fixed_pt` models make them.

    Args:
        layer: A `Layer` for floating point, an `IntegerLayer` for fixed point; or an `IntegerEncoder`.
        runs: Inputs `[width, steps]`: features, graded integers, or for an encoder frames of 16-bit audio. The neurons
            start each from rest.
        net: A file of `snn_codec.hardware.netx` that holds the layer, for lava-dl to build the network from.
        python: As in `lava_python`.
        timeout: Seconds that the worker may take; by default far more than it needs.
        progress: Is called with the number of steps done, of those of all runs.

    Returns:
        bool `[N, steps]` for each run.

    Raises:
        UserError: There is no Lava, or the worker failed, died, or took too long.
    """
    chosen = lava_python(python)
    steps = [run.shape[1] for run in runs]
    timeout = SECONDS_TO_START + SECONDS_A_STEP * sum(steps) if timeout is None else timeout
    if isinstance(layer, IntegerEncoder):
        rows = [part for run in runs for part in split(run)]
        return _worked(encoder_description(layer), rows, runs, chosen, timeout, progress)
    if net is not None:
        arrays = description(layer) | {"net": np.array(os.path.abspath(net))}
        return _worked(arrays, runs, runs, chosen, timeout, progress)
    count = lanes.lanes(layer, steps)
    laid = lanes.laid_out(layer, runs, count)
    arrays = description(lanes.side_by_side(layer, count))
    found = _worked(arrays, laid, laid, chosen, timeout, lambda done: progress(min(count * done, sum(steps))))
    return lanes.taken_apart(layer, found, steps, count)


def _worked(
    arrays: Description,
    rows: Sequence[np.ndarray],
    runs: Sequence[np.ndarray],
    python: str,
    timeout: float,
    progress: Callable[[float], None],
) -> list[np.ndarray]:
    """Spikes `[N, steps]` of each run, by a worker that gets these rows."""
    steps = [run.shape[1] for run in runs]
    dtype = np.dtype(np.float64 if str(arrays["tag"]) == "floating_pt" else np.int32)
    arrays = arrays | {"runs": np.array(steps), "dtype": np.array(dtype.str)}
    with (
        tempfile.TemporaryFile() as what,
        tempfile.TemporaryFile() as source,
        tempfile.TemporaryFile() as sink,
    ):
        np.savez(what, **arrays)
        for part in rows:
            np.ascontiguousarray(part.T, dtype).tofile(source)
        for file in (what, source):
            file.flush()
            file.seek(0)
        descriptors = [file.fileno() for file in (what, source, sink)]
        run_worker([python, str(WORKER), *map(str, descriptors)], python, timeout, progress, descriptors)
        return _spikes(sink, steps, int(arrays["latency"]), len(arrays["bias_mant"]))


def _spikes(sink, steps: list[int], late: int, units: int) -> list[np.ndarray]:
    """The sink's rows of packed bits as spikes `[N, steps]` of each run."""
    sink.seek(0)
    data = np.fromfile(sink, np.uint8)
    width, total = -(-units // 8), sum(steps) + late * len(steps)
    if len(data) != width * total:
        raise UserError(f"Lava wrote {len(data)} bytes instead of {width * total}; run it again")
    rows = data.reshape(-1, width)
    ends = np.cumsum(np.array(steps) + late)
    return [
        np.unpackbits(rows[end - run : end], axis=1, count=units).T.astype(bool)
        for run, end in zip(steps, ends, strict=True)
    ]
