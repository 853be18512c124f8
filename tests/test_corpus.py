"""Recordings, splits and clips of a data folder."""

import csv

import numpy as np
import pytest
import soundfile

from snn_codec import corpus
from snn_codec.corpus import clips, recordings
from snn_codec.errors import UserError


def names(folder, split):
    return [recording.path.name for recording in recordings(folder, split)]


def test_the_table_says_the_split(maestro):
    assert names(maestro, "train") == ["piece0.flac", "piece1.flac"]
    assert names(maestro, "validation") == ["piece2.flac"]
    assert names(maestro, None) == ["piece0.flac", "piece1.flac", "piece2.flac"]
    with pytest.raises(UserError, match="no audio in the split 'test'"):
        recordings(maestro, "test")
    (maestro / "2004" / "piece1.flac").unlink()
    with pytest.raises(UserError, match=r"piece1\.flac"):
        recordings(maestro, "train")


def test_any_folder_is_split_by_name(music):
    train, validation = corpus.paths(music, "train"), corpus.paths(music, "validation")
    assert train and validation and not set(train) & set(validation)
    assert sorted(train + validation) == sorted(music.glob("*.wav")) == corpus.paths(music, None)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        recordings(tmp_path / "no", "train")
    with pytest.raises(UserError, match="no audio"):
        recordings(tmp_path, "train")
    with pytest.raises(UserError, match="'dev' is not one of"):
        recordings(tmp_path, "dev")


def test_midi_is_the_tables_else_the_file_of_the_same_name(tmp_path):
    for name in ("a.wav", "b.wav", "c.wav"):
        soundfile.write(tmp_path / name, np.zeros(100), 22050)
    (tmp_path / "played.mid").touch()
    (tmp_path / "b.midi").touch()
    assert [r.midi for r in recordings(tmp_path, None)] == [None, tmp_path / "b.midi", None]
    rows = [("a.wav", "played.mid"), ("b.wav", "lost.mid"), ("c.wav", "")]
    with open(tmp_path / "t.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("split", "audio_filename", "midi_filename"), *(("test", *r) for r in rows)]
        )
    assert [r.midi for r in recordings(tmp_path, "test")] == [
        tmp_path / "played.mid",
        tmp_path / "b.midi",
        None,
    ]


def test_clips_are_consecutive(maestro):
    (path,) = corpus.paths(maestro, "validation")
    sound, _ = soundfile.read(path, dtype="float32")
    found = list(clips([path], 50_000, 22050))
    assert len(found) == len(sound) // 50_000
    np.testing.assert_array_equal(np.concatenate(found), sound[: len(found) * 50_000])
    assert len(list(clips([path, path], 50_000, 22050, each=1))) == 2
