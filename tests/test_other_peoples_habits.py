"""Pipes, odd names of files, files of several models, and refusals that come before PyTorch is imported."""

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import settled, small_model, tones

from snn_codec import checkpoints, pipes
from snn_codec.cli import main
from snn_codec.storage import h5, spk

ROOT = Path(__file__).parent.parent
RECORDING = ROOT / "data" / "recording" / "bach-bwv846.flac"


@pytest.fixture
def cli(checkpoint, capsys):
    def run(command, *arguments, model=str(checkpoint)):
        chosen = ["--model", model] if model else []
        status = main([command, *map(str, arguments), *chosen])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture
def sound(tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(1.0), 22050)
    return tmp_path / "a.wav"


@pytest.fixture
def stdin(monkeypatch):
    """Give bytes to the program as if they were piped in."""

    def give(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


@pytest.fixture
def two_models(tmp_path, monkeypatch):
    """Two models that are found by their fingerprints, and a folder with events of each."""
    place, events = tmp_path / "models", tmp_path / "events"
    events.mkdir()
    monkeypatch.setattr(checkpoints, "FOLDERS", (place,))
    soundfile.write(tmp_path / "a.wav", tones(1.0), 22050)
    for seed, name in enumerate(("one", "two")):
        settled(small_model(), seed).save(place / name)
        target = events / f"{name}.spk"
        assert main(["encode", str(tmp_path / "a.wav"), "-o", str(target), "--model", name]) == 0
    return events


def streamed(wav):
    """As from a program that cannot go back to write the length."""
    data = bytearray(wav)
    data[4:8] = data[40:44] = b"\xff" * 4
    return bytes(data)


@pytest.mark.parametrize("kind", ["WAV", "streamed", "FLAC"])
def test_a_recording_comes_through_stdin(cli, sound, stdin, tmp_path, kind):
    data = sound.read_bytes()
    if kind == "FLAC":
        soundfile.write(tmp_path / "b.flac", soundfile.read(sound, dtype="int16")[0], 22050)
        data = (tmp_path / "b.flac").read_bytes()
    stdin(streamed(data) if kind == "streamed" else data)
    assert cli("encode", "-", "-o", tmp_path / "b.spk")[0] == 0
    assert cli("encode", sound)[0] == 0
    assert spk.read(tmp_path / "b.spk") == spk.read(tmp_path / "a.spk")


def test_a_named_pipe_is_read_once_and_used_as_often_as_needed(prompted, sound, tmp_path, capsys):
    pipe, target = tmp_path / "pipe", str(tmp_path / "b.h5")
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(sound.read_bytes(),))
    writer.start()
    assert main(["encode", str(pipe), "-o", target, "--model", prompted, "--min-si-snr", "-99"]) == 0
    writer.join()
    assert list(h5.SpikeTrains(target)) == ["pipe"] and str(pipe) in capsys.readouterr().out


def test_sound_goes_to_stdout_as_wav(checkpoint, sound, tmp_path, capfdbinary):
    shared = ["--model", str(checkpoint)]
    assert main(["encode", str(sound), *shared]) == 0
    assert main(["decode", str(tmp_path / "a.spk"), "-o", str(tmp_path / "b.wav"), *shared]) == 0
    capfdbinary.readouterr()
    assert main(["decode", str(tmp_path / "a.spk"), "-o", "-", *shared]) == 0
    output = capfdbinary.readouterr()
    heard, rate = soundfile.read(io.BytesIO(output.out), dtype="int16")
    assert rate == 22050 and b"a.spk -> -: 1.00 s" in output.err
    np.testing.assert_array_equal(heard, soundfile.read(tmp_path / "b.wav", dtype="int16")[0])


def test_what_is_wrong_with_a_pipe_is_said_of_the_pipe(cli, stdin, tmp_path, monkeypatch):
    for data, words in ((b"", "-: is empty"), (b"no sound" * 99, "-: is not audio")):
        stdin(data)
        status, _, err = cli("encode", "-", "-o", tmp_path / "a.spk")
        assert status == 2 and f"snn-codec: {words}" in err and "/tmp" not in err
    stdin(b"no events" * 99)
    status, _, err = cli("decode", "-", "-o", tmp_path / "a.wav")
    assert status == 2 and err.startswith("snn-codec: -: ")
    monkeypatch.setattr(sys, "stdin", None)
    status, _, err = cli("encode", "-", "-o", tmp_path / "a.spk")
    assert status == 2 and "nothing is piped in" in err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def fifo(tmp_path):
    """Make a named pipe that a thread writes bytes to."""
    writers = []

    def give(name, data):
        os.mkfifo(tmp_path / name)
        writers.append(threading.Thread(target=(tmp_path / name).write_bytes, args=(data,)))
        writers[-1].start()
        return tmp_path / name

    yield give
    for writer in writers:
        writer.join()


