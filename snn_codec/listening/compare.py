"""One page to switch between versions of one recording, in sync, with their spectrograms and rasters."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy import signal

from snn_codec import checkpoints
from snn_codec.analysis.rows import rows_of
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.files import check_writable, replacing
from snn_codec.listening import pages, signals
from snn_codec.listening.conditions import PADDING, check_excerpt, read_seconds, to_test_rate
from snn_codec.listening.signals import RATE
from snn_codec.plots import check_matplotlib
from snn_codec.storage import event_files

LONGEST = 120  # seconds: the page holds every version
PEAK = 0.98
LOWEST, HIGHEST = 50, 20_000  # Hz of the pictures
ROWS, COLUMNS = 200, 1200  # of the pictures


class Version(NamedTuple):
    """Sound at 48 kHz; of decoded sound also events, model, frequencies of units, and which of several recordings."""

    path: Path
    audio: np.ndarray
    events: EventMatrix | None = None
    model: str = ""
    hertz: np.ndarray | None = None
    recording: str | None = None


def compare(
    paths: Sequence[Path],
    output: Path,
    *,
    model: str | None = None,
    recording: str | None = None,
    start: float = 0,
    seconds: float = 30,
    force: bool = False,
) -> None:
    """Write a page to hear recordings and event files of one piece of music; it needs no other file.

    All get the length and the loudness (BS.1770-4) of the first. Sound files are aligned with it in time, events are
    not. The page states each shift and gain.

    Args:
        model: Decodes event files; by default the shipped model that made each of them.
        recording: Which one of `.h5` files that hold several.
        start: Where the excerpt begins, in seconds; `seconds` is its length.

    Raises:
        UserError: Something cannot be read, matplotlib is missing, or `output` exists (without `force`).
    """
    if len(paths) < 2:
        raise UserError("there is one version; give two or more to compare")
    check_excerpt(start, seconds, LONGEST)
    check_matplotlib()
    check_writable(output, force=force)
    versions = [_version(path, model, recording, start, seconds) for path in paths]
    if recording is not None and all(version.recording is None for version in versions):
        raise UserError(f"no file holds several recordings; leave out {recording!r}")
    first = versions[0].audio[: round(seconds * RATE)]
    if len(first) < RATE:
        raise UserError(f"{paths[0]}: has {len(first) / RATE:.1f} s from {start} s on; a second is the least")
    lags = [0 if v.events or v is versions[0] else signals.lag(v.audio, first) for v in versions]
    sounds = [signals.shifted(v.audio, late, len(first)) for v, late in zip(versions, lags, strict=True)]
    gains = _gains(sounds)
    sounds = [signals.faded(sound * np.float32(gain)) for sound, gain in zip(sounds, gains, strict=True)]
    top = max(float(np.abs(sound).max()) for sound in sounds) or 1.0
    data = {
        "title": ", ".join(path.name for path in paths),
        "ticks": [
            [text, float(_height(hertz))] for text, hertz in (("100", 100), ("1k", 1000), ("10k", 10_000))
        ],
        "versions": [
            {
                "name": version.path.name,
                "note": _note(version, late, gain / gains[0]),
                "audio": _flac(sound),
                "spectrogram": _spectrogram(sound / top),
                "raster": version.events and _raster(version, start, len(first) / RATE),
            }
            for version, sound, late, gain in zip(versions, sounds, lags, gains, strict=True)
        ],
    }
    with replacing(output, force=force) as temporary:
        temporary.write_text(pages.page("compare", data), encoding="utf-8")


def _version(path: Path, model: str | None, recording: str | None, start: float, seconds: float) -> Version:
    if path.suffix.lower() in event_files.SUFFIXES:
        from snn_codec.codec import Codec

        chosen = recording if _holds_several(path) else None
        model = model or checkpoints.shipped(event_files.fingerprint(path, chosen)) or checkpoints.DEFAULT
        codec = Codec.load(model)
        events = event_files.read(path, chosen, entropy_model=codec.entropy_model)
        first, stop = (round(second * events.sample_rate) for second in (start, start + seconds))
        return Version(
            path,
            _sound(codec.decode(events)[first:stop], events.sample_rate, path, start),
            events,
            Path(model).name,
            codec.settings.unit_hertz(),
            chosen,
        )
    samples, rate = read_seconds(path, start, start + seconds + PADDING / RATE)
    return Version(path, _sound(samples, rate, path, start))


def _holds_several(path: Path) -> bool:
    if event_files.is_bitstream(path):
        return False
    from snn_codec.storage import h5

    return len(h5.names(path)) > 1


def _sound(samples: np.ndarray, rate: int, path: Path, start: float) -> np.ndarray:
    if not len(samples):
        raise UserError(f"{path}: has nothing from {start} s on")
    return to_test_rate(samples, rate)


def _gains(sounds: Sequence[np.ndarray]) -> list[float]:
    """What makes each as loud as the first, and none clip; silence is left alone."""
    loudness = [signals.loudness(sound) for sound in sounds]
    gains = [
        10 ** ((loudness[0] - value) / 20) if np.isfinite([value, loudness[0]]).all() else 1.0
        for value in loudness
    ]
    peak = max(gain * float(np.abs(sound).max()) for gain, sound in zip(gains, sounds, strict=True))
    return [gain * min(1.0, PEAK / max(peak, 1e-9)) for gain in gains]


def _note(version: Version, late: int, gain: float) -> str:
    parts = [f"recording {version.recording}"] if version.recording else []
    if version.model:
        parts.append(f"decoded by {version.model}")
    if late:
        parts.append(f"was {abs(late) / RATE * 1000:.2f} ms {'late' if late > 0 else 'early'}")
    if abs(20 * np.log10(gain)) >= 0.05:
        parts.append(f"made {abs(20 * np.log10(gain)):.1f} dB {'louder' if gain > 1 else 'softer'}")
    return ", ".join(parts)


def _flac(sound: np.ndarray) -> str:
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="FLAC", subtype="PCM_16")
    return base64.b64encode(file.getvalue()).decode()


def _height(hertz: float | np.ndarray) -> np.ndarray:
    """Share of the picture's height at which this frequency is."""
    return np.log(np.asarray(hertz) / LOWEST) / np.log(HIGHEST / LOWEST)


