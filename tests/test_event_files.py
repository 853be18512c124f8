import json
from dataclasses import replace

import numpy as np
import pytest
from processes import room_for
from rasters import chain, entropy_model, matrix, raster

from snn_codec import checkpoints
from snn_codec.errors import UserError
from snn_codec.storage import event_files, h5, spk

A, B = matrix(raster(20, 300, 0.1)), matrix(raster(20, 40, 0.3, 1))


@pytest.fixture()
def folder(tmp_path):
    """Event files in and below a folder."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    spk.write(tmp_path / "in" / "a.spk", A)
    spk.write(tmp_path / "in" / "deep" / "a.spk", B)
    h5.write(tmp_path / "in" / "more.h5", {"x.wav": B, "y": A})
    (tmp_path / "in" / "notes.txt").write_text("no events")
    return tmp_path / "in"


def test_the_first_bytes_decide_not_the_name(tmp_path):
    spk.write(tmp_path / "a.h5", A)
    h5.write(tmp_path / "b.bin", {"b": B})
    assert event_files.read(tmp_path / "a.h5") == A
    assert event_files.read(tmp_path / "b.bin", "b") == B
    with pytest.raises(UserError, match=r"a\.h5: is a bitstream.*'b'"):
        event_files.read(tmp_path / "a.h5", "b")
    h5.write(tmp_path / "named.spk", {"b": B})
    assert event_files.read(tmp_path / "named.spk") == B


def test_a_folder_becomes_one_file_with_every_recording(folder, tmp_path):
    read = []
    written = event_files.convert([folder], tmp_path / "all.h5", progress=read.append)
    assert written == [tmp_path / "all.h5"] and len(read) == 4
    everything = {"a": A, "deep/a": B, "x.wav": B, "y": A}
    assert dict(h5.SpikeTrains(tmp_path / "all.h5")) == everything
    event_files.convert([tmp_path / "all.h5"], tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz") as arrays:
        assert list(arrays["recording"]) == list(everything)


def test_a_file_in_the_folder_that_it_was_made_of_is_no_input_the_next_time(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    for place in (folder, tmp_path / "link"):
        event_files.convert([folder], place / "all.h5", force=True)
        assert list(h5.SpikeTrains(folder / "all.h5")) == ["a", "deep/a", "x.wav", "y"]
    alone = tmp_path / "alone"
    alone.mkdir()
    h5.write(alone / "all.h5", {"a": A})
    with pytest.raises(UserError, match="holds no file"):
        event_files.convert([alone], alone / "all.h5", force=True)
    assert h5.read(alone / "all.h5") == A


def test_a_recording_of_a_file_does_not_take_its_place(tmp_path):
    h5.write(tmp_path / "y.h5", {"x": A, "y": B})
    with pytest.raises(UserError, match=r"y\.h5: is the input itself"):
        event_files.convert([tmp_path / "y.h5"], tmp_path, "shd", name="y", force=True)
    assert dict(h5.SpikeTrains(tmp_path / "y.h5")) == {"x": A, "y": B}


def test_one_file_becomes_a_folder_of_files(folder, tmp_path):
    event_files.convert([folder], tmp_path / "all.h5")
    out = tmp_path / "out"
    out.mkdir()
    event_files.convert([tmp_path / "all.h5"], out, "spk")
    found = {path.name: spk.read(path) for path in out.iterdir()}
    assert found == {"a.spk": A, "deep_a.spk": B, "x.spk": B, "y.spk": A}
    event_files.convert([tmp_path / "all.h5"], out, "shd", name="y")
    assert (out / "y.h5").exists()


def test_names_cannot_lead_out_of_the_folder(tmp_path):
    names = ("../../evil", "/abs", ".hidden", "..", "a\\b")
    h5.write(tmp_path / "a.h5", {name: B for name in names})
    (tmp_path / "out").mkdir()
    written = event_files.convert([tmp_path / "a.h5"], tmp_path / "out", "csv")
    assert len(set(written)) == len(names)
    assert all(path.parent == tmp_path / "out" and not path.name.startswith(".") for path in written)


@pytest.mark.parametrize("kind", ["h5", "csv", "shd"])
def test_names_that_are_not_utf8_are_written_as_encode_writes_them(tmp_path, kind):
    (tmp_path / "in").mkdir()
    spk.write(tmp_path / "in" / "caf\udce9.spk", A)
    for number, source in enumerate((tmp_path / "in", tmp_path / "in" / "caf\udce9.spk")):
        (written,) = event_files.convert([source], tmp_path / f"{number}.out", kind)
        assert rb"caf\udce9" in written.read_bytes()
    assert [name for name, _ in event_files.recordings(source)] == [r"caf\udce9"]


@pytest.mark.parametrize(
    ("output", "kind", "words"),
    [
        ("b.spk", None, "holds one recording, not 2"),
        ("b.nwb", None, "holds one recording, not 2"),
        ("b.xyz", None, "its suffix"),
        ("b.shd", None, "its suffix"),
        (".", None, "say which kind"),
        ("b.csv", "midi", "cannot be exported as 'midi'"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, output, kind, words):
    h5.write(tmp_path / "a.h5", {"a": A, "b": B})
    with pytest.raises(UserError, match=words):
        event_files.convert([tmp_path / "a.h5"], tmp_path / output, kind)
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_two_recordings_do_not_become_one_file(tmp_path):
    for folder in "pq":
        (tmp_path / folder).mkdir()
        spk.write(tmp_path / folder / "a.spk", A)
    with pytest.raises(UserError, match="two recordings"):
        event_files.convert([tmp_path / "p", tmp_path / "q"], tmp_path / "q", "csv")
    with pytest.raises(UserError, match="'a' is no name, or that of two recordings"):
        event_files.convert([tmp_path / "p", tmp_path / "q"], tmp_path / "b.h5")


def test_an_entropy_model_is_for_the_events_of_its_checkpoint(tmp_path):
    model = entropy_model(20)
    for fingerprint, name in ((A.fingerprint, "ours"), ("fedcba9876543210", "other")):
        own = replace(model, checkpoint=fingerprint)
        event_files.write(tmp_path / f"{name}.spk", "spk", [("a", A)], entropy_model=own)
        with open(tmp_path / f"{name}.spk", "rb") as file:
            assert spk.Reader(file).header.entropy_model == (model.fingerprint if name == "ours" else "")


@pytest.mark.parametrize("function", [False, True])
def test_learned_chunks_are_read_with_the_entropy_model_that_is_given(tmp_path, function):
    model, events = chain(20), matrix(np.repeat(raster(1, 200, 0.5), 20, axis=0))
    model = replace(model, checkpoint=events.fingerprint)
    given = {events.fingerprint: model}.get if function else model
    path, back = tmp_path / "a.spk", tmp_path / "b.h5"
    event_files.write(path, "spk", [("a", events)], entropy_model=given)
    with pytest.raises(UserError, match=model.fingerprint):
        event_files.read(path)
    assert event_files.read(path, entropy_model=given) == events
    assert list(event_files.recordings(path, entropy_model=given)) == [("a", events)]
    event_files.convert([path], back, entropy_model=given)
    event_files.convert([back], tmp_path / "c.spk", entropy_model=given)
    assert h5.read(back) == events and (tmp_path / "c.spk").read_bytes() == path.read_bytes()


def test_the_fingerprint_is_that_of_the_recording_that_is_named(tmp_path):
    other = A.replace(fingerprint="fedcba9876543210")
    h5.write(tmp_path / "a.h5", {"a": A, "b": other})
    found = [event_files.fingerprint(tmp_path / "a.h5", name) for name in (None, "a", "b", "no such name")]
    assert found == [A.fingerprint, A.fingerprint, other.fingerprint, A.fingerprint]


def test_missing_files_and_empty_folders_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.spk: no such file"):
        event_files.convert([tmp_path / "none.spk"], tmp_path / "a.h5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no file"):
        event_files.convert([tmp_path / "empty"], tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


def test_a_recording_that_is_refused_or_has_no_room_is_named_with_what_is_missing(tmp_path):
    h5.write(tmp_path / "in.h5", {"a": B, "b": A, "c": B})
    (tmp_path / "out").mkdir()
    with room_for(200), pytest.raises(UserError) as error:
        event_files.convert([tmp_path / "in.h5"], tmp_path / "out", "spk")
    assert str(error.value).startswith(f"{tmp_path / 'out' / 'b.spk'}: cannot be written, the file is larger")
    assert "1 file(s) before it are written, it and those after it are missing" in str(error.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.spk"]

    def check(file, events):
        assert file == tmp_path / "in.h5"
        if events == A:
            raise UserError("not this one")

    with pytest.raises(UserError, match="^not this one$"):
        event_files.convert([tmp_path / "in.h5"], tmp_path / "all.npz", check=check)
    assert not (tmp_path / "all.npz").exists()
    missing = r"^not this one \(1 file\(s\) before it are written, it and those after it are missing\)$"
    with pytest.raises(UserError, match=missing):
        event_files.convert([tmp_path / "in.h5"], tmp_path / "out", "csv", check=check)


def test_index_bits_are_no_spikes_of_any_simulator(tmp_path, monkeypatch):
    """Found by the fingerprint of a shipped model, or of the one that is named."""
    rvq = json.loads((checkpoints.find("rvq") / "config.json").read_text())["fingerprint"]
    checkpoints.check_spikes("a.spk", "0123456789abcdef")
    checkpoints.check_spikes("a.spk", "")
    checkpoints.check_spikes("a.spk", "0123456789abcdef", "rvq")  # it did not make them
    for name in ("free", "sparse", "mu-sparse"):
        checkpoints.check_spikes("a.spk", checkpoints.Checkpoint.find(name).fingerprint)
    with pytest.raises(
        UserError, match=r"a\.spk: its model \(rvq, rvq\) has index bits, not spikes; .*--as-bits"
    ):
        checkpoints.check_spikes("a.spk", rvq)
    own = tmp_path / "own"
    own.mkdir()
    text = (checkpoints.find("rvq") / "config.json").read_text().replace(rvq, "fedcba9876543210")
    (own / "config.json").write_text(text)
    with pytest.raises(UserError, match="own, rvq"):
        checkpoints.check_spikes("a.spk", "fedcba9876543210", own)
    checkpoints.check_spikes("a.spk", "fedcba9876543210")
