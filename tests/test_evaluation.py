"""Evaluating models and other codecs: which clips, in which processes, aligned how, and kept where."""

import dataclasses
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import tones

from snn_codec import audio, metrics, perceptual
from snn_codec.cli import main
from snn_codec.codec import Codec
from snn_codec.corpus import clips, paths, recordings
from snn_codec.errors import UserError
from snn_codec.evaluation import coders, figures, results
from snn_codec.evaluation.cache import evaluated
from snn_codec.evaluation.command import Data, evaluation
from snn_codec.evaluation.evaluate import Selection, evaluate, jobs
from snn_codec.evaluation.summary import differences, summary
from snn_codec.listening import conditions
from snn_codec.metrics import onset_si_snr, si_snr
from snn_codec.parallel import Parallelism, Ranks

LENGTH = 256 * 512
SPLIT = "train"
RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two recordings of two clips and one that is too short, in the MAESTRO layout; one has MIDI."""
    pretty_midi = pytest.importorskip("pretty_midi")
    folder = tmp_path_factory.mktemp("corpus")
    lines = ["split,audio_filename,midi_filename"]
    for number, seconds in enumerate((12.5, 13.0, 2.0)):
        soundfile.write(folder / f"{number}.flac", tones(seconds, seed=number), 22050)
        lines.append(f"{SPLIT},{number}.flac,notes{number}.midi")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    score, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    for onset in (1.0, 7.0):
        piano.notes.append(pretty_midi.Note(64, 60, onset, onset + 0.5))
    score.instruments.append(piano)
    score.write(str(folder / "notes0.midi"))
    return folder


def run(*arguments):
    return main(["evaluate", "--split", SPLIT, *map(str, arguments)])


def test_clips_are_spread_evenly_and_those_to_hear_among_them(corpus):
    paths = [corpus / f"{number}.flac" for number in range(3)]
    whole = jobs(paths, [None] * 3, LENGTH, 22050, Selection())
    assert [(job.path.name, job.clips, job.heard) for job in whole] == [
        ("0.flac", (0, 1), ()),
        ("1.flac", (0, 1), ()),
    ]
    part = jobs(paths, [None] * 3, LENGTH, 22050, Selection(3, ("visqol",), 2))
    assert [(job.path.name, job.clips, job.heard) for job in part] == [
        ("0.flac", (0,), (0,)),
        ("1.flac", (0, 1), (1,)),
    ]
    for bad in ({"clips": 0}, {"perceptual_clips": 0}):
        with pytest.raises(UserError, match="1 or more"):
            Selection(**bad)


def test_recordings_of_one_name_are_told_apart(tmp_path):
    paths = [tmp_path / part for part in ("a/01.wav", "a/02.wav", "b/01.wav")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.zeros(300), 100)
    found = jobs(paths, [None] * 3, 100, 100, Selection())
    assert [job.name for job in found] == ["a/01.wav", "02.wav", "b/01.wav"]


def test_onsets_are_counted_from_each_clips_start(codec, corpus):
    path = corpus / "0.flac"
    rows = evaluate(codec, [path], scores=[corpus / "notes0.midi"])
    sound = audio.read(path)[0]
    for row, onset in zip(rows, (1.0, 7.0 - LENGTH / 22050), strict=True):
        clip = sound[row["clip"] * LENGTH :][:LENGTH]
        decoded = codec.decode(codec.encode(clip, 22050))
        assert row["onset_si_snr"] == pytest.approx(onset_si_snr(decoded, clip, [onset], 22050))
        assert row["si_snr"] == pytest.approx(si_snr(decoded, clip))
    assert all(np.isnan(row["onset_si_snr"]) for row in evaluate(codec, [path]))


@pytest.mark.once  # with torch 2.3, the second rank may not end, and holds the pipe
@pytest.mark.usefixtures("own_port")
def test_workers_and_ranks_give_the_rows_of_one_process(checkpoint, corpus, tmp_path, capsys):
    common = ["--data", str(corpus), "--model", str(checkpoint)]
    assert run(*common, "--json", tmp_path / "one.json", "--csv", tmp_path / "one.csv") == 0
    assert run(*common, "--json", tmp_path / "workers.json", "--workers", "2") == 0
    result = subprocess.run(
        [sys.executable, "-m", "snn_codec.cli", "evaluate", "--split", SPLIT, *common,
         "--json", str(tmp_path / "ranks.json"), "--devices", "2"],
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("4 clips") == 1  # one rank prints
    one = (tmp_path / "one.json").read_text()
    assert one == (tmp_path / "workers.json").read_text() == (tmp_path / "ranks.json").read_text()
    clips = [(row["recording"], row["clip"]) for row in json.loads(one)["clips"]]
    assert clips == [("0.flac", 0), ("0.flac", 1), ("1.flac", 0), ("1.flac", 1)]


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_workers_end_with_the_evaluation_and_it_leaves_nothing(checkpoint, corpus, tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "snn_codec.cli", "evaluate", "--split", SPLIT, "--data", str(corpus), "--model",
         str(checkpoint), "--workers", "2", "--json", str(tmp_path / "a.json")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None and len(children.read_text().split()) < 3:  # Python's own beside the workers
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)  # which ends when the last of them closes the pipe they share
    assert process.returncode == (128 + number if number == signal.SIGTERM else -number)
    assert list(tmp_path.iterdir()) == [], said


@pytest.mark.slow
@pytest.mark.once  # with torch 2.3, the second rank may not end, and holds the pipe
@pytest.mark.usefixtures("own_port")
def test_the_first_rank_names_a_bad_recording_of_another(checkpoint, tmp_path):
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", tones(6.5, seed=number), 22050)
    soundfile.write(tmp_path / "1.wav", np.full(143000, np.nan), 22050, subtype="FLOAT")
    result = subprocess.run(
        [sys.executable, "-m", "snn_codec.cli", "evaluate", "--split", SPLIT, "--data", str(tmp_path),
         "--model", str(checkpoint), "--devices", "2"],
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert result.returncode == 2 and "1.wav: holds values that are not numbers" in result.stderr


def test_files_of_rows_hold_what_was_measured(checkpoint, corpus, tmp_path, capsys):
    assert (
        run(
            "--data",
            corpus,
            "--model",
            checkpoint,
            "--json",
            tmp_path / "a.json",
            "--csv",
            tmp_path / "a.csv",
        )
        == 0
    )
    assert "onset_si_snr" in capsys.readouterr().out
    whole, rows = results.read(tmp_path / "a.json"), results.read(tmp_path / "a.csv")["clips"]
    assert whole["model"] == str(checkpoint)
    for one, other in zip(whole["clips"], rows, strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_equal(one, other)  # to the last bit, and NaN is NaN
    assert np.isnan(rows[2]["onset_si_snr"]) and not np.isnan(rows[0]["onset_si_snr"])
    assert summary(rows)["onset_si_snr"]["clips"] == 2
    assert "NaN" not in (tmp_path / "a.json").read_text()
    assert run("--data", corpus, "--model", checkpoint, "--csv", tmp_path / "a.csv") == 2
    for name, text in (
        ("b.json", "{"),
        ("b.csv", "recording,clip\n"),
        ("c.json", '{"model": "x", "clips": [1]}'),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=f"{name}: is not a result of snn-codec evaluate"):
            results.read(tmp_path / name)


@pytest.mark.parametrize("late", [-300, 0, 5, 1105])
def test_a_planted_lag_is_taken_back(late):
    """Late by some samples at 48 kHz, and inverted copies of it do not count."""
    clip = tones(3.0, seed=1)
    sound = conditions.to_test_rate(clip, 22050)
    moved = np.pad(sound, (late, 0)) if late > 0 else sound[-late:]
    back = coders.aligned(0.3 * moved, clip, 22050)
    assert back.dtype == np.float32 and len(back) == len(clip)
    inner = slice(1000, -1000)  # what was cut off is gone
    assert si_snr(back[inner], clip[inner]) > 30


@pytest.mark.parametrize(("name", "kbps", "least"), [("opus:24", 24, 12), ("mp3:16", 16, 12)])
def test_other_codecs_have_their_rate_and_are_in_time(name, kbps, least):
    """What they lose in time, 6 to 70 ms, would leave an SI-SNR below zero."""
    pytest.importorskip("av")
    clip = tones(5.0, seed=2)
    coded = coders.load(name).code(clip)
    assert coded.kbps == pytest.approx(kbps, rel=0.05)
    assert len(coded.audio) == len(clip) and si_snr(coded.audio, clip) > least
    assert np.isnan(coded.dense_kbps) and np.isnan(coded.density)


@pytest.mark.parametrize(
    ("name", "codec", "change"),
    [
        ("opus:6", "opus", {"options": {"vbr": "off", "frame_duration": "60"}}),
        ("opus:12", "opus", {"options": {"vbr": "off", "frame_duration": "20"}}),
        ("mp3:8", "mp3", {"rate": lambda kbps: 16_000}),
        ("mp3:16", "mp3", {"rate": lambda kbps: 24_000}),
    ],
)
def test_other_codecs_are_set_for_a_piano_and_not_for_speech(name, codec, change, monkeypatch):
    pytest.importorskip("av")
    clip = next(clips([RECORDING], LENGTH, 22050))
    coder = coders.load(name)
    ours = si_snr(coder.code(clip).audio, clip)
    monkeypatch.setitem(conditions.LOSSY, codec, conditions.LOSSY[codec]._replace(**change))
    other = coders.load(name)
    assert ours > si_snr(other.code(clip).audio, clip) + 0.5
    assert coder.fingerprint != other.fingerprint  # or evaluations that are kept would be of other settings


def test_codec2_has_its_rate():
    pytest.importorskip("pycodec2")
    clip = tones(5.0, seed=2)
    for bits in (3200, 1200):
        coded = coders.load(f"codec2:{bits}").code(clip)
        assert coded.kbps == pytest.approx(bits / 1000, rel=0.01)
        assert len(coded.audio) == len(clip) and 0.01 < np.sqrt(np.mean(coded.audio**2)) < 1


def test_other_codecs_are_rows_of_the_same_command(corpus, tmp_path, capsys):
    pytest.importorskip("av")
    assert run("--data", corpus, "--model", "opus:12", "--clips", "2", "--json", tmp_path / "a.json") == 0
    out = capsys.readouterr().out
    assert "opus:12" in out and "2 clips" in out and "density" not in out
    row = results.read(tmp_path / "a.json")["clips"][0]
    assert row["kbps"] == pytest.approx(12, rel=0.05) and np.isnan(row["density"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("opus:3", "must be 6 to 320 kbps"),
        ("codec2:999", "Codec 2 has 3200"),
        ("no-such-model@3", "no-such-model: no such model"),
        ("{}@3", "has no levels"),
        ("nothing:6", "nothing:6: no such model"),
    ],
)
def test_what_cannot_be_evaluated_is_a_sentence(checkpoint, name, message):
    pytest.importorskip("av")
    if name.startswith("codec2"):
        pytest.importorskip("pycodec2")
    with pytest.raises(UserError, match=message):
        coders.load(name.format(checkpoint))


def test_a_level_is_asked_of_a_model_that_has_levels(prompted, monkeypatch):
    asked = []
    original = Codec.encode

    def encode(self, clip, rate, *, level=0):
        asked.append(level)
        return original(self, clip, rate)

    monkeypatch.setattr(Codec, "encode", encode)
    coder = coders.load(f"{prompted}@12")
    coder.code(tones(6.0)[:LENGTH])
    assert asked == [12] and coder.name.endswith("@12") and coder.fingerprint.endswith("-12")
    assert coder.fingerprint != coders.load(f"{prompted}@13").fingerprint
    with pytest.raises(UserError, match="levels 0 to 15"):
        coders.load(f"{prompted}@16")


def test_missing_packages_are_a_sentence(monkeypatch):
    perceptual.visqol_api.cache_clear()
    for module, call in (
        ("visqol", lambda: metrics.check(("visqol",))),
        ("zimtohrli", lambda: metrics.check(("zimtohrli",))),
        ("av", lambda: coders.load("opus:6")),
        ("pycodec2", lambda: coders.load("codec2:3200")),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(UserError, match=r"pip install .snn_codec\[(metrics|codecs)\]"):
                call()
    with pytest.raises(UserError, match="--perceptual pesq: must be of visqol, zimtohrli"):
        metrics.check(("pesq",))


@pytest.mark.parametrize("name", ["visqol", "zimtohrli"])
def test_measures_of_hearing_order_what_is_heard(name):
    pytest.importorskip(name)
    measure = getattr(perceptual, name)
    sound = tones(3.0)
    noise = np.random.default_rng(0).standard_normal(len(sound)) * sound.std()
    scores = [measure(sound + amount * noise, sound, 22050) for amount in (0, 0.02, 0.5)]
    assert scores[0] > 4.5 and scores[0] > scores[1] > scores[2] >= 1
    assert np.isnan(measure(np.zeros(22050), sound[:22050], 22050))


def test_visqol_is_asked_at_the_level_of_the_recording_and_ten_decibels_above(monkeypatch):
    asked = []

    class Api:
        def measure_from_arrays(self, *signals_and_rate):
            asked.append(signals_and_rate)
            return dataclasses.make_dataclass("Found", ["moslqo"])(4.0)

    monkeypatch.setattr(perceptual, "visqol_api", Api)
    sound = tones(1.0)
    clip = metrics.Clip(0.5 * sound, sound, 22050, np.zeros(0))
    assert [metrics.MEASURES[name].of(clip) for name in ("visqol", "visqol_loud")] == [4.0, 4.0]
    (reference, degraded, rate), (louder, both, _) = asked
    assert rate == 48_000 and len(reference) == pytest.approx(48_000 / 22050 * len(sound), abs=1)
    assert np.std(degraded) == pytest.approx(0.5 * np.std(reference), rel=1e-3)  # the original comes first
    assert louder == pytest.approx(10**0.5 * reference) and both == pytest.approx(10**0.5 * degraded)


def test_visqol_hears_more_of_what_is_louder():
    pytest.importorskip("visqol")
    sound = 0.05 * tones(3.0)
    noise = np.random.default_rng(0).standard_normal(len(sound)) * sound.std()
    soft, loud = (perceptual.visqol(sound + 0.02 * noise, sound, 22050, gain) for gain in (0, 20))
    assert soft > loud + 0.1


def test_hearing_is_measured_on_some_clips(checkpoint, corpus, tmp_path, capsys, monkeypatch):
    measure = dataclasses.replace(metrics.MEASURES["zimtohrli"], of=lambda clip: 3.0, check=lambda: None)
    monkeypatch.setitem(metrics.MEASURES, "zimtohrli", measure)
    assert run("--data", corpus, "--model", checkpoint, "--perceptual", "zimtohrli", "--perceptual-clips", "2",
               "--json", tmp_path / "a.json") == 0  # fmt: skip
    assert "3.000 to 3.000, 2 clips)" in capsys.readouterr().out
    values = [row["zimtohrli"] for row in results.read(tmp_path / "a.json")["clips"]]
    np.testing.assert_array_equal(values, [3.0, np.nan, np.nan, 3.0])


def test_a_plain_folder_is_measured_whole_unless_a_split_is_asked_for(checkpoint, music, maestro, capsys):
    part = len(paths(music, "train"))
    assert 0 < part < 4
    for data, options, said in (
        (music, (), f"on all of {music}: 4 clips"),
        (music, ("--split", "train"), f"on train of {music}: {part} clips"),
        (maestro, (), f"on validation of {maestro}: 1 clips"),
    ):
        assert main(["evaluate", "--data", str(data), "--model", str(checkpoint), *options]) == 0
        assert said in capsys.readouterr().out


def test_a_new_measure_is_one_entry(checkpoint, corpus, tmp_path, capsys, monkeypatch):
    """From outside: it is a column, a mean with its interval, a difference, and the axis of a figure."""
    pytest.importorskip("matplotlib")

    def largest(clip):
        return float(np.abs(clip.decoded - clip.original).max())

    peak = metrics.Measure("peak error", "FS", 4, "lower", largest)
    monkeypatch.setitem(metrics.MEASURES, "peak_error", peak)
    written = "--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv"
    assert run("--data", corpus, "--model", checkpoint, *written) == 0
    assert "  peak_error " in capsys.readouterr().out
    found = results.read(tmp_path / "a.json")
    assert results.read(tmp_path / "a.csv")["clips"][0]["peak_error"] == found["clips"][0]["peak_error"] > 0
    assert found["summary"]["peak_error"]["low"] <= found["summary"]["peak_error"]["mean"]
    assert differences(found["clips"], found["clips"])["peak_error"]["mean"] == 0
    figures.rate_distortion(tmp_path / "a.svg", [found], measure="peak_error")
    assert "peak error (FS)" in (tmp_path / "a.svg").read_text()


def test_differences_are_of_what_both_have(checkpoint, corpus):
    data = Data(corpus, SPLIT, Selection())
    rows = evaluation(coders.load(str(checkpoint)), data, shown=False)["clips"]
    other = [{name: value for name, value in row.items() if name != "mel_distance"} for row in rows]
    other = [row | {"density": float("nan"), "si_snr": row["si_snr"] + 2} for row in other]
    found = differences(rows, other)
    assert "mel_distance" not in found and "density" not in found
    assert found["si_snr"]["mean"] == pytest.approx(-2)


def test_a_kept_evaluation_is_not_made_again_unless_something_changed(
    checkpoint, corpus, tmp_path, monkeypatch
):
    from snn_codec.evaluation import cache

    made = []
    original = cache.evaluation

    def counted(coder, data, ranks):
        made.append(coder.name)
        return original(coder, data, ranks)

    monkeypatch.setattr(cache, "evaluation", counted)
    coder, ranks = coders.load(str(checkpoint)), Ranks(Parallelism())
    few = Data(corpus, SPLIT, Selection(2))
    first = evaluated(coder, few, tmp_path / "new", ranks)
    assert evaluated(coder, few, tmp_path / "new", ranks)["clips"][0]["si_snr"] == first["clips"][0]["si_snr"]
    assert len(made) == 1
    evaluated(coder, Data(corpus, SPLIT, Selection(3)), tmp_path / "new", ranks)
    assert len(made) == 2
    for path in (tmp_path / "new").iterdir():
        path.write_text(path.read_text()[:100])  # as a full disk leaves it
    evaluated(coder, few, tmp_path / "new", ranks)
    assert len(made) == 3


def test_a_kept_evaluation_is_made_again_when_midi_has_come(checkpoint, corpus, tmp_path):
    folder, ranks = tmp_path / "data", Ranks(Parallelism())
    folder.mkdir()
    recording = next(found for found in recordings(corpus, SPLIT) if found.midi)
    shutil.copy(recording.path, folder)
    coder, data = coders.load(str(checkpoint)), Data(folder, None, Selection())
    first = evaluated(coder, data, tmp_path / "kept", ranks)
    shutil.copy(recording.midi, folder / f"{recording.path.stem}.mid")
    second = evaluated(coder, data, tmp_path / "kept", ranks)
    assert "onset_si_snr" not in first["summary"]
    assert math.isfinite(second["summary"]["onset_si_snr"]["mean"])


@pytest.mark.parametrize(
    ("name", "common"),
    [
        ("mu-sparse@12", "mu-sparse"),
        ("mu-sparse+search:20@12", "mu-sparse+search:20"),
        ("wide@2.6kbps", "wide"),
        ("opus:6", "opus"),
        ("codec2:3200", "codec2"),
        ("runs/a/best+search:20", "best+search:20"),
        ("free+flow:12", "free+flow:12"),
    ],
)
def test_what_is_one_curve_in_a_figure(name, common):
    assert figures.family(name) == common


def test_a_rate_is_met_clip_by_clip(corpus):
    """As many bytes as fit, whatever the clip; with a search, too."""
    clip = audio.read(corpus / "0.flac")[0][:LENGTH]
    rates = {}
    for name in ("wide@1kbps", "wide+search:1@1kbps", "wide@2kbps"):
        coder = coders.load(name)
        coded = [coder.code(sound) for sound in (clip, 0.1 * clip + np.roll(clip, 999))]
        rates[name] = [found.kbps for found in coded]
        assert "kbps" in coder.fingerprint
    assert all(0.95 < rate <= 1.0 for name in list(rates)[:2] for rate in rates[name])
    assert all(1.9 < rate <= 2.0 for rate in rates["wide@2kbps"])
    coarsest = coders.load("wide@0.001kbps").code(clip)
    assert coarsest.kbps == coders.load("wide@31").code(clip).kbps
