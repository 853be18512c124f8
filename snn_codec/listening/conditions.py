"""The conditions of a listening test: functions that render an excerpt.

free, runs/mine/best      a shipped model, or a checkpoint folder
wide@4, wide+filling@11   at one of its levels, with another of its decoders (`snn_codec.named`)
opus:6, mp3:8             Opus or MP3 at that many kbps (needs PyAV, in the extra `codecs`)
codec2:3200               Codec 2, for speech, at that many bits a second (needs pycodec2, in the extra `codecs`)
mel=renders/mel           recordings that another program made: files with the items' names
mine=runs/mine/best       any of these under a name of your own
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from snn_codec import audio, named
from snn_codec.errors import UserError
from snn_codec.listening.keys import BUILT_IN
from snn_codec.listening.signals import RATE

PADDING = RATE // 2  # silence after what other codecs are given, so that their delay cuts nothing off


class Item(NamedTuple):
    """An excerpt: its name, the file and the seconds [start, stop) of it, and its samples at `rate`."""

    name: str
    path: Path
    start: float
    stop: float
    audio: np.ndarray
    rate: int


class Rendered(NamedTuple):
    """The output of a condition: float32 `[samples]` at 48 kHz, and kbps (true bytes) if that is known.

    `exact` says that sample n is sample n of the item; other sound may be late, and is aligned.
    """

    audio: np.ndarray
    kbps: float | None
    exact: bool


Condition = Callable[[Item], Rendered]


def parse(text: str) -> tuple[str, Condition]:
    """Parse a condition: its name, and the function that renders an item with it.

    Raises:
        UserError: There is no such model, codec or folder.
    """
    name, _, what = text.rpartition("=")
    name = name or (what if ":" in what else Path(what).name)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:+@-]{0,39}", name) or name in BUILT_IN:
        raise UserError(
            f"{text}: {name!r} cannot name a condition; use letters, digits and ._:+@- (not {', '.join(BUILT_IN)})"
        )
    codec, colon, kbps = what.partition(":")
    if colon and codec in LOSSY:
        return name, _lossy(text, codec, kbps)
    if colon and codec == "codec2":
        return name, _codec2(text, kbps)
    folder = Path(what)
    if folder.is_dir() and not (folder / "config.json").exists():
        return name, lambda item: _from_folder(folder, item)
    return name, _model(named.parse(what))


def parse_all(texts: Sequence[str]) -> dict[str, Condition]:
    """As `parse`, by name.

    Raises:
        UserError: As `parse`, two of one name, none, or more than BS.1534-3 allows on one page.
    """
    found: dict[str, Condition] = {}
    for text in texts:
        name, render = parse(text)
        if name in found:
            raise UserError(
                f"{text}: there are two conditions {name!r}; name one of them, as in other={text}"
            )
        found[name] = render
    most = 12 - len(BUILT_IN)
    if not 1 <= len(found) <= most:
        raise UserError(
            f"{len(found)} conditions: give 1 to {most}; a page holds 12 with reference and anchors"
        )
    return found


def check_excerpt(start: float, seconds: float, longest: float) -> None:
    """Refuse an excerpt that no recording can have.

    Raises:
        UserError: It begins before 0 s, is shorter than 1 s or longer than `longest`, or is no number.
    """
    if not 1 <= seconds <= longest or not 0 <= start < math.inf:
        raise UserError(f"an excerpt of {seconds} s from {start} s: give 1 to {longest} s, from 0 s or later")


def to_test_rate(samples: np.ndarray, rate: int) -> np.ndarray:
    """Resample float `[samples]` to 48 kHz, float32."""
    return np.concatenate(list(audio.resampled([samples], rate, RATE)))


def read_seconds(path: Path, start: float, stop: float) -> tuple[np.ndarray, int]:
    """Read [start, stop) in seconds of a file, as far as it goes: float32 `[samples]`, mixed down, and its rate.

    Raises:
        UserError: As `audio.read`.
    """
    length, rate, _ = audio.info(path)
    first, last = (min(round(seconds * rate), length) for seconds in (start, stop))
    return audio.read(path, first, last)


def _model(found: named.Named) -> Condition:
    loaded: list[Any] = []

    def render(item: Item) -> Rendered:
        from snn_codec.loading import load_named
        from snn_codec.rate_control import at_rate
        from snn_codec.storage import spk

        if not loaded:
            loaded.append(load_named(found))
        codec = loaded[0]
        if found.kbps is None:
            events = codec.encode(item.audio, item.rate, **found.encoding)
        else:
            events = at_rate(codec, lambda: [item.audio], item.rate, found.kbps, search=found.search).events
        file = io.BytesIO()
        spk.write(file, events, entropy_model=codec.entropy_model)
        decoded = to_test_rate(codec.decode(events), events.sample_rate)
        return Rendered(decoded, events.kbps(len(file.getvalue())), True)

    return render


def _from_folder(folder: Path, item: Item) -> Rendered:
    files = [path for path in sorted(folder.iterdir()) if path.stem == item.name and _is_audio(path)]
    if len(files) != 1:
        raise UserError(
            f"{folder}: has {len(files)} recordings named {item.name}; there must be one for each item"
        )
    (path,) = files
    samples, rate = read_seconds(path, item.start, item.stop + PADDING / RATE)
    if not len(samples):
        raise UserError(f"{path}: ends before the excerpt begins; it must be as long as the item")
    return Rendered(to_test_rate(samples, rate), None, False)


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in audio.SUFFIXES


class _Lossy(NamedTuple):
    encoder: str
    container: str
    rate: Callable[[int], int]
    options: dict[str, str]


def _mp3_rate(kbps: int) -> int:
    """The sample rate at which MP3 is nearest to a piano: low ones leave more bits for what is below them."""
    bounds = {12: 8_000, 24: 12_000, 32: 16_000, 64: 24_000}
    return next((rate for bound, rate in bounds.items() if kbps < bound), RATE)


LOSSY = {
    # "lowdelay" leaves out the layer for speech, which Opus would choose for piano at up to 14 kbps
    "opus": _Lossy(
        "libopus", "ogg", lambda kbps: RATE, {"vbr": "off", "application": "lowdelay", "frame_duration": "20"}
    ),
    "mp3": _Lossy("libmp3lame", "mp3", _mp3_rate, {}),
}


def made_with(text: str) -> str:
    """The settings of another codec, so that it can be told when they change; "" where it has none."""
    codec, _, kbps = text.partition(":")
    return f"{LOSSY[codec].rate(int(kbps))} {LOSSY[codec].options}" if codec in LOSSY else ""


def _lossy(text: str, codec: str, kbps: str) -> Condition:
    if not kbps.isdecimal() or not 6 <= int(kbps) <= 320:
        raise UserError(f"{text}: the rate must be 6 to 320 kbps, as in {codec}:12")
    _pyav()
    settings, rate = LOSSY[codec], LOSSY[codec].rate(int(kbps))

    def render(item: Item) -> Rendered:
        samples = to_test_rate(item.audio, item.rate)
        padded = np.pad(samples, (0, PADDING))
        if rate != RATE:
            padded = np.concatenate(list(audio.resampled([padded], RATE, rate)))
        try:
            decoded, n_bytes = _there_and_back(padded, rate, int(kbps), settings)
        except (_pyav().error.FFmpegError, ValueError) as error:
            raise UserError(f"{text}: cannot be made ({error}); try another rate") from error
        return Rendered(to_test_rate(decoded, rate), n_bytes * 8 / (len(padded) / rate) / 1000, False)

    return render


CODEC2_RATE = 8_000
CODEC2_MODES = (3200, 2400, 1600, 1400, 1300, 1200)  # bits a second


def _codec2(text: str, bits: str) -> Condition:
    if bits not in map(str, CODEC2_MODES):
        raise UserError(f"{text}: Codec 2 has {', '.join(map(str, CODEC2_MODES))} bits a second")
    _pycodec2()

    def render(item: Item) -> Rendered:
        codec = _pycodec2().Codec2(int(bits))
        size = codec.samples_per_frame()
        samples = np.pad(to_test_rate(item.audio, item.rate), (0, PADDING))
        samples = np.concatenate(list(audio.resampled([samples], RATE, CODEC2_RATE)))
        pcm = _pcm(np.pad(samples, (0, -len(samples) % size)))
        packets = [codec.encode(frame) for frame in pcm.reshape(-1, size)]
        decoded = np.concatenate([codec.decode(packet) for packet in packets]).astype(np.float32) / 32768
        n_bytes = sum(map(len, packets))
        return Rendered(
            to_test_rate(decoded, CODEC2_RATE), n_bytes * 8 / (len(pcm) / CODEC2_RATE) / 1000, False
        )

    return render


def _pycodec2():
    try:
        import pycodec2
    except ImportError as error:
        raise UserError(
            'Codec 2 needs pycodec2, which needs Python 3.11: pip install "snn_codec[codecs]"'
        ) from error
    return pycodec2


def _pcm(samples: np.ndarray) -> np.ndarray:
    return (np.clip(samples, -1, 1) * 32767).astype(np.int16)


def _pyav():
    try:
        import av
    except ImportError as error:
        raise UserError('Opus and MP3 need PyAV: pip install "snn_codec[codecs]"') from error
    return av


def _there_and_back(samples: np.ndarray, rate: int, kbps: int, codec: _Lossy) -> tuple[np.ndarray, int]:
    """Decoded samples at `rate`, and the bytes of the coded packets (without the container's)."""
    av = _pyav()
    file, n_bytes = io.BytesIO(), 0
    with av.open(file, "w", format=codec.container) as container:
        stream = container.add_stream(codec.encoder, rate=rate, options=codec.options)
        stream.layout = "mono"
        stream.bit_rate = kbps * 1000
        frame = av.AudioFrame.from_ndarray(_pcm(samples)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        converter = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        for piece in [*converter.resample(frame), *converter.resample(None), None]:
            for packet in stream.encode(piece):
                n_bytes += packet.size
                container.mux(packet)
    file.seek(0)
    with av.open(file) as container:
        converter = av.AudioResampler(format="flt", layout="mono", rate=rate)
        pieces = [
            piece.to_ndarray()[0]
            for frame in [*container.decode(audio=0), None]
            for piece in converter.resample(frame)
        ]
    return np.concatenate(pieces), n_bytes
