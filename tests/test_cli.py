import json
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
from conftest import tones
from rasters import matrix, raster

from snn_codec import checkpoints, corpus
from snn_codec.cli import main
from snn_codec.codec import Codec
from snn_codec.storage import h5, spk

RECORDING = str(Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac")


@pytest.fixture
def cli(checkpoint, capsys):
    """Run a command with the small model: (status, what it printed, its complaints)."""

    def run(command, *arguments, model=str(checkpoint)):
        chosen = ["--model", model] if command in ("encode", "decode", "evaluate") else []
        status = main([command, *map(str, arguments), *chosen])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def test_there_and_back(cli, checkpoint, tmp_path):
    sound = tones(7.0, 44100)
    soundfile.write(tmp_path / "a.wav", np.stack([sound, sound], 1), 44100)
    status, out, err = cli("encode", tmp_path / "a.wav", "--json")
    assert (status, err) == (0, "")
    row = json.loads(out)["files"][0]
    assert row["output"] == str(tmp_path / "a.spk")
    assert row["kbps"] == pytest.approx(3.445, rel=0.05)  # random weights are not compressible
    assert row["file_bytes"] == (tmp_path / "a.spk").stat().st_size
    status, out, err = cli("decode", tmp_path / "a.spk", "-o", tmp_path / "b.wav")
    assert (status, err) == (0, "")
    decoded, rate = soundfile.read(tmp_path / "b.wav")
    assert (rate, len(decoded)) == (22050, 7 * 22050)
    codec, stored = Codec.load(checkpoint), soundfile.read(tmp_path / "a.wav", dtype="float32")[0]
    np.testing.assert_allclose(decoded, codec.decode(codec.encode(stored, 44100)), atol=1e-4)


def test_folders_keep_their_structure(cli, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    soundfile.write(tmp_path / "in" / "a.flac", tones(0.5), 22050)
    soundfile.write(tmp_path / "in" / "deep" / "b.wav", tones(0.3), 22050)
    (tmp_path / "in" / "notes.txt").write_text("not audio")
    assert cli("encode", tmp_path / "in", "-o", tmp_path / "events")[0] == 0
    assert cli("decode", tmp_path / "events", "-o", tmp_path / "out")[0] == 0
    assert soundfile.info(tmp_path / "out" / "a.wav").frames == round(0.5 * 22050)
    assert soundfile.info(tmp_path / "out" / "deep" / "b.wav").frames == round(0.3 * 22050)


def test_one_bad_file_does_not_stop_the_others(cli, tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    soundfile.write(tmp_path / "good.wav", tones(0.2), 22050)
    status, out, err = cli("encode", tmp_path / "bad.wav", tmp_path / "good.wav")
    assert status == 2
    assert "bad.wav" in err and len(err.splitlines()) == 1
    assert "good.wav" in out and (tmp_path / "good.spk").exists() and not (tmp_path / "bad.spk").exists()


def test_json_is_printed_with_what_failed_and_if_all_did(cli, tmp_path):
    bad, nan, good = (tmp_path / f"{name}.wav" for name in ("bad", "nan", "good"))
    bad.write_text("no audio")
    soundfile.write(nan, np.full(1000, np.nan), 22050, subtype="FLOAT")
    soundfile.write(good, tones(0.2), 22050)
    for inputs, fine in (((bad,), []), ((bad, good, nan), [good])):
        status, out, err = cli("encode", *inputs, "--json", "--force")
        found = json.loads(out)
        assert status == 2 and [row["input"] for row in found["files"]] == list(map(str, fine))
        assert [row["input"] for row in found["failed"]] == [str(path) for path in inputs if path != good]
        assert err.splitlines() == [f"snn-codec: {row['message']}" for row in found["failed"]]
        assert all(row["message"].startswith(f"{row['input']}: ") for row in found["failed"])
    assert json.loads(cli("encode", good, "--force", "--json")[1])["failed"] == []


def test_a_rate_is_only_told_of_a_bitstream_whose_bytes_are_counted(cli, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(0.5), 22050)
    for target, told in (("a.spk", True), ("a.h5", False), ("/dev/null", False)):
        command = ("encode", tmp_path / "a.wav", "-o", tmp_path / target)
        status, *printed = cli(*command)
        text = "".join(printed)
        assert status == 0 and ("kbps" in text) == told and "events/s" in text
        row = json.loads("".join(cli(*command, "--json", "--force")[1:]))
        assert ("kbps" in row["files"][0]) == told


def test_nothing_is_overwritten_without_force(cli, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(0.2), 22050)
    (tmp_path / "a.spk").write_text("precious")
    status, _, err = cli("encode", tmp_path / "a.wav")
    assert status == 2 and "--force" in err and (tmp_path / "a.spk").read_text() == "precious"
    assert cli("encode", tmp_path / "a.wav", "--force")[0] == 0
    status, _, err = cli("decode", tmp_path / "a.spk")  # would replace the recording itself
    assert status == 2 and "a.wav: exists already" in err


def test_two_inputs_may_not_become_one_file(cli, tmp_path):
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / f"a.{suffix}", tones(0.2), 22050)
    status, _, err = cli("encode", tmp_path / "a.wav", tmp_path / "a.flac")
    assert status == 2 and "both become" in err


def _sound(samples, rate=22050, **options):
    return lambda path: soundfile.write(path, samples, rate, **options)


def _truncated(path):
    soundfile.write(path, tones(3.0), 22050)
    path.write_bytes(path.read_bytes()[:50_000])


BAD = {
    "empty file": lambda path: path.write_bytes(b""),
    "text file": lambda path: path.write_text("just words " * 100),
    "truncated": _truncated,
    "no samples": _sound(np.zeros(0)),
    "NaN": _sound(np.full(1000, np.nan), subtype="FLOAT"),
    "infinite": _sound(np.full(1000, np.inf), subtype="FLOAT"),
    "24-bit integers as float": _sound(tones(1.0) * 2**23, subtype="FLOAT"),
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
}
RIGHT = {
    "8 bit": _sound(tones(1.0), subtype="PCM_U8"),
    "192 kHz": _sound(tones(1.0, 192000), 192000),
    "6 channels": _sound(np.repeat(tones(1.0)[:, None], 6, 1)),
    "zeros": _sound(np.zeros(22050)),
    "one sample": _sound(np.ones(1) * 0.5),
    "beyond full scale": _sound(tones(1.0) * 50, subtype="FLOAT"),
    "16-bit integers as float": _sound(tones(1.0) * 2**15, subtype="FLOAT"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_gets_one_sentence_and_leaves_nothing(cli, tmp_path, kind):
    path = tmp_path / "input.wav"
    BAD[kind](path)
    status, out, err = cli("encode", path, "-o", tmp_path / "out.spk")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1 and "input.wav" in err and "Traceback" not in err
    assert [item for item in tmp_path.iterdir() if item != path] == []


@pytest.mark.parametrize("kind", RIGHT)
def test_unusual_input_is_right(cli, tmp_path, kind):
    path = tmp_path / "input.wav"
    RIGHT[kind](path)
    assert cli("encode", path)[0] == 0
    assert cli("decode", tmp_path / "input.spk", "-o", tmp_path / "out.wav")[0] == 0
    length = 1 if kind == "one sample" else 22050
    assert soundfile.info(tmp_path / "out.wav").frames == length
    assert spk.read(tmp_path / "input.spk").n_samples == length


@pytest.mark.parametrize("suffix", [".spk", ".h5"])
@pytest.mark.parametrize("kind", ["empty file", "text file", "missing", "folder", "cut", "foreign"])
def test_bad_event_files_get_one_sentence(cli, tmp_path, kind, suffix):
    path = tmp_path / f"input{suffix}"
    if kind == "cut":
        soundfile.write(tmp_path / "a.wav", tones(0.5), 22050)
        cli("encode", tmp_path / "a.wav", "-o", path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-40])  # beyond the seal of an .h5, which alone `info` would only mention
        (tmp_path / "a.wav").unlink()
    elif kind == "foreign":
        import h5py

        h5py.File(path, "w").close()
    else:
        BAD[kind](path)
    for command in (
        ("decode", path, "-o", tmp_path / "out.wav"),
        ("info", path),
        ("convert", path, tmp_path / "out.csv"),
    ):
        status, out, err = cli(*command)
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 1 and f"input{suffix}" in err
    assert [item for item in tmp_path.iterdir() if item != path] == []


def test_sound_where_events_belong_is_called_so_by_every_command(cli, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(0.2), 22050)
    named = tmp_path / "a.wav"
    for command in (
        ("decode", named, "-o", tmp_path / "b.wav"),
        ("info", named),
        ("convert", named, tmp_path / "b.csv"),
        ("export", "spikes", named, "--to", "shd"),
    ):
        status, _, err = cli(*command)
        assert (status, err) == (2, f"snn-codec: {named}: is an audio file, not events; encode it first\n")


def test_events_of_another_model_are_refused_by_name(cli, tmp_path, codec):
    from conftest import settled, small_model

    settled(small_model(), seed=7).save(tmp_path / "other")
    soundfile.write(tmp_path / "a.wav", tones(0.5), 22050)
    cli("encode", tmp_path / "a.wav")
    status, _, err = cli(
        "decode", tmp_path / "a.spk", "-o", tmp_path / "b.wav", model=str(tmp_path / "other")
    )
    assert status == 2 and codec.fingerprint in err and "a.spk" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["encode", "a.wav", "--model", "no-such"], "no-such: no such model"),
        (["encode", RECORDING, "-o", "a.spk", "--device", "warp"], "device warp: cannot be used here"),
        (["encode", RECORDING, "-o", "a.spk", "--device", "meta"], "device meta: cannot be used here"),
        (["evaluate", "--data", "no-such-folder"], "no-such-folder: no such folder"),
        (["train", "cpu-fre", "--data", ".", "--run", "r"], "no such preset"),
        (["train", "cpu-free", "--data", ".", "--run", "r", "--set", "a.b=1"], "no setting"),
    ],
)
def test_wrong_arguments_say_so(checkpoint, tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    if "--model" not in arguments and arguments[0] != "train":
        arguments = [*arguments, "--model", str(checkpoint)]
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_warning_while_a_model_is_loaded_is_one_line(cli, tmp_path, monkeypatch):
    from snn_codec import loading

    def old(*arguments, **options):
        warnings.warn("a model: has a new name", FutureWarning, stacklevel=1)
        return load(*arguments, **options)

    load = loading.load
    monkeypatch.setattr(loading, "load", old)
    soundfile.write(tmp_path / "a.wav", tones(0.5), 22050)
    status, _, err = cli("encode", tmp_path / "a.wav")
    assert status == 0 and err.splitlines() == ["snn-codec: a model: has a new name"]


def test_info_says_what_is_there(cli, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(2.0), 22050)
    cli("encode", tmp_path / "a.wav")
    cli("encode", tmp_path / "a.wav", "-o", tmp_path / "a.h5")
    for suffix in (".h5", ".spk"):
        result = json.loads(cli("info", tmp_path / f"a{suffix}", "--json")[1])
        found = result["recordings"]["a"]
        assert (found["units"], found["steps"], found["samples"]) == (80, 87, 44100)
        assert found["bits"]["dense"] == 80 * 87
        text = cli("info", tmp_path / f"a{suffix}")[1]
        assert "80 units" in text and "87 steps" in text and "dense" in text
    parts, n_bytes = result["parts"], (tmp_path / "a.spk").stat().st_size
    assert result["bytes"] == parts["total"] == n_bytes and sum(parts["chunks"].values()) == 1
    assert f"{n_bytes} bytes" in text and "checksums 4" in text


def test_a_broken_seal_is_all_that_info_finds_and_convert_renews_it(cli, tmp_path):
    path, again = tmp_path / "a.h5", tmp_path / "again.h5"
    h5.write(path, {"one": matrix(raster(12, 60, 0.1))})
    assert json.loads(cli("info", path, "--json")[1])["sealed"]
    h5py.File(path, "a").close()
    assert cli("convert", path, tmp_path / "a.csv")[0] == 2
    status, text = cli("info", path)[:2]
    assert status == 0 and "12 units" in text
    assert "its seal is broken: another program has changed the file" in text and f"--reseal {path}" in text
    assert not json.loads(cli("info", path, "--json")[1])["sealed"]
    assert cli("convert", "--reseal", path, again)[0] == 0
    assert cli("convert", again, tmp_path / "a.csv")[0] == 0
    assert cli("convert", "--reseal", path, again, tmp_path / "more.h5")[0] == 2
    for wrong in (
        ["-"],
        [tmp_path / "a.spk"],
        [again, "--force", "--gzip"],
        [again, "--force", "--to", "h5"],
    ):
        assert cli("convert", "--reseal", path, *wrong)[0] == 2
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a.csv", path, again]
    path.write_bytes(path.read_bytes()[:-900])
    assert cli("info", path)[0] == cli("convert", "--reseal", path, path, "--force")[0] == 2


def test_index_bits_go_to_simulators_only_when_asked(cli, tmp_path):
    rvq = json.loads((checkpoints.find("rvq") / "config.json").read_text())["fingerprint"]
    path = tmp_path / "a.h5"
    h5.write(path, {"one": matrix(raster(80, 60, 0.5), fingerprint=rvq)})
    simulators = (
        [("convert", path, tmp_path / f"a.{kind}", "--to", kind) for kind in ("shd", "nirdata")]
        + [("export", "spikes", path, "--to", kind) for kind in ("lava", "sonata", "shd")]
    )  # fmt: skip
    for arguments in simulators:
        status, _, complaint = cli(*arguments)
        assert status == 2 and f"{path}: its model (rvq, rvq) has index bits, not spikes" in complaint
        assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]
    for arguments in simulators:
        assert cli(*arguments, "--as-bits")[0] == 0
    for suffix in ("csv", "npz", "spk"):
        assert cli("convert", path, tmp_path / f"b.{suffix}")[0] == 0


