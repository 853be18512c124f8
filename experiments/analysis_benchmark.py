"""Time and memory of the analysis, and its chance level, on events that have nothing to do with the notes.

    python experiments/analysis_benchmark.py [--hours 3]

80 units that fire half of the time and 88 keys, in recordings of five minutes; one thread.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402 - after the number of threads is set

from snn_codec.analysis import correlation, nulls  # noqa: E402
from snn_codec.analysis.correlation import Correlation  # noqa: E402

STEPS = 300 * 22050 // 512  # of a recording
ONSET_RATE = 10 * 512 / 22050 / 88  # a step and key: ten notes a second


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=3.0)
    hours = parser.parse_args().hours
    random, took = np.random.default_rng(0), dict.fromkeys(("correlation", "jitter null", "shift null"), 0.0)
    sums, jitter, shifts = Correlation(80), None, None
    for _ in range(max(1, round(hours * 12))):
        events, onsets = random.random((80, STEPS)) < 0.5, random.random((88, STEPS)) < ONSET_RATE
        times = [time.perf_counter()]
        sums.add(events, onsets)
        times.append(time.perf_counter())
        null = nulls.jitter(events, onsets)
        jitter = null if jitter is None else jitter + null
        times.append(time.perf_counter())
        null = nulls.shifts(events, onsets)
        shifts = null if shifts is None else shifts + null
        times.append(time.perf_counter())
        for name, seconds in zip(took, np.diff(times), strict=True):
            took[name] += seconds
    began = time.perf_counter()
    counts = sums.counts()
    took["correlation"] += time.perf_counter() - began
    # kilobytes on Linux, bytes on macOS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(f"{sums.recordings} recordings, {sums.recordings / 12:.2f} hours, {sums.onsets.sum()} onsets")
    print(", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items()) + f", peak {peak:.0f} MiB")
    for half_width in (4, correlation.HALF_WIDTH):
        found = correlation.prominence(counts, half_width)
        error = found.std() / np.sqrt(found.size)
        expected = correlation.chance(half_width)
        print(f"prominence, |tau| <= {half_width}: {found.mean():.5f} +- {error:.5f}, chance {expected:.5f}")
    for name, null in (("jitter", jitter), ("shifts", shifts)):
        print(
            f"{name}: {int(null.selective().any(1).sum())} of 80 units found at 5 %, "
            f"sd of z {np.nanstd(null.z()):.3f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
