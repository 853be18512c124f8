"""Lava makes the spikes of the reference; and whatever goes wrong is one sentence, and no process stays."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_quantise import features, random_layer

from snn_codec.errors import UserError
from snn_codec.hardware import interpreter, simulate, supervise
from snn_codec.hardware.integers import IntegerLayer, Synapse
from snn_codec.hardware.quantise import quantise

LEAKY = {"beta": 0.9, "threshold": 1.0}
KINDS = {
    "plain": {},
    "residual": {"groups": 4},
    "zero": {"reset": "zero", **LEAKY},
    "subtract": {"reset": "subtract", **LEAKY},
    "none": {"reset": "none", **LEAKY},
    "residual, zero": {"groups": 4, "reset": "zero", "beta": 0.5, "threshold": 0.5},
    "residual, subtract": {"groups": 2, "reset": "subtract", "beta": 0.3, "threshold": 0.5},
}


CASES = [
    *((kind, "float") for kind in KINDS if kind != "residual, subtract"),
    *((kind, 8) for kind in KINDS if kind not in ("none", "residual, zero")),
    ("residual, subtract", 15),
]


@pytest.mark.lava
@pytest.mark.parametrize(("kind", "bits"), CASES)
def test_lava_makes_the_same_spikes(kind, bits):
    layer, runs = random_layer(**KINDS[kind]), [features(steps=300), features(3, steps=1)]
    if bits != "float":
        layer = quantise(layer, 4.0, weight_bits=bits)
        runs = [layer.graded(run) for run in runs]
    told = []
    found = simulate.in_lava(layer, runs, python=sys.executable, timeout=600, progress=told.append)
    for spikes, run in zip(found, runs, strict=True):
        np.testing.assert_array_equal(spikes, layer.spikes(run))
    assert 0.02 < found[0].mean() < 0.98
    assert told[-1] == 301 and told == sorted(told)


@pytest.mark.lava
def test_extreme_integers_neither_wrap_nor_saturate_differently():
    """The largest weights, inputs, biases and thresholds that the limits allow, of both signs."""
    random = np.random.default_rng(0)
    for reset, decay in (("none", 4096), ("zero", 1), ("subtract", 100)):
        layer = IntegerLayer(
            (Synapse(random.choice([-127, 127], (16, 32)), -12),),
            (),
            random.choice([-4095, 4095], 16),
            np.full(16, 7 if decay == 4096 else 6),
            decay=decay,
            threshold=0 if decay == 4096 else 2**17 - 1000,
            reset=reset,
        )
        graded = random.choice([-32767, 32767], (32, 200)) * np.sign(layer.inputs[0].weight[:1].T)
        (found,) = simulate.in_lava(layer, [graded], python=sys.executable, timeout=600)
        np.testing.assert_array_equal(found, layer.spikes(graded))
        assert found.any()


# What can go wrong, played by small programs in place of the worker.
PLAYS = {
    "silent end": ("pass", "ended too early (exit status 0: it said nothing)"),
    "crash": ("raise OSError('no space')", "OSError: no space"),
    "killed": ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
    "says so": (
        'print(\'{"error": "has no Lava"}\', flush=True); import time; time.sleep(60)',
        "has no Lava",
    ),
    "hangs": ("import time; time.sleep(60)", "took more than 1 s"),
    "talks nonsense": ("while True: print('[1]', flush=True)", "took more than 1 s"),
}


@pytest.mark.parametrize("kind", PLAYS)
def test_a_failing_worker_is_one_sentence_and_leaves_no_process(kind, tmp_path, monkeypatch):
    code, expected = PLAYS[kind]
    script = tmp_path / "worker.py"
    began = []

    def clock():
        """Begins when the worker has: on a busy machine Python may take longer to start than it is given."""
        if not (tmp_path / "under way").exists():
            return 0.0
        began.append(time.monotonic())
        return began[-1] - began[0]

    monkeypatch.setattr(supervise, "time", SimpleNamespace(monotonic=clock, sleep=time.sleep))
    limit = 1.0 if "1 s" in expected else 60.0
    child = "import time; time.sleep(300)"
    script.write_text(
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        f"open({str(tmp_path / 'under way')!r}, 'w').close()\n{code}\n"
    )
    with pytest.raises(UserError) as caught:
        supervise.run_worker([sys.executable, str(script)], "python", limit, lambda steps: None)
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert gone(int((tmp_path / "pid").read_text()))


def gone(pid, seconds=10.0):
    """Whether the process ends; it may be a zombie of whoever adopts it."""

    def ended():
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    return wait_until(ended, seconds)


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.skipif(sys.version_info[:2] == (3, 10), reason="needs another Python than Lava's")
def test_the_wrong_python_is_named():
    with pytest.raises(UserError, match="is Python 3.*, but Lava runs on 3.10 only"):
        simulate.in_lava(random_layer(), [features(steps=2)], python=sys.executable)


def test_where_lava_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(interpreter.VARIABLE, raising=False)
    monkeypatch.setattr(interpreter, "__file__", str(tmp_path / "hardware" / "simulate.py"))
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    with pytest.raises(UserError, match="make lava-venv"):
        simulate.lava_python()
    with pytest.raises(UserError, match="--lava-python nowhere: is not a program"):
        simulate.lava_python("nowhere")
    python = tmp_path / ".venv-lava" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert simulate.lava_python() == str(python)
    monkeypatch.setenv(interpreter.VARIABLE, sys.executable)
    assert simulate.lava_python() == sys.executable
    monkeypatch.setenv(interpreter.VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=interpreter.VARIABLE):
        simulate.lava_python()
    monkeypatch.setenv("PATH", str(python.parent))
    assert simulate.lava_python("python") == str(python)


def test_last_words_of_a_worker_that_has_ended_are_heard():
    """On a busy machine it has ended before they are read."""

    class Worker:
        returncode = 0

        @property
        def stdout(self):
            time.sleep(0.5)
            yield b'{"steps": 7}\n'
            yield b'{"done": true}\n'

        def poll(self):
            return 0

        def wait(self, timeout):
            return 0

    heard = []
    supervise._follow(Worker(), io.BytesIO(), "a", 60, heard.append)
    assert heard == [7]


def test_a_program_that_is_no_python_is_refused():
    with pytest.raises(UserError, match="ended too early"):
        simulate.in_lava(random_layer(), [features(steps=2)], python="/bin/true", timeout=10)


@pytest.fixture
def simulating(tmp_path):
    """A process that runs a long simulation, and the ids of all processes of Lava, when it is under way."""
    code = (
        "import numpy as np, signal, sys\n"
        "from test_quantise import random_layer; from snn_codec.hardware import simulate\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in what runs in the background
        "simulate.in_lava(random_layer(beta=0.5), [np.zeros((64, 100000))], python=sys.executable,\n"
        "                 progress=lambda steps: print(steps, flush=True))"
    )
    here, temporary = Path(__file__).parent, tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{here}:{here.parent}", "TMPDIR": str(temporary)},
    )
    assert process.stdout.readline().strip() == "64"
    workers = descendants(process.pid)
    assert len(workers) > 4
    shared = {line.split("/dev/shm/")[1] for pid in workers for line in maps(pid) if "/dev/shm/psm" in line}
    assert shared
    yield process, workers
    process.kill()
    process.communicate()
    assert all(gone(pid) for pid in workers)
    assert list(temporary.iterdir()) == []
    assert wait_until(lambda: not any(Path("/dev/shm", name).exists() for name in shared))


def maps(pid):
    try:
        return Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:  # ended
        return []


def descendants(pid):
    """All processes below `pid`, the nearest first."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found


@pytest.mark.lava
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_when_this_process_ends_lava_ends(simulating, name):
    process, workers = simulating
    process.send_signal(getattr(signal, name))
    process.wait(60)


@pytest.mark.lava
@pytest.mark.parametrize("which", [0, -1])
def test_when_a_process_of_lava_is_killed_all_end_and_it_is_said(simulating, which):
    process, workers = simulating
    os.kill(workers[which], signal.SIGKILL)
    if which == -1:  # Lava waits for it for ever; the time-out of the simulation ends that
        process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=600)
    assert process.returncode != 0 and ("killed by signal 9" in complaint or which == -1)
