"""A codec over the clips of a data set: one row a clip, and means with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.evaluation.metrics import si_snr, stft_distance
from snn_codec.events import CHUNK_STEPS
from snn_codec.training.datasets import clips

SAMPLES = 10_000


def evaluate(
    codec: Codec, paths: Sequence[Path], progress: Callable[[float], None] = lambda share: None
) -> list[dict[str, float | str | int]]:
    """One row for every whole clip of 2^17 samples (5.94 s) in the recordings, as the paper evaluates.

    A row has the recording's name, the clip's number in it, `si_snr` (dB), `stft_distance`, `kbps` (dense
    events and level, as bytes of a file without a header), `density` and `events_per_second`.

    Raises:
        UserError: A recording cannot be read, or none is long enough.
    """
    length, rate = CHUNK_STEPS * codec.settings.hop, codec.settings.sample_rate
    rows: list[dict[str, float | str | int]] = []
    for number, path in enumerate(paths):
        for index, clip in enumerate(clips([path], length, rate)):
            events = codec.encode(clip, rate)
            decoded = codec.decode(events)
            rows.append({
                "recording": path.name,
                "clip": index,
                "si_snr": si_snr(decoded, clip),
                "stft_distance": stft_distance(decoded, clip),
                "kbps": events.kbps(-(-events.costs["dense"] // 8) + len(events.levels)),
                "density": events.density,
                "events_per_second": events.events_per_second,
            })
        progress((number + 1) / len(paths))
    if not rows:
        raise UserError(f"none of the {len(paths)} recordings is {length / rate:.2f} s long; give longer ones")
    return rows


def summary(rows: Sequence[dict[str, float | str | int]], seed: int = 0) -> dict[str, dict[str, float]]:
    """For each measure: `mean`, `sd`, and `low`, `high`, the bootstrap 95 % interval of the mean.

    Recordings are resampled, not clips, because clips of one recording are alike. Clips without a value
    (silence) are left out; `clips` says how many counted.
    """
    random = np.random.default_rng(seed)
    names = np.array([row["recording"] for row in rows])
    groups = [np.flatnonzero(names == name) for name in np.unique(names)]
    picks = random.integers(0, len(groups), (SAMPLES, len(groups)))
    result = {}
    for measure in ("si_snr", "stft_distance", "kbps", "density", "events_per_second"):
        values = np.array([row[measure] for row in rows], float)
        counted = np.isfinite(values)
        sums = np.array([values[group][counted[group]].sum() for group in groups])
        counts = np.array([counted[group].sum() for group in groups])
        with np.errstate(invalid="ignore"):
            means = sums[picks].sum(1) / counts[picks].sum(1)
        low, high = np.nanpercentile(means, [2.5, 97.5])
        result[measure] = {
            "mean": float(values[counted].mean()) if counted.any() else float("nan"),
            "sd": float(values[counted].std(ddof=1)) if counted.sum() > 1 else float("nan"),
            "low": float(low),
            "high": float(high),
            "clips": int(counted.sum()),
        }
    return result
