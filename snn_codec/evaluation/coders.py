"""What can be evaluated: models, models at one level, and the codecs that a user would pick instead.

free, wide+filling@11     a model, and how it codes (`snn_codec.named`)
wide@2.6kbps              the finest level of a clip that takes no more, as the textbook's step is found
opus:6, mp3:8             Opus or MP3 at that many kbps
codec2:3200               Codec 2 at that many bits a second
mdct:2.6                  the textbook (`transform`) at that many kbps

All code one clip at a time, so a clip's numbers are its own.
"""

from __future__ import annotations

import hashlib
import io
from bisect import bisect_left
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from snn_codec import audio, named
from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.evaluation.coder import Coded, Coder
from snn_codec.evaluation.transform import TextbookCoder
from snn_codec.events import CHUNK_STEPS, EventMatrix
from snn_codec.levels import LEVEL_PARTS
from snn_codec.listening import conditions
from snn_codec.listening.signals import RATE, lag, shifted
from snn_codec.loading import load_named
from snn_codec.named import Named
from snn_codec.search import searcher
from snn_codec.storage import spk
from snn_codec.storage.entropy_model import EntropyModel

CLASSICAL = (*conditions.LOSSY, "codec2", "mdct")  # each at a rate that its name says after a colon


class ModelCoder:
    """A codec of ours, coding as it is asked to (`snn_codec.named`); a rate is met by each clip.

    kbps are true bytes: those of the clip's chunk in a bitstream, with its level of sound and its checksum, but
    without what a file has once.
    """

    def __init__(self, codec: Codec, asked: Named | None = None, name: str = ""):
        self.codec, self.asked = codec, asked or Named(codec.fingerprint)
        self.name = name or codec.fingerprint
        grid = codec.settings
        self.sample_rate, self.length = grid.sample_rate, grid.chunk_steps * grid.hop
        # the entropy model says how many bytes there are
        entropy_model = codec.entropy_model.fingerprint if codec.entropy_model else "none"
        self.fingerprint = f"{codec.fingerprint}-{entropy_model}"
        if self.asked.level is not None:
            self.fingerprint += f"-{self.asked.level:g}"
        if self.asked.kbps is not None:
            self.fingerprint += f"-{self.asked.kbps:g}kbps"
        if self.asked.search:
            searcher(codec, self.asked.search, codec.entropy_model)  # which says so if there can be none
            self.fingerprint += f"-search{self.asked.search}"
        if codec.active_decoder:
            self.fingerprint += f"+{codec.active_decoder.fingerprint}"

    def code(self, clip: np.ndarray) -> Coded:
        if self.asked.kbps is None:
            events = self.codec.encode(clip, self.sample_rate, **self.asked.encoding)
        else:
            events = self._within(self.asked.kbps, clip)
        return Coded(
            self.codec.decode(events),
            self._rate(events),
            events.kbps(events.costs["dense"] / 8),
            events.density,
            events.events_per_second,
        )

    def _rate(self, events: EventMatrix) -> float:
        return events.kbps(_chunk_bytes(events, self.codec.entropy_model))

    def _within(self, kbps: float, clip: np.ndarray) -> EventMatrix:
        """Events of the lowest level that takes no more than `kbps`, or those of the highest level."""

        def events_at(code: int, **encoding: Any) -> EventMatrix:
            return self.codec.encode(clip, self.sample_rate, level=code / LEVEL_PARTS, **encoding)

        top = (self.codec.settings.levels - 1) * LEVEL_PARTS
        low = bisect_left(range(top), True, key=lambda code: self._rate(events_at(code)) <= kbps)
        if not self.asked.encoding:
            return events_at(low)
        # searched events cost a little more or less than the encoder's: on from a little below
        low = max(0, low - LEVEL_PARTS // 2)
        while self._rate(events := events_at(low, **self.asked.encoding)) > kbps and low < top:
            low += 1
        return events


def _chunk_bytes(events: EventMatrix, entropy_model: EntropyModel | None) -> int:
    """Of a bitstream of these events, without what a file has once."""
    file = io.BytesIO()
    spk.write(file, events, entropy_model=entropy_model)
    file.seek(0)
    parts = spk.breakdown(file)
    return parts["total"] - parts["header"] - parts["trailer"]


class ConditionCoder:
    """A codec of `snn_codec.listening.conditions`, at its own sample rate, aligned with the clip.

    kbps are the bytes of the coded packets, without a container's, over the seconds coded (the clip and half a
    second of silence, so that the codec's delay cuts nothing off). What comes back late is moved to where it
    correlates most with the clip, with the right sign, to the sample at 48 kHz.
    """

    def __init__(self, name: str):
        _, self.render = conditions.parse(name)
        grid = config.Model()
        self.name, self.sample_rate, self.length = name, grid.sample_rate, CHUNK_STEPS * grid.hop
        library = "pycodec2" if name.startswith("codec2:") else "av"
        made_by = f"{name} {library} {metadata.version(library)} {conditions.made_with(name)}".rstrip()
        self.fingerprint = hashlib.sha256(made_by.encode()).hexdigest()[:16]

    def code(self, clip: np.ndarray) -> Coded:
        rendered = self.render(conditions.Item("clip", Path(), 0, 0, clip, self.sample_rate))
        return Coded(
            aligned(rendered.audio, clip, self.sample_rate),
            float("nan") if rendered.kbps is None else rendered.kbps,
        )


def aligned(decoded: np.ndarray, clip: np.ndarray, sample_rate: int) -> np.ndarray:
    """`decoded`, at 48 kHz and late or early, as float32 at the clip's rate, as long as it and in time with it."""
    reference = conditions.to_test_rate(clip, sample_rate)
    late = lag(decoded, reference)
    moved = shifted(decoded, late, len(reference))
    return np.concatenate(list(audio.resampled([moved], RATE, sample_rate)))[: len(clip)]


def load(name: str, device: str = "cpu") -> Coder:
    """The coder of this name (see above).

    Raises:
        UserError: There is none, it has no such level or decoder, or a package is missing.
    """
    kind, colon, _ = name.partition(":")
    if colon and kind == "mdct":
        return TextbookCoder(name)
    if colon and kind in CLASSICAL:
        return ConditionCoder(name)
    found = named.parse(name)
    return ModelCoder(load_named(found, device), found, name)
