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


def test_a_split_that_a_folder_lacks_is_named_with_those_it_has(maestro, music):
    with pytest.raises(UserError, match="in the split 'test', only in train and validation$"):
        recordings(maestro, "test")
    with pytest.raises(UserError, match="in the split 'test', only in train and validation$"):
        recordings(music, "test")


def without(folder, split):
    """The table of a folder in the MAESTRO layout without a split."""
    (table,) = folder.glob("*.csv")
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join(line for line in lines if not line.startswith(split)), encoding="utf-8")
    return table


def test_of_several_folders_one_must_have_validation_pieces(maestro, music):
    table = without(maestro, "validation")
    found = corpus.training_paths([maestro, music])
    assert [len(files) for files in found["train"]] == [2, len(corpus.paths(music, "train"))]
    assert found["validation"] == [[], corpus.paths(music, "validation")]
    with pytest.raises(UserError) as error:
        corpus.training_paths([maestro, maestro])
    assert str(error.value).startswith(f"{table}: has no audio in the split 'validation', only in train; ")


def test_a_folder_to_train_on_has_something_of_it(maestro, music, tmp_path_factory):
    table = without(maestro, "validation")
    table.write_text(table.read_text(encoding="utf-8").replace("train,", "test,"), encoding="utf-8")
    with pytest.raises(UserError, match="no audio in the split 'train', only in test"):
        corpus.training_paths([music, maestro])
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(UserError, match=f"^{empty}: has no audio in the split 'train'$"):
        corpus.training_paths([music, empty])


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
