"""The command, from files to a report."""

import base64
import csv
import io
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pretty_midi
import pytest
import soundfile
from conftest import tones

from snn_codec.analysis import command
from snn_codec.cli import main
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.storage import h5, spk

ROOT = Path(__file__).parent.parent
pytest.importorskip("matplotlib")


def score(path, seed=0, seconds=20.0):
    random, piece, piano = np.random.default_rng(seed), pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    for onset in np.arange(0.2, seconds - 0.3, 0.1):
        piano.notes.append(pretty_midi.Note(80, int(random.integers(60, 64)), onset, onset + 0.1))
    piece.instruments.append(piano)
    piece.write(str(path))


@pytest.fixture
def corpus(tmp_path):
    """Three recordings in the MAESTRO layout, two to train on."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = [("split", "audio_filename", "midi_filename")]
    for number, split in enumerate(("train", "train", "validation")):
        soundfile.write(folder / f"{number}.wav", tones(20.0, seed=number), 22050)
        score(folder / f"score{number}.mid", number)
        rows.append((split, f"{number}.wav", f"score{number}.mid"))
    with open(folder / "corpus.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def run(capsys, *arguments):
    status = main(["analyse", *map(str, arguments)])
    output = capsys.readouterr()
    return status, output.out, output.err


def test_a_data_set_with_two_models(corpus, checkpoint, tmp_path, capsys):
    pytest.importorskip("mir_eval")
    options = ("--model", checkpoint, ROOT / "data" / "checkpoints" / "free", "--readout", "--save", "--json")
    status, out, err = run(capsys, corpus, "-o", tmp_path / "report", *options)
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert json.loads((tmp_path / "report" / "summary.json").read_text()) == found
    small, free = found["models"]
    assert (small["model"], free["model"], free["recordings"]) == ("small", "free", 1)
    assert small["fingerprint"] != free["fingerprint"] and free["seconds"] == pytest.approx(20, abs=0.03)
    assert free["chance"] == pytest.approx(0.0506, abs=1e-4) and free["max_prominence"][1] is None
    readouts = found["onset_readout"]
    assert set(readouts) == {"small", "free", "mel, 80 bands"}
    assert all(0 <= row["f1"][0] <= 1 and row["trained_on"] == 2 for row in readouts.values())
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {
        "index.html", "summary.json", "figure5.png", "units.csv", "pairs.csv", "results.h5",
        "2-small.html", "2-free.html",
    }  # fmt: skip
    status, _, err = run(capsys, corpus, "-o", tmp_path / "report", "--model", checkpoint)
    assert status == 2 and "--force" in err


def test_the_bar_goes_on_within_a_recording_and_while_a_readout_learns(corpus, codec, tmp_path):
    pytest.importorskip("mir_eval")
    told = []
    command.analyse(
        [corpus], tmp_path / "report", [("small", codec, None)], command.Options(readout=True), told.append
    )
    assert told == sorted(told) and told[-1] == 1
    reads = 1 + 2 * (2 + 1 + 1)  # the recording; events and mel of two to learn from, one again, one to score
    ends = np.arange(reads + 1) / reads
    assert set(ends[1:]) <= set(told)
    within = np.setdiff1d(told, ends)
    assert len(within) and within[0] < ends[1], "the first recording is longer than a block"


def test_sound_and_its_events_give_the_same(checkpoint, codec, tmp_path, capsys):
    sound = tones(20.0)
    soundfile.write(tmp_path / "a.wav", sound, 22050, subtype="FLOAT")
    score(tmp_path / "a.mid")
    events = codec.encode(sound, 22050)
    (tmp_path / "events").mkdir()
    h5.write(tmp_path / "events" / "all.h5", {"deep/a.wav": events})
    spk.write(tmp_path / "events" / "a.spk", events)
    found = []
    for number, (given, pages) in enumerate((("a.wav", 1), ("events/all.h5", 1), ("events/a.spk", 0))):
        output = tmp_path / f"report{number}"
        more = ("--midi", tmp_path / "a.mid", "--pages", pages, "--model", checkpoint, "--json")
        status, out, err = run(capsys, tmp_path / given, "-o", output, *more)
        assert (status, err) == (0, "")
        found.append(json.loads(out)["models"])
        assert len(list(output.glob("*.html"))) == pages + 1
    assert found[0] == found[1] == found[2]
    text = (tmp_path / "report1" / "a.html").read_text(encoding="utf-8")
    assert '"name": "decoded"' in text and '"name": "original"' not in text


def test_the_offset_moves_the_notes(tmp_path, capsys):
    """The shipped recording: its sound comes with its notes, and the lag found says so."""
    lags = []
    for offset in (0, 232.2):  # ten steps
        more = ("--offset-ms", offset, "--pages", 0, "--json", "--force")
        _, out, _ = run(
            capsys, ROOT / "data" / "recording" / "bach-bwv846.flac", "-o", tmp_path / "report", *more
        )
        lags.append(json.loads(out)["models"][0]["median_lag_steps"])
    assert lags[0] - lags[1] == 10 and abs(lags[0]) <= 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.wav"], "no MIDI named a beside it"),
        (["a.wav", "--midi", "other.mid", "more.mid"], "no MIDI named a among those given"),
        (["no-such.wav"], "no such file"),
        (["a.wav", "--midi", "other.mid", "--readout"], "MAESTRO layout"),
        (["a.wav", "--midi", "a.wav"], "is not a MIDI file"),
        (["a.wav", "--midi", "other.mid", "--half-width", "6"], "is now --half-width-ms"),
        (["a.wav", "--midi", "other.mid", "--half-width-ms", "3000"], "less than the largest lag"),
        (["a.wav", "--midi", "other.mid", "--rows", "note"], "have no frequencies"),
        (["a.wav", "--midi", "other.mid", "--pages", "-1"], "0 or more"),
        (["a.wav", "--midi", "other.mid", "--offset-ms", "nan"], "in milliseconds"),
    ],
)
def test_what_cannot_be_used_gets_one_sentence(checkpoint, tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", tones(1.0), 22050)
    score("other.mid")
    status, out, err = run(capsys, *arguments, "-o", "report", "--model", checkpoint)
    assert (status, out) == (2, "") and len(err.splitlines()) == 1 and words in err


def test_no_recording_is_encoded_before_every_midi_was_looked_at(
    corpus, checkpoint, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(Codec, "encode_blocks", lambda *arguments, **options: pytest.fail("encoded"))
    late = "--offset-ms", "-60000"
    table, text = corpus / "corpus.csv", (corpus / "corpus.csv").read_text()
    for options, words in (
        (late, "2.wav: none of the 195 notes of its MIDI begins in its 20.0 s (they begin at -59.8"),
        (("--split", "train", *late), "0.wav: none of the"),
        (("--readout",), "its split train has one recording"),
    ):
        if options == ("--readout",):
            pytest.importorskip("mir_eval")
            table.write_text(text.replace("train,1.wav", "test,1.wav"))
        status, out, err = run(capsys, corpus, "-o", tmp_path / "r", "--model", checkpoint, *options)
        assert (status, out, len(err.splitlines())) == (2, "", 1) and words in err
        assert not (tmp_path / "r").exists()
    table.write_text(text)
    (corpus / "score1.mid").write_bytes(b"MThd")  # the second of two
    status, _, err = run(capsys, corpus, "-o", tmp_path / "r", "--model", checkpoint, "--split", "train")
    assert status == 2 and "score1.mid: is not a MIDI file" in err


def test_pages_that_would_have_one_name_are_refused_before_the_work(
    checkpoint, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(Codec, "encode_blocks", lambda *arguments, **options: pytest.fail("encoded"))
    monkeypatch.chdir(tmp_path)
    Path("one").mkdir()
    for name in ("Index", "one/a"):
        for suffix in ("wav", "flac"):
            soundfile.write(f"{name}.{suffix}", tones(1.0), 22050)
        score(f"{name}.mid")
    for files, words in (
        (["Index.wav"], "Index.wav would be Index.html, as the report's first page"),
        (
            ["one/a.wav", "one/a.flac", "--pages", "2"],
            "one/a.flac: the page of a.flac would be a.html, as that of a.wav",
        ),
    ):
        status, _, err = run(capsys, *files, "-o", "new/report", "--model", checkpoint, "--force")
        assert status == 2 and words in err and not Path("new").exists()


def test_recordings_of_one_name_have_their_pages_in_folders(checkpoint, tmp_path, capsys, monkeypatch):
    """The index leads there, and page, index and results tell them apart."""
    monkeypatch.chdir(tmp_path)
    for name in ("data/A/1 #/a", "data/B/1 #/a", "data/B/b"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(f"{name}.wav", tones(4.0), 22050)
        score(f"{name}.mid")
    options = ("data", "-o", "report", "--model", checkpoint, "--pages", "3", "--save")
    status, _, err = run(capsys, *options)
    assert (status, err) == (0, "")
    pages = {path.relative_to("report").as_posix() for path in Path("report").rglob("*.html")}
    assert pages == {"index.html", "A/1 #/a.html", "B/1 #/a.html", "b.html"}
    shown = Path("report/index.html").read_text(encoding="utf-8")
    assert '<a href="A/1%20%23/a.html">A/1 #/a.wav</a>' in shown and '<a href="b.html">b.wav</a>' in shown
    assert '"title": "B/1 #/a.wav"' in Path("report/B/1 #/a.html").read_text(encoding="utf-8")
    with h5py.File("report/results.h5") as file:
        assert file["0/recording"].asstr()[:].tolist() == ["A/1 #/a.wav", "B/1 #/a.wav", "b.wav"]
    assert run(capsys, *options)[0] == 2 and run(capsys, *options, "--force")[0] == 0


def test_the_page_of_a_long_recording_has_its_beginning(checkpoint, codec, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "LONGEST_PAGE", 12)
    decoded, blocks = [], Codec.decode_blocks

    def counted(self, events):
        for block in blocks(self, events):
            decoded.append(len(block))
            yield block

    monkeypatch.setattr(Codec, "decode_blocks", counted)
    score(tmp_path / "a.mid")
    events = codec.encode(tones(20.0), 22050)
    spk.write(tmp_path / "a.spk", events)
    status, _, err = run(capsys, tmp_path / "a.spk", "-o", tmp_path / "r", "--model", checkpoint)
    assert (status, err) == (0, "")
    text = (tmp_path / "r" / "a.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])
    assert data["title"] == "a.spk (the first 0.2 of 0.3 minutes)" and data["steps"] == 516
    bits = np.frombuffer(base64.b64decode(data["events"]), np.uint8).reshape(events.n_units, -1)
    np.testing.assert_array_equal(np.unpackbits(bits, axis=1, count=516), events.window(0, 516))
    assert len(decoded) == 3 and events.n_chunks == 4  # no more than is shown
    sound, _ = soundfile.read(io.BytesIO(base64.b64decode(data["sounds"][0]["flac"])), dtype="float32")
    np.testing.assert_allclose(sound, np.clip(codec.decode(events), -1, 1)[: 516 * 512], atol=1e-4)


def test_no_empty_folder_stays_of_what_fails(checkpoint, tmp_path, capsys, monkeypatch):
    def fails(*arguments, **options):
        raise UserError("it fails")

    monkeypatch.setattr(Codec, "encode_blocks", fails)
    soundfile.write(tmp_path / "a.wav", tones(1.0), 22050)
    score(tmp_path / "a.mid")
    status, _, err = run(capsys, tmp_path / "a.wav", "-o", tmp_path / "new" / "report", "--model", checkpoint)
    assert status == 2 and "it fails" in err and not (tmp_path / "new").exists()


def test_event_files_whose_notes_lie_elsewhere_are_named(checkpoint, codec, tmp_path, capsys):
    score(tmp_path / "a.mid")
    spk.write(tmp_path / "a.spk", codec.encode(tones(2.0), 22050))
    options = "-o", tmp_path / "r", "--model", checkpoint, "--offset-ms", "60000"
    status, _, err = run(capsys, tmp_path / "a.spk", *options)
    assert status == 2 and "a.spk: none of the 195 notes" in err


def test_event_files_of_several_models_have_a_column_each(checkpoint, codec, tmp_path, capsys):
    """Each is read by the model that made it, shipped ones without being asked for; the others by fingerprint."""
    score(tmp_path / "a.mid")
    sound, free = tones(20.0), Codec.load("free")
    for name, one in (("small", codec), ("free", free)):
        (tmp_path / name).mkdir()
        spk.write(tmp_path / name / "a.spk", one.encode(sound, 22050))
    files = (tmp_path / "small" / "a.spk", tmp_path / "free" / "a.spk", "--midi", tmp_path / "a.mid")
    status, out, err = run(capsys, *files, "-o", tmp_path / "r", "--json")
    models = json.loads(out)["models"]
    assert (status, err) == (0, "") and [one["model"] for one in models] == ["free", codec.fingerprint]
    assert {path.name for path in (tmp_path / "r").glob("*.html")} >= {
        "a-free.html", f"a-{codec.fingerprint}.html"
    }  # fmt: skip
    status, out, _ = run(capsys, *files, "-o", tmp_path / "r2", "--model", checkpoint, "--json")
    assert [one["model"] for one in json.loads(out)["models"]] == ["small", "free"]
    assert '"name": "decoded"' in (tmp_path / "r2" / "a-free.html").read_text(encoding="utf-8")


def test_event_files_of_a_model_that_is_not_here(checkpoint, codec, tmp_path, capsys):
    score(tmp_path / "a.mid")
    spk.write(tmp_path / "a.spk", codec.encode(tones(2.0), 22050))
    status, out, _ = run(capsys, tmp_path / "a.spk", "-o", tmp_path / "r", "--model", "free", "--json")
    assert status == 0 and json.loads(out)["models"][0]["model"] == codec.fingerprint
    assert '"sounds": []' in (tmp_path / "r" / "a.html").read_text(encoding="utf-8")


def test_wide_is_taken_by_its_notes(tmp_path, capsys):
    """38 400 units, in the semitones that they stand for, at two levels."""
    soundfile.write(tmp_path / "a.wav", tones(20.0), 22050)
    score(tmp_path / "a.mid")
    options = "--model", "wide@4", "wide@20", "-o", tmp_path / "r", "--json"
    status, out, err = run(capsys, tmp_path / "a.wav", *options)
    dense, few = json.loads(out)["models"]
    assert (status, err) == (0, "") and (dense["model"], few["model"]) == ("wide@4", "wide@20")
    assert dense["units"] == 38_400 and dense["rows"] == "note" and dense["n_rows"] < 110
    assert (dense["half_width"], dense["half_width_ms"]) == (1, 150)
    assert dense["events_per_second"] > 2 * few["events_per_second"]
    text = (tmp_path / "r" / "a-wide@4.html").read_text(encoding="utf-8")
    assert "A4 band" in text and len(text) < 3e6
    options = "--model", "wide@4", "-o", tmp_path / "s", "--rows", "unit"
    status, _, err = run(capsys, tmp_path / "a.wav", *options)
    assert status == 2 and "38400 units are too many" in err
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert page.count("<h2>wide@") == 2 and 'href="a-wide@20.html"' in page and "semitone bands" in page
