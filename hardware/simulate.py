"""Spikes of a layer by Lava, which runs in a process of its own: it needs Python 3.10 and may hang or crash.

Whatever happens to the worker or to this process, no process of Lava stays behind: the worker leads a process
group, which is killed when the simulation ends, fails, stalls or is interrupted; and the worker kills it
itself when its standard input ends, because then this process is gone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from snn_codec.errors import UserError
from snn_codec.hardware.layer import Layer, delays
from snn_codec.hardware.quantise import UNITY, IntegerLayer

WORKER = Path(__file__).parent / "lava_worker" / "worker.py"
VARIABLE = "SNN_CODEC_LAVA_PYTHON"
SECONDS_TO_START = 120.0
SECONDS_A_STEP = 0.1  # many times what it takes


def lava_python(given: str | os.PathLike | None = None) -> str:
    """The interpreter that has Lava: `given`, $SNN_CODEC_LAVA_PYTHON, .venv-lava here or beside us, or this one.

    Raises:
        UserError: None is there.
    """
    for chosen, origin in ((given, "--lava-python"), (os.environ.get(VARIABLE), VARIABLE)):
        if chosen:
            if not os.access(chosen, os.X_OK) or os.path.isdir(chosen):
                raise UserError(
                    f"{origin} {chosen}: is not a program; give the Python of the Lava environment"
                )
            return str(chosen)
    for folder in (Path.cwd(), Path(__file__).parent.parent):
        python = folder / ".venv-lava" / "bin" / "python"
        if python.exists():
            return str(python)
    if sys.version_info[:2] == (3, 10) and importlib.util.find_spec("lava"):
        return sys.executable
    raise UserError(
        f"Lava is not here; make it with `make lava-venv`, or name a Python 3.10 that has lava-dl "
        f"with --lava-python or {VARIABLE}"
    )


def in_lava(
    layer: Layer | IntegerLayer,
    runs: Sequence[np.ndarray],
    *,
    net: str | os.PathLike | None = None,
    python: str | os.PathLike | None = None,
    timeout: float | None = None,
    progress: Callable[[float], None] = lambda steps: None,
) -> list[np.ndarray]:
    """Spikes of a layer as Lava's `floating_pt` or `fixed_pt` models make them.

    Args:
        layer: A `Layer` for floating point, an `IntegerLayer` for fixed point.
        runs: Inputs `[width, steps]`, features or graded integers; the neurons start each from rest.
        net: A file of `snn_codec.hardware.netx` that holds the layer, for lava-dl to build the network from.
        python: As in `lava_python`.
        timeout: Seconds that the worker may take; by default far more than it needs.
        progress: Is called with the number of steps done.

    Returns:
        bool `[N, steps]` for each run.

    Raises:
        UserError: There is no Lava, or the worker failed, died, or took too long.
    """
    python = lava_python(python)
    description = _description(layer) | {"runs": np.array(len(runs))}
    if net is not None:
        description["net"] = np.array(os.path.abspath(net))
    steps = sum(run.shape[1] + layer.groups for run in runs)
    timeout = SECONDS_TO_START + SECONDS_A_STEP * steps if timeout is None else timeout
    with tempfile.TemporaryDirectory(prefix="snn-codec-lava-") as name:
        folder = Path(name)
        np.savez(folder / "layer.npz", **description)
        dtype = np.int32 if isinstance(layer, IntegerLayer) else np.float64
        for number, run in enumerate(runs):
            np.save(folder / f"run{number}.npy", np.ascontiguousarray(run.T, dtype))
        run_worker([python, str(WORKER), name], python, timeout, progress)
        units = len(description["bias_mant"])
        return [
            _realigned(folder / f"run{number}.spikes", units, run.shape[1], layer.groups)
            for number, run in enumerate(runs)
        ]


def _realigned(path: Path, units: int, steps: int, groups: int) -> np.ndarray:
    """The sink's bytes as spikes `[N, steps]`; group k is k + 1 steps late."""
    rows = np.fromfile(path, np.uint8) if path.exists() else np.zeros(0, np.uint8)
    if len(rows) != units * (steps + groups):
        raise UserError(f"Lava wrote {len(rows)} cells instead of {units * (steps + groups)}; run it again")
    rows = rows.reshape(-1, units)
    late = 1 + delays(units, groups)[0]
    return rows[np.arange(steps) + late[:, None], np.arange(units)[:, None]].astype(bool)