def test_the_output_says_which_kind_of_event_file(cli, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(0.5), 22050)
    for name, more in (("a.spk", ()), ("a.h5", ()), ("b", ("--format", "h5")), ("c", ())):
        assert cli("encode", tmp_path / "a.wav", "-o", tmp_path / name, *more)[0] == 0
    events = spk.read(tmp_path / "a.spk")
    assert spk.read(tmp_path / "c") == events
    for name in ("a.h5", "b"):
        assert dict(h5.SpikeTrains(tmp_path / name)) == {"a": events}
    assert cli("convert", tmp_path / "a.spk", tmp_path / "converted.h5")[0] == 0
    assert dict(h5.SpikeTrains(tmp_path / "converted.h5")) == {"a": events}
    status, _, err = cli("encode", tmp_path / "a.wav", "-o", tmp_path / "a.csv")
    assert status == 2 and "convert" in err and not (tmp_path / "a.csv").exists()


def test_a_name_and_a_format_that_contradict_each_other_are_refused(cli, tmp_path):
    sound = tmp_path / "a.wav"
    soundfile.write(sound, tones(0.5), 22050)
    assert cli("encode", sound)[0] == 0
    before, events = {path: path.read_bytes() for path in tmp_path.iterdir()}, tmp_path / "a.spk"
    encode, convert, wrong = ("encode", sound), ("convert", events), "is not the name of a file of"
    own = f"{events}: is the input itself; give another name"
    for arguments, reason in {
        (*encode, "-o", tmp_path / "b.spk", "--format", "h5"): f"b.spk: {wrong} h5, which ends in .h5",
        (*encode, "-o", tmp_path / "b.WAV", "--format", "spk"): f"b.WAV: {wrong} spk",
        (*encode, "-o", "-", "--format", "h5"): "-: only a bitstream goes to stdout, not h5; give a file",
        (*convert, tmp_path / "b.spk", "--to", "h5"): f"b.spk: {wrong} h5",
        (*convert, tmp_path / "b.nwb", "--to", "shd"): f"b.nwb: {wrong} shd, which ends in .h5",
        (*convert, events, "--force"): own,
        (*encode, "-o", sound, "--force", "--format", "spk"): f"a.wav: {wrong} spk",
        ("decode", events, "-o", events, "--force"): own,
        ("export", "spikes", events, "--to", "shd", "-o", events, "--force"): own,
        ("listen", "compare", sound, events, "-o", events, "--force"): own,
        ("import", sound, "--like", events, "-o", events, "--force"): own,
    }.items():
        status, out, err = cli(*arguments)
        assert (status, out, len(err.splitlines())) == (2, "", 1) and reason in err
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "music").write_bytes(sound.read_bytes())
    status, _, err = cli("encode", tmp_path / "music", "-o", tmp_path / "music", "--force")
    assert status == 2 and "music: is the input itself" in err


