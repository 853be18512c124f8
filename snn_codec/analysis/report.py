"""One self-contained HTML page: spectrogram, piano roll and raster over one time axis, with sound.

Everything is in the page (events as bits, sound as FLAC, so that it is exact); it works offline and asks nothing of
a server. Its code is `report.html` beside this file.
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
import soundfile

from snn_codec.analysis import notes
from snn_codec.analysis.notes import Score
from snn_codec.analysis.rows import Rows
from snn_codec.analysis.spectra import decibels, powers
from snn_codec.analysis.study import Study
from snn_codec.analysis.trains import EDGES, Trains, trains
from snn_codec.analysis.wording import NONE, figure, interval, length
from snn_codec.events import EventMatrix
from snn_codec.files import replacing, script_json

BANDS, LOWEST_HZ, HIGHEST_HZ, WINDOW = 120, 40.0, 10_000.0, 2048


def write(
    path: str | os.PathLike,
    study: Study,
    events: EventMatrix,
    score: Score,
    sounds: Mapping[str, np.ndarray],
    *,
    title: str = "",
    force: bool = False,
) -> None:
    """Write the page of one recording.

    Args:
        study: Gives the tuning of units, from all its recordings.
        events: Of the recording; `score`, its notes.
        sounds: Name to float `[samples]` at the rate of `events`: original, decoded, none, or any others.

    Raises:
        UserError: The file exists (without `force`), or cannot be written.
    """
    page = resources.files("snn_codec.analysis").joinpath("report.html").read_text(encoding="utf-8")
    data = script_json(_data(study, events, score, sounds, title))
    with replacing(path, force=force) as temporary:
        temporary.write_text(page.replace("/*DATA*/", data), encoding="utf-8")


def _data(
    study: Study, events: EventMatrix, score: Score, sounds: Mapping[str, np.ndarray], title: str
) -> dict[str, object]:
    rows, shown = study.rows, study.rows.merged(events)
    fired = trains(shown)
    score = score.within(events.n_steps, events.sample_rate, events.hop)
    played, grid = score.notes(), score.on(events)
    duration = events.n_steps * events.hop / events.sample_rate
    return {
        "title": title or study.model,
        "facts": f"model {study.model}: {events.n_units} units, {events.events_per_second:.0f} events a second, "
        f"{len(grid.onset)} notes",
        "units": shown.n_units,
        "row": "band" if rows.hertz is not None else "unit",
        "row_names": [rows.name(row) for row in range(rows.number)],
        "row_ticks": _ticks(rows),
        "steps": events.n_steps,
        "step_rate": events.step_rate,
        "duration": duration,
        "half_width": study.half_width,
        "key_names": [notes.name(key) for key in range(notes.KEYS)],
        "events": _base64(np.packbits(shown.events, axis=1)),
        "shades": None if rows.kind == "unit" else _base64(_shades(rows.counts(events))),
        "notes": {
            "onset": np.round(played.onset, 5).tolist(),
            "offset": np.round(played.offset, 5).tolist(),
            "key": grid.key.tolist(),
            "velocity": grid.velocity.tolist(),
            "step": grid.onset.tolist(),
        },
        "pedal": np.round(score.pedal / score.per_second, 4).tolist(),
        "bands": BANDS,
        "lowest_hz": LOWEST_HZ,
        "highest_hz": HIGHEST_HZ,
        "sounds": [
            {
                "name": name,
                "spectrogram": _base64(cells),
                "flac": _base64(_flac(sound, events.sample_rate)),
            }
            for (name, sound), cells in zip(
                sounds.items(), _spectrograms(list(sounds.values()), events), strict=True
            )
        ],
        "z": _base64(study.jitter.z().astype("<f4")),
        "prominence": _base64(study.prominence.astype("<f4")),
        "selective": _base64((np.nan_to_num(study.jitter.q(), nan=1) <= 0.05).astype(np.uint8)),
        "tuning": _of_rows(study, fired),
        "summary": _summary(study),
        "trains": _trains(fired, rows),
        "intervals": {"edges": EDGES.tolist(), "counts": fired.histogram.tolist()},
    }


def _of_rows(study: Study, fired: Trains) -> dict[str, list]:
    """Columns with one value a row."""
    columns = {
        name: [_number(value) for value in values]
        for name, values in study.tuning._asdict().items()
        if name != "best"
    }
    return {
        "best": study.tuning.best.tolist(),
        "rate": fired.rate.tolist(),
        "interval_ms": [_number(1000 * value) for value in fired.interval],
        "variation": [_number(value) for value in fired.variation],
        "needs": [_needs(study, row, keys) for row, keys in enumerate(study.jitter.selective())],
        "latency_ms": [_number(value / study.step_rate * 1000) for value in study.tuning.latency],
        **columns,
    }


def _shades(counts: np.ndarray) -> np.ndarray:
    """From 0, no event, to 255, 32 units or more that fire at once: uint8."""
    return np.where(counts > 0, np.clip(40 + 43 * np.log2(np.maximum(counts, 1)), 0, 255), 0).astype(np.uint8)


def _ticks(rows: Rows) -> list[int]:
    """Rows to name beside the raster: every octave's C of notes, or evenly spaced ones."""
    if rows.kind == "note":
        return [int(row) for row in np.flatnonzero((rows.keys + notes.LOWEST) % 12 == 0)]
    each = 20 if rows.number > 30 else 5
    return list(range(0, rows.number, each * max(rows.number // 200, 1)))


def _needs(study: Study, row: int, selective: np.ndarray) -> str:
    """For which keys a row is selective, bool `[88]`; or how much data it would take to say so."""
    keys = np.flatnonzero(selective)
    if len(keys):
        some = ", ".join(notes.name(int(key)) for key in keys[:6])
        return f"selective for {some}" + (f" and {len(keys) - 6} more" if len(keys) > 6 else "")
    key = int(study.needed.key[row])
    return f"not selective: {study.needed.words(row, study.seconds, notes.name(key) if key >= 0 else '')}"


def _summary(study: Study) -> list[tuple[str, str]]:
    found = study.summary()
    return [
        ("recordings", f"{found['recordings']}, {length(found['seconds'] / 60)}"),
        ("onsets", str(found["onsets"])),
        ("events per cell", f"{found['density']:.3f}"),
        ("prominence: chance, mean", f"{found['chance']:.4f}, {figure(found['mean_prominence'], 4)}"),
        ("largest prominence", interval(found["max_prominence"], 3)),
        (
            f"note-selective {'bands' if study.rows.hertz is not None else 'units'}",
            interval(found["selective_units"], 0),
        ),
    ]


def _trains(fired: Trains, rows: Rows) -> list[tuple[str, str]]:
    """Rates, intervals and synchrony in words."""

    def spread(values: np.ndarray, unit: str, digits: int) -> str:
        values = values[np.isfinite(values)]
        if not len(values):
            return NONE
        low, middle, high = np.percentile(values, (10, 50, 90))
        return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f}){unit}"

    what = "band" if rows.hertz is not None else "unit"
    return [
        (f"events a second and {what}", spread(fired.rate, "", 1)),
        ("interval", spread(1000 * fired.interval, " ms", 0)),
        ("variation of intervals", spread(fired.variation, "", 2)),
        (f"{what}s that never fire", f"{int((fired.rate == 0).sum())} of {rows.number}"),
        ("synchrony (SPIKE-contrast)", figure(fired.synchrony, 2)),
    ]


def _spectrograms(sounds: Sequence[np.ndarray], events: EventMatrix) -> list[np.ndarray]:
    """Decibels below the loudest cell of the first, so that levels compare: uint8 `[BANDS, T]` each from -80 to 0.

    Bands are at frequencies spaced by ratio.
    """
    window = max(WINDOW, events.hop)
    places = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS) * window / events.sample_rate
    places = np.minimum(places, window // 2 - 1)
    below, part = places.astype(int), (places % 1).astype(np.float32)

    def bands(power: np.ndarray) -> np.ndarray:
        return power[:, below] * (1 - part) + power[:, below + 1] * part

    found = [powers(sound, events.n_steps, events.hop, window, bands) for sound in sounds]
    return [
        np.round((decibels(each, float(found[0].max())) + 80) / 80 * 255).astype(np.uint8) for each in found
    ]


def _flac(sound: np.ndarray, sample_rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.clip(sound, -1, 1), sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _base64(data: np.ndarray | bytes) -> str:
    return base64.b64encode(data if isinstance(data, bytes) else data.tobytes()).decode()


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
