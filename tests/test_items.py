"""Recordings and their MIDI, found by name."""

import os

import numpy as np
import pytest

from snn_codec.analysis.items import Item, find
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.storage import h5

EVENTS = EventMatrix(np.zeros((3, 4), bool), 22050, 512, 2048)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder, inputs, midi=()):
    items = find([folder / name for name in inputs], [folder / name for name in midi], "test")
    return [os.path.relpath(item.midi, folder) for item in items]


def test_midi_is_taken_from_the_folder_of_the_same_name(folder):
    touch(folder, "AA/bach/01.wav", "AA/chopin/01.wav", "MM/bach/01.mid", "MM/chopin/01.mid")
    wanted = ["MM/bach/01.mid", "MM/chopin/01.mid"]
    assert found(folder, ["AA"], ["MM"]) == wanted
    assert found(folder, ["AA/chopin/01.wav", "AA/bach/01.wav"], ["MM", "MM/bach/01.mid"]) == wanted[::-1]
    h5.write(folder / "all.h5", {"bach/01.wav": EVENTS, "chopin/01.wav": EVENTS})
    assert found(folder, ["all.h5"], ["MM"]) == wanted
    h5.write(folder / "MM" / "all.h5", {"bach/01.wav": EVENTS, "chopin/01.wav": EVENTS})
    assert found(folder, ["MM/all.h5"]) == wanted


def test_midi_that_could_be_of_two_recordings_is_refused(folder):
    touch(folder, "AA/bach/01.wav", "AA/chopin/01.wav", "MM/x/01.mid", "MM/y/01.mid", "NN/chopin/01.mid")
    with pytest.raises(
        UserError, match=r"bach/01.wav: .*x/01.mid and .*y/01.mid have its name; put them into folders"
    ):
        found(folder, ["AA"], ["MM"])
    with pytest.raises(
        UserError, match=r"bach/01.wav: no MIDI of its own .*chopin/01.mid is that of .*chopin/01.wav"
    ):
        found(folder, ["AA"], ["NN"])


def test_recordings_of_one_performance_share_its_midi(folder):
    touch(folder, "close/01.wav", "far/01.wav", "MM/01.mid", "far/other.mid")
    assert found(folder, ["."], ["MM"]) == ["MM/01.mid"] * 2
    assert (
        found(folder, ["close", "far"], ["far/other.mid"]) == ["far/other.mid"] * 2
    )  # one each, and one MIDI
    with pytest.raises(UserError, match="no MIDI named 01 among those given"):
        found(folder, ["."], ["far/other.mid"])


def test_a_dot_in_a_title_does_not_end_it(folder):
    h5.write(folder / "two.h5", {"K. 545": EVENTS, "K. 331": EVENTS})
    touch(folder, "p20.mid")
    with pytest.raises(UserError, match="no MIDI named K. 545 among those given"):
        found(folder, ["two.h5"], ["p20.mid"])
    touch(folder, "K. 545.mid", "K. 331.midi", "Op. 10 No. 3.mid")
    assert found(folder, ["two.h5"]) == ["K. 545.mid", "K. 331.midi"]
    h5.write(folder / "conv.h5", {"Op. 10 No. 3": EVENTS})
    assert found(folder, ["conv.h5"]) == ["Op. 10 No. 3.mid"]


@pytest.mark.parametrize(
    ("path", "name", "stem"),
    [
        ("a.h5", "K. 545", "K. 545"),
        ("a.h5", "deep/K. 545.WAV", "K. 545"),
        ("K. 545.spk", "K. 545.spk", "K. 545"),
        ("K. 545.voc", "K. 545.voc", "K. 545"),
        ("2004/a.wav", "2004/a.wav", "a"),
    ],
)  # fmt: skip
def test_only_suffixes_of_files_are_left_off(folder, path, name, stem):
    assert Item(folder / path, None, name).stem == stem
