"""Work for worker processes, which import this module: so it imports nothing that takes long."""

import os
import resource
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from snn_codec.errors import UserError
from snn_codec.files import replacing
from snn_codec.parallel import Parallelism, Ranks

HELD_BACK = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # while this module is imported


def held_back(state, job):
    """Signals that are held back in a worker: when it starts, and when it works."""
    return HELD_BACK, signal.pthread_sigmask(signal.SIG_BLOCK, ())


def state():
    return 10


def times(state, job):
    if job == 13:
        raise UserError("thirteen: brings bad luck; leave it out")
    return state * job, os.getpid()


def dies(state, job):
    os._exit(9)


def missing(text):
    raise UserError(text)


def writes_slowly(state, path):
    with replacing(path) as temporary:
        temporary.write_text("half")
        path.with_suffix(".begun").write_text(str(os.getpid()))
        time.sleep(0 if path.stem == "quick" else 600)


@contextmanager
def room_for(n_bytes):
    """No file may grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what runs in the background
    folder = Path(sys.argv[1])
    names = sys.argv[2:] or range(5)
    list(Ranks(Parallelism(2)).map(writes_slowly, state, [folder / f"{name}.txt" for name in names]))
