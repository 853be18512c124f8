"""Simulate a layer in Lava: `python hardware/lava/worker.py LAYER INPUT OUTPUT`, by a Python 3.10 that has Lava.

The arguments are file descriptors. LAYER is an .npz of `snn_codec.hardware.description` and of `runs`, the steps
of each run from rest. INPUT has a row of `width` numbers for each step of all runs; before a transform, a row of
`frame` numbers, for each run those of h and then those of l (`snn_codec.hardware.encoder`). OUTPUT gets a row of packed
spikes for each step, the first `latency` rows of a run being those before its first input. Lines of JSON on
stdout tell what has been done, or what went wrong. When stdin ends, the process that started this has ended, and all
processes end. Nothing of `snn_codec` needs to be installed here.
"""

import json
import multiprocessing.connection
import os
import signal
import sys
import threading
import uuid
from multiprocessing import resource_tracker


def say(**facts):
    print(json.dumps(facts), flush=True)


def watch_parent():
    while os.read(0, 4096):  # not sys.stdin: its lock, held here, would block the processes that Lava forks
        pass
    if os.getpgrp() == os.getpid():
        # not SIGKILL: Python's resource tracker ignores this one, removes Lava's shared memory and ends by itself
        os.killpg(os.getpgrp(), signal.SIGTERM)
    os._exit(1)


def nameless(family):
    """An address without a file, where Linux has that, for the sockets of Lava's shared memory manager."""
    return f"\0snn-codec-{uuid.uuid4()}"


def main(descriptors):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=watch_parent, daemon=True).start()
    if sys.version_info[:2] != (3, 10):
        say(error=f"is Python {sys.version_info[0]}.{sys.version_info[1]}, but Lava runs on 3.10 only")
        return
    if sys.platform == "linux":
        multiprocessing.connection.arbitrary_address = nameless
    try:
        import lava.proc.dense.process  # noqa: F401
    except ImportError as error:
        say(error=f"has no Lava ({error})")
        return
    from graph import simulate

    simulate(*descriptors, lambda steps: say(steps=steps))
    say(done=True)
    resource_tracker._resource_tracker._stop()  # and is its parent to the end: others may be slow to adopt it


if __name__ == "__main__":
    try:
        main([int(argument) for argument in sys.argv[1:]])
    except BaseException as error:
        say(error=f"failed in Lava ({type(error).__name__}: {error})")
    sys.stdout.flush()
    os._exit(0)  # Lava's threads would keep the interpreter