def _description(layer: Layer | IntegerLayer) -> dict[str, np.ndarray]:
    """What the worker builds (`snn_codec.hardware.lava_worker.graph`), in one form for both arithmetics."""
    if isinstance(layer, IntegerLayer):
        inputs = [(2 * synapse.weight, synapse.exponent) for synapse in layer.inputs]
        laterals = [(2 * synapse.weight, synapse.exponent) for synapse in layer.laterals]
        facts = {
            "tag": "fixed_pt", "unity": UNITY, "decay": layer.decay, "current_decay": UNITY - 1,
            "bias_mant": layer.bias_mantissa, "bias_exp": layer.bias_exponent,
            "message_bits": layer.input_bits,
        }  # fmt: skip
    else:
        inputs, laterals = [(layer.weight, 0)], [(layer.lateral, 0)] if layer.groups > 1 else []
        facts = {
            "tag": "floating_pt", "unity": 1.0, "decay": 1 - layer.beta, "current_decay": 1.0,
            "bias_mant": layer.bias, "bias_exp": np.zeros_like(layer.bias),
            "message_bits": 16,
        }  # fmt: skip
    units, width = inputs[0][0].shape
    input_delay, lateral_delay = delays(units, layer.groups)
    facts |= {
        "threshold": layer.threshold,
        "reset": layer.reset,
        "groups": layer.groups,
        "input_delay": np.repeat(input_delay[:, None], width, 1),
        "lateral_delay": lateral_delay,
        "inputs": len(inputs),
        "laterals": len(laterals),
    }
    for kind, synapses in (("input", inputs), ("lateral", laterals)):
        for number, (weight, exponent) in enumerate(synapses):
            facts |= {f"{kind}{number}_weight": weight, f"{kind}{number}_exponent": exponent}
    return {name: np.asarray(value) for name, value in facts.items()}


def run_worker(
    command: Sequence[str], name: str | os.PathLike, timeout: float, progress: Callable[[float], None]
) -> None:
    """Run a worker that tells its progress in lines of JSON, until it says that it is done.

    Raises:
        UserError: It cannot be started, says that something is wrong, ends without being done, or takes more
            than `timeout` seconds.
    """
    with tempfile.TemporaryFile() as complaints:
        try:
            worker = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise UserError(f"{name}: cannot be started ({error.strerror}); is it a Python?") from error
        try:
            _follow(worker, complaints, name, timeout, progress)
        finally:
            _end(worker)


def _follow(
    worker: subprocess.Popen, complaints: IO[bytes], name: object, timeout: float, progress: Callable
) -> None:
    lines: queue.Queue[bytes] = queue.Queue(maxsize=1000)

    def read() -> None:
        for line in worker.stdout:
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            message = _parsed(lines.get(timeout=0.1))
        except queue.Empty:
            # children of the worker may hold the pipe, so its end says nothing
            if worker.poll() is not None and lines.empty():
                raise UserError(_obituary(worker.returncode, complaints, name)) from None
            continue
        if "error" in message:
            raise UserError(f"{name}: {message['error']}; `make lava-venv` makes what Lava needs")
        if "done" in message:
            return
        progress(message.get("steps", 0))
    raise UserError(f"{name}: Lava took more than {timeout:.0f} s and was stopped; give a larger --timeout")


def _parsed(line: bytes) -> dict:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _obituary(status: int, complaints: IO[bytes], name: object) -> str:
    complaints.seek(0)
    last = complaints.read().decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return f"{name}: the Lava worker ended too early ({how}: {last[0][:200]}); is it the Python of Lava?"


def _end(worker: subprocess.Popen) -> None:
    """Kill the whole process group, which outlives its leader."""
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        pipe.close()
