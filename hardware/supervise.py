"""A worker process that tells its progress, and of which nothing stays behind.

Whatever happens to the worker or to this process, none of its processes lives on: the worker leads a process
group, which is ended when it is done, fails, stalls or is interrupted; and the worker ends it itself when its
standard input ends, because then this process is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

from snn_codec.errors import UserError

SECONDS_TO_TIDY = 2.0  # for what ends on SIGTERM


def run_worker(
    command: Sequence[str],
    name: str | os.PathLike,
    timeout: float,
    progress: Callable[[float], None],
    descriptors: Sequence[int] = (),
) -> None:
    """Run a worker that tells its progress in lines of JSON, until it says that it is done.

    Args:
        command: What to run.
        name: What errors call it.
        timeout: Seconds that it may take.
        progress: Is called with each number of `steps` that it tells.
        descriptors: Open files that it inherits.

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
                pass_fds=descriptors,
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
        for line in worker.stdout or ():
            lines.put(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            message = _parsed(lines.get(timeout=0.1))
        except queue.Empty:
            if worker.poll() is not None:
                reader.join(SECONDS_TO_TIDY)  # of its last words; children of it may hold the pipe for longer
                if lines.empty():
                    raise UserError(_obituary(worker.returncode, complaints, name)) from None
            continue
        if "error" in message:
            raise UserError(f"{name}: {message['error']}; `make lava-venv` makes what Lava needs")
        if "done" in message:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(SECONDS_TO_TIDY)
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
    """End the whole process group, which outlives its leader."""
    for number, wait in ((signal.SIGTERM, SECONDS_TO_TIDY), (signal.SIGKILL, 0)):
        try:
            os.killpg(worker.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline and _alive(worker):
            time.sleep(0.02)
    worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            pipe.close()


def _alive(worker: subprocess.Popen) -> bool:
    """Whether a process of the group is left; asking also takes leave of the leader if it ended."""
    worker.poll()
    try:
        os.killpg(worker.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
