"""The page that compares versions, without a browser."""

import json
import re

import pytest
import soundfile
from conftest import tones

from snn_codec.cli import main
from snn_codec.codec import Codec
from snn_codec.storage import spk

pytest.importorskip("matplotlib")


def test_files_of_several_models_are_decoded_by_their_own(tmp_path):
    sound = tones(1.5)
    soundfile.write(tmp_path / "a.wav", sound, 22050)
    for name in ("free", "sparse"):
        codec = Codec.load(name)
        events = codec.encode(sound, 22050)
        spk.write(tmp_path / f"{name}.spk", events, entropy_model=codec.entropy_model)
    files = [str(tmp_path / name) for name in ("a.wav", "free.spk", "sparse.spk")]
    assert main(["listen", "compare", *files, "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    notes = [json.loads(f'"{text}"') for text in re.findall(r'"note": "([^"]*)"', page)]
    assert (
        notes[0] == "" and notes[1].startswith("decoded by free") and notes[2].startswith("decoded by sparse")
    )
