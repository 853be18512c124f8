"""The page that compares versions, without a browser."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import tones

from snn_codec.cli import main
from snn_codec.codec import Codec
from snn_codec.events import EventMatrix
from snn_codec.listening import compare
from snn_codec.storage import h5, spk

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


def test_a_recording_of_a_file_with_several_is_chosen_by_name(tmp_path, capsys):
    codec, sound = Codec.load("free"), tones(1.5)
    events = codec.encode(sound, 22050)
    soundfile.write(tmp_path / "a.wav", sound, 22050)
    h5.write(tmp_path / "two.h5", [("silent", codec.encode(0 * sound, 22050)), ("tones", events)])
    h5.write(tmp_path / "one.h5", [("another", events)])
    spk.write(tmp_path / "b.spk", events, entropy_model=codec.entropy_model)

    def run(files, *options):
        paths = [str(tmp_path / name) for name in files]
        return main(["listen", "compare", *paths, "-o", str(tmp_path / "page.html"), "--force", *options])

    assert run(["a.wav", "two.h5"]) == 2
    assert "holds 2 recordings; name one of" in capsys.readouterr().err
    assert run(["a.wav", "two.h5"], "--recording", "none") == 2
    assert run(["a.wav", "one.h5"], "--recording", "another") == 2
    assert "no file holds several recordings; leave out 'another'" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
    assert run(["a.wav", "two.h5", "one.h5", "b.spk"], "--recording", "tones") == 0
    versions = json.loads(
        re.search(r'id="data">(.*?)</script>', (tmp_path / "page.html").read_text(), re.S)[1]
    )["versions"]
    assert versions[1]["note"].startswith("recording tones, decoded by free")
    assert versions[2]["note"].startswith("decoded by free")
    assert versions[1]["audio"] == versions[2]["audio"] == versions[3]["audio"]


def test_units_with_frequencies_are_drawn_by_semitone():
    """Of 4000 units one fires: the picture has a row a semitone, so that it can be seen."""
    hertz = np.geomspace(100, 3200, 4000)
    events = EventMatrix.from_indices(
        np.array([3]), np.array([0]), 4000, sample_rate=22050, hop=2048, n_samples=2048 * 10
    )
    version = compare.Version(Path("a.spk"), np.zeros(10), events, "wide", hertz)
    picture = plt_image(compare._raster(version, 0.0, 2048 * 10 / 22050))
    assert picture.shape[:2] == (61, 10)
    dark = np.argwhere(picture[..., 0] < 1)
    assert dark.tolist() == [[len(picture) - 1, 3]]  # the lowest row, from above


@pytest.mark.parametrize("start", ["nan", "inf", "-1"])
def test_a_start_that_cannot_be_is_refused(start, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", tones(1.5), 22050)
    files = [str(tmp_path / "a.wav")] * 2
    assert main(["listen", "compare", *files, "-o", str(tmp_path / "c.html"), f"--start={start}"]) == 2
    assert "from 0 s or later" in capsys.readouterr().err and not (tmp_path / "c.html").exists()


@pytest.mark.parametrize("hertz", [None, np.geomspace(100, 3200, 61)])
def test_a_raster_that_ends_early_is_not_stretched(hertz):
    """5 steps of events below 10 steps of sound: they fill the left half, and the rest is white."""
    events = EventMatrix(np.ones((61, 5), bool), sample_rate=22050, hop=2048, n_samples=2048 * 5)
    version = compare.Version(Path("a.spk"), np.zeros(10), events, "any", hertz)
    picture = plt_image(compare._raster(version, 0.0, 2048 * 10 / 22050))
    assert picture.shape[1] == 10
    assert (picture[:, :5, 0] < 1).all() and (picture[:, 5:, 0] == 1).all()


def plt_image(data):
    from matplotlib.image import imread

    return imread(io.BytesIO(base64.b64decode(data.partition(",")[2])))