def test_one_of_several_recordings_is_decoded_by_name(cli, tmp_path):
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", tones(0.5, seed=ord(name)), 22050)
    assert cli("encode", tmp_path / "a.wav", tmp_path / "b.wav", "-o", tmp_path / "events")[0] == 0
    both = tmp_path / "both.h5"
    assert cli("convert", tmp_path / "events", both)[0] == 0
    status, _, err = cli("decode", both, "-o", tmp_path / "c.wav")
    assert status == 2 and "2 recordings" in err and "a, b" in err
    assert cli("decode", both, "--recording", "b", "-o", tmp_path / "c.wav")[0] == 0
    assert cli("decode", tmp_path / "events" / "b.spk", "-o", tmp_path / "d.wav")[0] == 0
    assert (tmp_path / "c.wav").read_bytes() == (tmp_path / "d.wav").read_bytes()


def test_a_damaged_chunk_is_named_and_the_rest_is_decoded(cli, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(20.0), 22050)
    cli("encode", tmp_path / "a.wav")
    cli("decode", tmp_path / "a.spk", "-o", tmp_path / "whole.wav")
    data = bytearray((tmp_path / "a.spk").read_bytes())
    data[4000] ^= 1  # a chunk has about 2600 bytes
    (tmp_path / "a.spk").write_bytes(data)
    status, _, err = cli("decode", tmp_path / "a.spk", "-o", tmp_path / "b.wav")
    assert status == 2 and "chunk 1 (5.94 s to 11.89 s)" in err and "--salvage" in err
    status, out, err = cli("decode", tmp_path / "a.spk", "-o", tmp_path / "b.wav", "--salvage", "--json")
    assert status == 0 and "chunk 1 (5.94 s to 11.89 s) is damaged" in err
    assert json.loads(out)["files"][0]["damaged_chunks"] == [1]
    whole, kept = (soundfile.read(tmp_path / name)[0] for name in ("whole.wav", "b.wav"))
    assert len(whole) == len(kept)
    chunk, context = 256 * 512, 32 * 512
    np.testing.assert_array_equal(kept[: chunk // 2], whole[: chunk // 2])
    np.testing.assert_array_equal(kept[3 * chunk + context :], whole[3 * chunk + context :])
    assert np.abs(kept[chunk + chunk // 2 :][:1000]).max() < 1e-3
    assert json.loads(out)["files"][0]["cut_off_at_seconds"] is None

    (tmp_path / "cut.spk").write_bytes(data[:4000])
    status, _, err = cli("decode", tmp_path / "cut.spk", "--salvage", "--recording", "cut")
    assert status == 2 and "holds one recording without a name" in err
    status, out, err = cli("decode", tmp_path / "cut.spk", "--salvage", "--json")
    assert status == 0 and "cut.spk: the end of the file is missing; what came after 5.94 s is lost" in err
    (found,) = json.loads(out)["files"]
    assert found["damaged_chunks"] == [] and round(found["cut_off_at_seconds"], 2) == 5.94


def test_events_go_through_pipes(checkpoint, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(8.0), 22050)
    run = f"{shlex.quote(sys.executable)} -m snn_codec.cli"
    model = f"--model {shlex.quote(str(checkpoint))}"
    command = f"{run} encode a.wav -o - {model} | tee a.spk | {run} decode - -o b.wav {model}"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert (
        main(["decode", str(tmp_path / "a.spk"), "-o", str(tmp_path / "c.wav"), "--model", str(checkpoint)])
        == 0
    )
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "c.wav").read_bytes()
    assert "a.wav -> -: 8.00 s" in result.stderr
    command = f"{run} encode a.wav -o - {model} | head -c 10 > start"
    result = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "Traceback" not in result.stderr
    assert (tmp_path / "start").read_bytes() == (tmp_path / "a.spk").read_bytes()[:10]


def test_pipes_take_one_recording(cli, tmp_path):
    for arguments in (("encode", "a.wav", "b.wav", "-o", "-"), ("decode", "-"), ("decode", "-", "a.spk")):
        status, _, err = cli(*arguments)
        assert status == 2 and err.startswith("snn-codec: -: ")


@pytest.mark.parametrize("kind", ["spk", "h5", "csv", "npz", "shd"])
def test_events_are_converted(cli, tmp_path, kind):
    soundfile.write(tmp_path / "a.wav", tones(2.0), 22050)
    cli("encode", tmp_path / "a.wav")
    events = spk.read(tmp_path / "a.spk")
    target = tmp_path / f"b.{kind}"
    status, out, err = cli("convert", tmp_path / "a.spk", target, *(["--to", kind] if kind == "shd" else []))
    assert (status, err) == (0, "") and "1 recording(s)" in out
    if kind in ("spk", "h5"):
        back = tmp_path / "c.spk"
        assert cli("convert", target, back)[0] == 0
        assert spk.read(back) == events and back.read_bytes() == (tmp_path / "a.spk").read_bytes()
    status, _, err = cli("convert", tmp_path / "a.spk", target, *(["--to", kind] if kind == "shd" else []))
    assert status == 2 and "--force" in err
    status, _, err = cli("convert", tmp_path / "a.spk", tmp_path / "b.nothing")
    assert status == 2 and "b.nothing" in err and "nirdata" in err


def test_an_entropy_model_is_trained_and_used(checkpoint, music, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(checkpoint, folder)
    train = ["train-entropy", str(folder), "--data", str(music), "--steps", "150"]
    for seed in (-1, 2**63):
        assert (
            main([*train, "--seed", str(seed)]) == 2 and f"--seed {seed}: must be" in capsys.readouterr().err
        )
    assert main(train) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("counted", "adaptive", "learned"))
    assert main(train) == 2 and "--force" in capsys.readouterr().err
    sound = str(corpus.paths(music, "train")[0])  # learned by heart
    first, second = tmp_path / "a.spk", tmp_path / "b.spk"
    assert main(["encode", sound, "-o", str(first), "--model", str(folder)]) == 0
    assert main(["encode", sound, "-o", str(second), "--model", str(checkpoint)]) == 0
    assert first.stat().st_size < 0.6 * second.stat().st_size
    assert "learned" in spk.breakdown(first)["chunks"]
    assert main(["decode", str(first), "-o", str(tmp_path / "a.wav"), "--model", str(folder)]) == 0
    capsys.readouterr()
    for command, expected in ((["info"], 0), (["decode", "-o", str(tmp_path / "b.wav")], 2)):
        assert main([*command, str(first), "--model", str(checkpoint)]) == expected
        output = capsys.readouterr()
        assert "entropy model" in output.out + output.err
    assert main(["info", str(first)]) == 0
    assert "--events decodes the events to count them" in capsys.readouterr().out
    assert main(["info", str(first), "--model", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recordings"]["a"]["events"] == Codec.load(folder).encode(*soundfile.read(sound)).n_events
    assert main(["convert", str(first), str(tmp_path / "c.spk"), "--model", str(folder)]) == 0
    assert (tmp_path / "c.spk").read_bytes() == first.read_bytes()


def test_evaluate_writes_rows(cli, music, tmp_path):
    status, out, _ = cli("evaluate", "--data", music, "--split", "train", "--json", tmp_path / "e.json")
    assert status == 0 and "si_snr" in out
    result = json.loads((tmp_path / "e.json").read_text())
    assert len(result["clips"]) == result["summary"]["si_snr"]["clips"] > 1


@pytest.mark.parametrize("module", ["snn_codec", "snn_codec.cli"])
def test_the_installed_command_exits_with_two(tmp_path, module):
    result = subprocess.run(
        [sys.executable, "-m", module, "info", str(tmp_path / "none.spk")],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("snn-codec: ") and len(result.stderr.splitlines()) == 1
