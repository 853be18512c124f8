"""Curves of SI-SNR over true rate, level by level."""

import io
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import tones

from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.storage import spk
from snn_codec.surrogate_study import level_curve


def test_a_silent_clip_has_no_say_in_the_curve_over_levels(monkeypatch):
    codec = SimpleNamespace(settings=config.Model(levels=2))
    monkeypatch.setattr(level_curve.Codec, "load", lambda folder: codec)
    monkeypatch.setattr(level_curve.corpus, "clips", lambda *given, **more: iter("ab"))
    scores = {"a": math.nan, "b": 7.0}
    monkeypatch.setattr(
        level_curve, "measured", lambda codec, clip, level, coder: (1.0 + level, scores[clip])
    )
    rows = level_curve.measure(Path("run"), [], "")
    assert [(row["kbps"], row["si_snr"]) for row in rows] == [(1.0, 7.0), (2.0, 7.0)]


def test_bytes_are_those_of_the_entropy_model_that_is_named():
    codec, clip = Codec.load("wide"), tones(6.0)[: 64 * 2048]
    found = level_curve.measured(codec, clip, 8.0, codec.entropy_model)
    file = io.BytesIO()
    spk.write(file, codec.encode(clip, 22050, level=8), entropy_model=codec.entropy_model)
    assert found[0] == pytest.approx(8 * len(file.getvalue()) / (64 * 2048 / 22050) / 1000, rel=0.1)
    assert level_curve.measured(codec, clip, 8.0, None)[0] > 1.5 * found[0]