@pytest.mark.parametrize("suffix", ["spk", "h5"])
def test_event_files_come_through_pipes_to_info_and_convert(cli, sound, stdin, fifo, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    assert cli("encode", sound, "-o", path)[0] == 0
    events, data = h5.read(path) if suffix == "h5" else spk.read(path), path.read_bytes()
    expected = json.loads(cli("info", path, "--json", model=None)[1])
    for source in (Path("-"), fifo("one", data)):
        stdin(data)
        status, out, err = cli("info", source, "--json", model=None)
        found = json.loads(out)
        assert (status, err, found["file"]) == (0, "", str(source))
        assert list(found["recordings"].values()) == list(expected["recordings"].values())
    for number, source in enumerate((Path("-"), fifo("two", data))):
        stdin(data)
        assert cli("convert", source, tmp_path / f"{number}.h5")[0] == 0
        assert list(h5.SpikeTrains(tmp_path / f"{number}.h5").values()) == [events]
    stdin(data[:-9])
    status, _, err = cli("convert", "-", tmp_path / "c.h5")
    assert status == 2 and err.startswith("snn-codec: -: ") and "/tmp" not in err


def test_convert_writes_to_stdout_what_needs_no_file_and_says_the_rest_on_stderr(
    checkpoint, sound, tmp_path, monkeypatch, capfdbinary
):
    monkeypatch.chdir(tmp_path)
    assert main(["encode", str(sound), "--model", str(checkpoint)]) == 0
    for kind in ("csv", "npz", "spk"):
        assert main(["convert", "a.spk", f"b.{kind}"]) == 0
        capfdbinary.readouterr()
        assert main(["convert", "a.spk", "-", "--to", kind]) == 0
        out, err = capfdbinary.readouterr()
        assert out == Path(f"b.{kind}").read_bytes() and err == b"1 recording(s) -> -\n"
    for more in ([], ["--to", "h5"], ["--to", "shd"]):
        assert main(["convert", "a.spk", "-", *more]) == 2
        out, err = capfdbinary.readouterr()
        assert out == b"" and err == b"snn-codec: -: goes to stdout; say --to spk, csv, npz, or give a file\n"
    assert main(["convert", "none.spk", "-", "--to", "csv"]) == 2
    assert not Path("-").exists()


def test_a_file_is_its_own_copy(tmp_path):
    (tmp_path / "a").touch()
    with pipes.seekable(tmp_path / "a") as found:
        assert found == tmp_path / "a"
    assert not pipes.is_pipe(tmp_path / "none") and pipes.is_pipe(Path(os.devnull))


NAMES = [
    "new\nline",
    "[bold] markup",
    "two  spaces",
    "-dash",
    b"not utf-8 \xff".decode(errors="surrogateescape"),
]


@pytest.mark.parametrize("suffix", ["spk", "h5"])
@pytest.mark.parametrize("as_json", [False, True])
def test_any_name_of_a_file_will_do(cli, sound, tmp_path, suffix, as_json):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.wav").write_bytes(sound.read_bytes())
    more = ["--json"] if as_json else []
    status, out, err = cli("encode", folder, "--format", suffix, *more)
    assert (status, err) == (0, "") and len(list(folder.glob(f"*.{suffix}"))) == len(NAMES)
    if as_json:
        assert {row["input"] for row in json.loads(out)["files"]} == {
            f"{folder}/{name}.wav" for name in NAMES
        }
    else:
        assert len(out.splitlines()) == len(NAMES) + 1 and "new\\nline" in out and "\\udcff" in out
    for path in folder.glob(f"*.{suffix}"):
        assert cli("info", path)[0] == 0


def test_a_bad_file_of_any_name_is_one_line(cli, tmp_path):
    (tmp_path / "a\nb \udcff.wav").write_text("no sound")
    status, _, err = cli("encode", tmp_path / "a\nb \udcff.wav")
    assert status == 2 and len(err.splitlines()) == 1 and "a\\nb \\udcff.wav: is not audio" in err


def test_an_output_folder_may_have_a_dot_in_its_name(cli, sound, tmp_path):
    (tmp_path / "in").mkdir()
    sound.rename(tmp_path / "in" / "a.wav")
    assert cli("encode", tmp_path / "in", "-o", tmp_path / "run.v1")[0] == 0
    assert (tmp_path / "run.v1" / "a.spk").is_file()
    for command, source, name in (("encode", "in", "b.spk"), ("decode", "run.v1", "b.wav")):
        status, _, err = cli(command, tmp_path / source, "-o", tmp_path / name)
        assert status == 2 and f"{name}: is the name of a file" in err and not (tmp_path / name).exists()


def test_a_name_that_ends_in_a_slash_is_a_folder(cli, sound, tmp_path):
    for command, source, made in (
        ("encode", sound, "events.h5/a.spk"),
        ("decode", tmp_path / "events.h5" / "a.spk", "sound/deep/a.wav"),
    ):
        folder = Path(made).parent
        assert cli(command, source, "-o", f"{tmp_path / folder}/")[0] == 0
        assert [path.name for path in (tmp_path / folder).iterdir()] == [Path(made).name]
    assert cli("encode", sound, "-o", f"{tmp_path}/more.h5/", "--format", "h5")[0] == 0
    assert list(h5.SpikeTrains(tmp_path / "more.h5" / "a.h5").values()) == [
        spk.read(tmp_path / "events.h5" / "a.spk")
    ]
    status, _, err = cli("encode", sound, "-o", f"{sound}/", "--force")
    assert status == 2 and f"{sound}: is a file, but the output is to be a folder" in err
    arguments = ("simulate", sound, "--backend", "integer", "-o", f"{tmp_path / 'simulated'}/")
    assert cli(*arguments)[0] == 0 and (tmp_path / "simulated" / "a.spk").is_file()
    status, _, err = cli("convert", tmp_path / "more.h5" / "a.h5", f"{tmp_path / 'none'}/", "--to", "csv")
    assert status == 2 and "none: no such folder; make it first" in err and not (tmp_path / "none").exists()


def test_a_channel_is_chosen_and_a_bad_mix_is_said(cli, sound, tmp_path):
    samples = soundfile.read(sound)[0]
    soundfile.write(tmp_path / "b.wav", np.stack([samples, -samples], 1), 22050)
    status, out, err = cli("encode", tmp_path / "b.wav", "--json")
    assert status == 0 and "channels cancel" in err and "--channel" in err
    assert len(json.loads(out)["files"][0]["warnings"]) == 1
    assert cli("encode", sound)[0] == 0
    assert cli("encode", tmp_path / "b.wav", "--channel", "left", "--force")[2] == ""
    assert spk.read(tmp_path / "b.spk") == spk.read(tmp_path / "a.spk")


def test_what_is_there_of_a_recording_is_taken_if_asked(cli, sound, tmp_path):
    (tmp_path / "b.wav").write_bytes(sound.read_bytes()[: 44 + 22050])
    status, _, err = cli("encode", tmp_path / "b.wav")
    assert status == 2 and "is cut off" in err and "--allow-incomplete" in err
    status, _, err = cli("encode", tmp_path / "b.wav", "--allow-incomplete")
    assert status == 0 and "took what is there" in err
    assert spk.read(tmp_path / "b.spk").n_samples == 11025


def test_every_file_is_decoded_by_its_own_model(cli, two_models, tmp_path):
    assert cli("decode", two_models, "-o", tmp_path / "out", model=None)[0] == 0
    for name in ("one", "two"):
        target = tmp_path / f"{name}.wav"
        assert cli("decode", two_models / f"{name}.spk", "-o", target, model=name)[0] == 0
        assert target.read_bytes() == (tmp_path / "out" / f"{name}.wav").read_bytes()


def test_a_page_shows_models_side_by_side(cli, two_models, tmp_path):
    pytest.importorskip("matplotlib")
    files = [tmp_path / "a.wav", *sorted(two_models.iterdir())]
    page = tmp_path / "page.html"
    assert cli("listen", "compare", *files, "-o", page, "--seconds", 1, model=None)[0] == 0
    text = page.read_text()
    assert "decoded by one" in text and "decoded by two" in text


def test_events_that_need_an_entropy_model_are_found_theirs(cli, tmp_path):
    """Of the shipped models; each file of a folder by its own."""
    soundfile.write(tmp_path / "a.wav", tones(6.0), 22050)
    events = tmp_path / "events"
    events.mkdir()
    for name in ("free", "sparse"):
        assert cli("encode", tmp_path / "a.wav", "-o", events / f"{name}.spk", model=name)[0] == 0
        assert "learned" in spk.breakdown(events / f"{name}.spk")["chunks"]
        target = tmp_path / f"{name}.h5"
        status, _, err = cli(
            "export", "spikes", events / f"{name}.spk", "--to", "shd", "-o", target, model=None
        )
        assert status == 0, err
    assert cli("convert", events, tmp_path / "both.h5", model=None)[0] == 0
    both = h5.SpikeTrains(tmp_path / "both.h5")
    assert sorted(both) == ["free", "sparse"] and len({both[name].fingerprint for name in both}) == 2


EARLY = """
import sys
from snn_codec.cli import main
for line in sys.stdin.read().splitlines():
    try:
        status = main(line.split("|"))
    except SystemExit as end:
        status = end.code
    loaded = [name for name in ("torch", "lightning_fabric", "matplotlib") if name in sys.modules]
    print(status, loaded, line, file=sys.__stdout__)
    if loaded:
        break
"""


def test_what_can_be_refused_without_pytorch_is_refused_before_it_is_imported(tmp_path):
    (tmp_path / "there.spk").touch()
    (tmp_path / "there.h5").touch()
    (tmp_path / "words.wav").write_text("no sound")
    refused = [
        f"encode|{RECORDING}|-o|there.spk",
        "encode|words.wav",
        "encode|missing.wav",
        f"encode|{RECORDING}|-o|a.spk|--model|nope",
        f"encode|{RECORDING}|-o|no/such/a.spk",
        f"encode|{RECORDING}|-o|a.spk|--workers|0",
        "decode|there.spk",
        "decode|missing.spk|-o|a.wav",
        "info|there.spk",
        f"convert|{ROOT}/tests/golden/v3.spk|there.h5",
        "evaluate|--data|missing",
        "evaluate|--data|.|--model|nope",
        "train|nope|--data|.|--run|run",
        "train|cpu-free|--data|.|--run|run|--set|a.b=1",
        "train|cpu-free|--data|missing|--run|run",
        "train-entropy|nope|--data|.",
        "train-entropy|free|--data|.",
        f"simulate|{RECORDING}|-o|there.spk",
        f"simulate|{RECORDING}|-o|a.spk|--model|rvq|--backend|integer",
        "export|netx|-o|there.h5",
        "export|netx|-o|a.net|--model|rvq",
        "export|nir|-o|a.nir|--model|rvq",
        "export|nir|-o|a.nir|--model|nope",
        "analyse|missing.wav|-o|report",
        f"analyse|{RECORDING}|-o|report|--model|nope",
    ]
    needed = ["--help", "encode|--help", f"info|{ROOT}/tests/golden/v3.spk", "train|--list-settings"]
    result = subprocess.run(
        [sys.executable, "-c", EARLY], input="\n".join([*refused, *needed]), cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    lines = [line for line in result.stdout.splitlines() if line.endswith(tuple([*refused, *needed]))]
    assert lines == [f"2 [] {line}" for line in refused] + [f"0 [] {line}" for line in needed], result.stderr
    assert len(result.stderr.splitlines()) == len(refused)
    assert {path.name for path in tmp_path.iterdir()} == {"there.spk", "there.h5", "words.wav"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_stdout_that_cannot_be_written_is_one_sentence():
    run = f"{sys.executable} -m snn_codec.cli info {ROOT}/tests/golden/v3.spk"
    for redirected, status, words in (
        ("> /dev/full", 2, "standard output"),
        (">&-", 0, ""),
        ("2>&- | cat > /dev/null", 0, ""),
        ("| true", 0, ""),
    ):
        result = subprocess.run(
            ["bash", "-c", f"{run} {redirected}"], cwd=ROOT, capture_output=True, text=True
        )
        assert result.returncode == status, (redirected, result.stderr)
        assert words in result.stderr and len(result.stderr.splitlines()) == bool(words), redirected


def unread(pipe):
    """Bytes that wait in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_sigterm_ends_a_command_and_leaves_nothing(tmp_path):
    """As `timeout`, Slurm and systemd end programs, while a pipe has not delivered the recording yet."""
    command = [sys.executable, "-m", "snn_codec.cli", "encode", "-", "-o", str(tmp_path / "a.spk")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=False) as process:
        process.stdin.write(b"RIFF")
        process.stdin.flush()
        while unread(process.stdin) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
        said = process.stderr.read().decode()
    assert status == 128 + signal.SIGTERM and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