def _spectrogram(sound: np.ndarray) -> str:
    size = 4096
    hop = max(len(sound) // COLUMNS, 64)
    frequencies, _, power = signal.spectrogram(
        np.pad(sound, size // 2), RATE, "hann", size, size - min(hop, size), scaling="spectrum"
    )
    decibels = 10 * np.log10(power + 1e-12)
    wanted = LOWEST * (HIGHEST / LOWEST) ** ((np.arange(ROWS) + 0.5) / ROWS)
    place = np.interp(wanted, frequencies, np.arange(len(frequencies)))
    low = place.astype(int)
    share = (place - low)[:, None]
    return _png((1 - share) * decibels[low] + share * decibels[low + 1], "magma", -90, -20)


def _raster(version: Version, start: float, seconds: float) -> str:
    """Of units, a column a step; of those with frequencies a row a semitone, the darker the more of them fire."""
    events = version.events
    assert events is not None
    first, last = (round(second * events.step_rate) for second in (start, start + seconds))
    stop = min(last, events.n_steps)
    if version.hertz is None:
        cells, darkest = events.window(first, stop).astype(np.float32), 1
    else:
        together = rows_of(version.hertz, events.n_units).counts(events)[:, first:stop]
        cells, darkest = np.log2(1 + together), 5
    whole = np.pad(cells, ((0, 0), (0, last - stop)))  # events may end before the first version does
    return _png(whole, "Greys", 0, darkest)


def _png(picture: np.ndarray, colours: str, low: float, high: float) -> str:
    from matplotlib.image import imsave

    file = io.BytesIO()
    imsave(file, picture, cmap=colours, vmin=low, vmax=high, origin="lower", format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
