from contextlib import contextmanager

import soundfile
from conftest import tones

from snn_codec import progress
from snn_codec.cli import main


def test_what_takes_seconds_for_an_hour_has_a_bar(tmp_path, monkeypatch):
    bars = []

    @contextmanager
    def bar(text, total, *, shown=True):
        bars.extend([text] * shown)
        yield lambda done: None

    monkeypatch.setattr(progress, "bar", bar)
    soundfile.write(tmp_path / "a.wav", tones(2.0), 22050)
    for command in (
        ("encode", tmp_path / "a.wav"),
        ("decode", tmp_path / "a.spk", "-o", tmp_path / "b.wav"),
        ("info", tmp_path / "a.spk", "--events"),
        ("export", "spikes", tmp_path / "a.spk", "--to", "shd"),
    ):
        assert main([*map(str, command)]) == 0
    assert bars == ["a", "a: writing", "a: reading", "a", "counting", "exporting"]
