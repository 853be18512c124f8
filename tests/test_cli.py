import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from conftest import tones

from snn_codec.cli import main
from snn_codec.codec import Codec
from snn_codec.storage import spiketrains


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
    assert row["output"] == str(tmp_path / "a.h5")
    assert row["kbps"] == pytest.approx(3.445, abs=0.02)
    assert row["file_bytes"] == (tmp_path / "a.h5").stat().st_size
    status, out, err = cli("decode", tmp_path / "a.h5", "-o", tmp_path / "b.wav")
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
    assert "good.wav" in out and (tmp_path / "good.h5").exists() and not (tmp_path / "bad.h5").exists()


def test_nothing_is_overwritten_without_force(cli, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(0.2), 22050)
    (tmp_path / "a.h5").write_text("precious")
    status, _, err = cli("encode", tmp_path / "a.wav")
    assert status == 2 and "--force" in err and (tmp_path / "a.h5").read_text() == "precious"
    assert cli("encode", tmp_path / "a.wav", "--force")[0] == 0
    status, _, err = cli("decode", tmp_path / "a.h5")  # would replace the recording itself
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
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_gets_one_sentence_and_leaves_nothing(cli, tmp_path, kind):
    path = tmp_path / "input.wav"
    BAD[kind](path)
    status, out, err = cli("encode", path, "-o", tmp_path / "out.h5")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1 and "input.wav" in err and "Traceback" not in err
    assert [item for item in tmp_path.iterdir() if item != path] == []


@pytest.mark.parametrize("kind", RIGHT)
def test_unusual_input_is_right(cli, tmp_path, kind):
    path = tmp_path / "input.wav"
    RIGHT[kind](path)
    assert cli("encode", path)[0] == 0
    assert cli("decode", tmp_path / "input.h5", "-o", tmp_path / "out.wav")[0] == 0
    length = 1 if kind == "one sample" else 22050
    assert soundfile.info(tmp_path / "out.wav").frames == length
    assert spiketrains.read(tmp_path / "input.h5").n_samples == length


@pytest.mark.parametrize("kind", ["empty file", "text file", "missing", "cut", "foreign"])
def test_bad_event_files_get_one_sentence(cli, tmp_path, kind):
    path = tmp_path / "input.h5"
    if kind == "cut":
        soundfile.write(tmp_path / "a.wav", tones(0.5), 22050)
        cli("encode", tmp_path / "a.wav", "-o", path)
        path.write_bytes(path.read_bytes()[:-500])
        (tmp_path / "a.wav").unlink()
    elif kind == "foreign":
        import h5py

        h5py.File(path, "w").close()
    else:
        BAD[kind](path)
    for command in (("decode", path, "-o", tmp_path / "out.wav"), ("info", path)):
        status, out, err = cli(*command)
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 1 and "input.h5" in err
    assert not (tmp_path / "out.wav").exists()


def test_events_of_another_model_are_refused_by_name(cli, tmp_path, codec):
    from conftest import settled, small_model

    settled(small_model(), seed=7).save(tmp_path / "other")
    soundfile.write(tmp_path / "a.wav", tones(0.5), 22050)
    cli("encode", tmp_path / "a.wav")
    status, _, err = cli("decode", tmp_path / "a.h5", "-o", tmp_path / "b.wav", model=str(tmp_path / "other"))
    assert status == 2 and codec.fingerprint in err and "a.h5" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["encode", "a.wav", "--model", "no-such"], "no-such: no such model"),
        (["encode", "a.wav", "--device", "warp"], "--device warp"),
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


def test_info_says_what_is_there(cli, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(2.0), 22050)
    cli("encode", tmp_path / "a.wav")
    found = json.loads(cli("info", tmp_path / "a.h5", "--json")[1])["recordings"]["a.wav"]
    assert (found["units"], found["steps"], found["samples"]) == (80, 87, 44100)
    assert found["bits"]["dense"] == 80 * 87
    text = cli("info", tmp_path / "a.h5")[1]
    assert "80 units x 87 steps" in text and "dense" in text


def test_evaluate_writes_rows(cli, music, tmp_path):
    status, out, _ = cli("evaluate", "--data", music, "--split", "train", "--json", tmp_path / "e.json")
    assert status == 0 and "si_snr" in out
    result = json.loads((tmp_path / "e.json").read_text())
    assert len(result["clips"]) == result["summary"]["si_snr"]["clips"] > 1


def test_the_installed_command_exits_with_two(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "snn_codec.cli", "info", str(tmp_path / "none.h5")],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("snn-codec: ") and len(result.stderr.splitlines()) == 1
