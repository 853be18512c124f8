"""A codec over the clips of a data set: one row a clip, and means with bootstrap intervals."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.evaluation.metrics import si_snr, stft_distance
from snn_codec.events import CHUNK_STEPS, EventMatrix
from snn_codec.storage import bitstream
from snn_codec.storage.context import ContextModel
from snn_codec.training.datasets import clips

SAMPLES = 10_000
MEASURES = ("si_snr", "stft_distance", "kbps", "dense_kbps", "density", "events_per_second")


def evaluate(
    codec: Codec, paths: Sequence[Path], progress: Callable[[float], None] = lambda share: None
) -> list[dict[str, float | str | int]]:
    """One row for every whole clip of 2^17 samples (5.94 s) in the recordings, as the paper evaluates.

    A row has the recording's name, the clip's number in it, `si_snr` (dB), `stft_distance`, `kbps` (true bytes:
    the clip's chunk in a bitstream, with its level and checksum), `dense_kbps` (one bit a cell), `density` and
    `events_per_second`.

    Raises:
        UserError: A recording cannot be read, or none is long enough.
    """
    length, rate = CHUNK_STEPS * codec.settings.hop, codec.settings.sample_rate
    rows: list[dict[str, float | str | int]] = []
    for number, path in enumerate(paths):
        for index, clip in enumerate(clips([path], length, rate)):
            events = codec.encode(clip, rate)
            decoded = codec.decode(events)
            rows.append(
                {
                    "recording": path.name,
                    "clip": index,
                    "si_snr": si_snr(decoded, clip),
                    "stft_distance": stft_distance(decoded, clip),
                    "kbps": events.kbps(_chunk_bytes(events, codec.context)),
                    "dense_kbps": events.kbps(events.costs["dense"] / 8),
                    "density": events.density,
                    "events_per_second": events.events_per_second,
                }
            )
        progress((number + 1) / len(paths))
    if not rows:
        raise UserError(
            f"none of the {len(paths)} recordings is {length / rate:.2f} s long; give longer ones"
        )
    return rows


def _chunk_bytes(events: EventMatrix, context: ContextModel | None) -> int:
    """Of a bitstream of these events, without what a file has once."""
    file = io.BytesIO()
    bitstream.write(file, events, model=context)
    file.seek(0)
    parts = bitstream.breakdown(file)
    return parts["total"] - parts["header"] - parts["trailer"]


def summary(rows: Sequence[dict[str, float | str | int]], seed: int = 0) -> dict[str, dict[str, float]]:
    """For each measure: `mean`, `sd`, and `low`, `high`, the bootstrap 95 % interval of the mean.

    Recordings are resampled, not clips, because clips of one recording are alike. Clips without a value
    (silence) are left out; `clips` says how many counted.
    """
    names = [row["recording"] for row in rows]
    return {
        measure: interval(np.array([row[measure] for row in rows], float), names, seed)
        for measure in MEASURES
    }


def differences(
    rows: Sequence[dict[str, float | str | int]],
    others: Sequence[dict[str, float | str | int]],
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """As `summary`, of `rows` minus `others`, clip by clip: how much one model differs from another.

    Raises:
        UserError: The two are not of the same clips.
    """
    names = [(row["recording"], row["clip"]) for row in rows]
    if names != [(row["recording"], row["clip"]) for row in others]:
        raise UserError(
            "the two evaluations are not of the same clips; evaluate both models on the same data"
        )
    pairs = [
        {measure: float(row[measure]) - float(other[measure]) for measure in MEASURES}
        | {"recording": row["recording"]}
        for row, other in zip(rows, others, strict=True)
    ]
    return summary(pairs, seed)


def interval(values: np.ndarray, groups: Sequence[object], seed: int = 0) -> dict[str, float]:
    """`mean`, `sd`, and the bootstrap 95 % interval `low`, `high` of values that come in alike groups."""
    random = np.random.default_rng(seed)
    _, numbers = np.unique(np.array(groups, str), return_inverse=True)
    counted = np.isfinite(values)
    sums = np.bincount(numbers, np.where(counted, values, 0))
    counts = np.bincount(numbers, counted)
    picks = random.integers(0, len(sums), (SAMPLES, len(sums)))
    with np.errstate(invalid="ignore"):
        means = sums[picks].sum(1) / counts[picks].sum(1)
    low, high = np.nanpercentile(means, [2.5, 97.5]) if counted.any() else (float("nan"),) * 2
    return {
        "mean": float(values[counted].mean()) if counted.any() else float("nan"),
        "sd": float(values[counted].std(ddof=1)) if counted.sum() > 1 else float("nan"),
        "low": float(low),
        "high": float(high),
        "clips": int(counted.sum()),
    }
