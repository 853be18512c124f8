"""Simulate a layer in Lava: `python hardware/lava_worker/worker.py FOLDER`, by a Python 3.10 that has Lava.

FOLDER/layer.npz says what to build, FOLDER/run<i>.npy is the input `[steps, width]` of each run from rest;
FOLDER/run<i>.spikes gets one byte a neuron and step. Lines of JSON on stdout tell what has been done, or what
went wrong. When stdin ends, whoever started this is gone, and the whole process group goes too.
"""

import json
import os
import signal
import sys
import threading


def say(**facts):
    print(json.dumps(facts), flush=True)


def watch_parent():
    while os.read(0, 4096):  # not sys.stdin: its lock, held here, would block the processes that Lava forks
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def main(folder):
    threading.Thread(target=watch_parent, daemon=True).start()
    if sys.version_info[:2] != (3, 10):
        say(error=f"is Python {sys.version_info[0]}.{sys.version_info[1]}, but Lava runs on 3.10 only")
        return
    try:
        import lava.proc.dense.process  # noqa: F401
    except ImportError as error:
        say(error=f"has no Lava ({error})")
        return
    from graph import simulate

    simulate(folder, lambda steps: say(steps=steps))
    say(done=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except BaseException as error:
        say(error=f"failed in Lava ({type(error).__name__}: {error})")
    sys.stdout.flush()
    os._exit(0)  # Lava's threads would keep the interpreter
