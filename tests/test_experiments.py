"""Short forms of what stands in experiments/."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from conftest import settled, small_model, tones
from scripts import ROOT, run

from snn_codec import decoders
from snn_codec import settings as config

pytestmark = pytest.mark.once


def test_the_demo(tmp_path):
    pytest.importorskip("matplotlib")
    result = run("demo.py", "--output", tmp_path)
    assert result.returncode == 0, result.stderr
    assert {path.suffix for path in tmp_path.iterdir()} == {".spk", ".wav", ".png"}
    for name in ("free", "sparse", "wide", "wide+filling"):
        assert soundfile.info(tmp_path / f"bach-bwv846.{name}.wav").duration == pytest.approx(39.55, abs=0.01)
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines() if " dB" in line}
    assert set(lines) == {"free", "sparse", "wide", "wide+filling", "textbook"}
    n_bytes = (tmp_path / "bach-bwv846.wide.spk").stat().st_size
    assert int(lines["wide"][1]) == n_bytes and int(lines["textbook"][2]) <= n_bytes
    assert float(lines["wide"][3]) > float(lines["textbook"][4]) > float(lines["free"][3])


def test_the_demo_says_what_is_missing(tmp_path):
    result = run("demo.py", "--model", "no-such-model", "--output", tmp_path / "out")
    assert result.returncode == 2 and result.stderr.startswith("snn-codec: no-such-model")


def test_comparing_two_evaluations(tmp_path):
    row = {
        "stft_distance": 1.0,
        "kbps": 3.4,
        "dense_kbps": 3.4,
        "density": 0.5,
        "events_per_second": 1.0,
        "clip": 0,
    }
    for name, score in (("a", 9.0), ("b", 7.5)):
        clips = [row | {"recording": f"{i}", "si_snr": score + i} for i in range(5)]
        (tmp_path / f"{name}.json").write_text(json.dumps({"model": name, "clips": clips}))
    result = run("compare.py", tmp_path / "a.json", tmp_path / "b.json")
    assert result.returncode == 0 and "1.500 (1.500, 1.500)" in result.stdout
    (tmp_path / "b.json").write_text("{")
    result = run("compare.py", tmp_path / "a.json", tmp_path / "b.json")
    assert result.returncode == 2 and "b.json" in result.stderr


def test_table1_in_short_and_again_from_what_was_kept(checkpoint, music, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("av")
    arguments = ["--data", music, "--split", "train", "--quick", "--clips", "2", "-o", tmp_path / "table1"]
    result = run("table1.py", *arguments, "--models", checkpoint, "opus:12", "no-such-model")
    assert (
        result.returncode == 2 and "no-such-model: no such model" in result.stderr
    )  # and the others are there
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "table1").glob("*.json")}
    assert len(kept) == 2
    with open(tmp_path / "table1" / "table1.csv", newline="") as file:
        ours, opus = csv.DictReader(file)
    assert (ours["model"], opus["model"]) == ("small", "opus:12") and opus["paper_si_snr"] == "8.47"
    assert float(opus["kbps_mean"]) == pytest.approx(12, rel=0.05) and opus["dense_kbps_mean"] == ""
    difference = float(opus["si_snr_mean"]) - float(ours["si_snr_mean"])
    assert float(opus["si_snr_difference_mean"]) == pytest.approx(difference, abs=1e-6)
    text = (tmp_path / "table1" / "table1.md").read_text()
    assert "| opus:12 | - | 12.0" in text and "12, 8.47, -" in text and "SI-SNR minus small" in text
    assert (tmp_path / "table1" / "rate-distortion.png").stat().st_size > 10_000
    figure = "rate_distortion.py", *kept, "-o", tmp_path / "new" / "a.png", "--measure", "mel_distance"
    result = run(*figure)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "new" / "a.png").exists() and "opus:12" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "table1").glob("*.json")} == kept
    assert "ask for it with --perceptual" in run(*figure[:-1], "visqol").stderr


def test_decoders_side_by_side(codec, music, tmp_path):
    folder = tmp_path / "two"
    codec.save(folder)
    decoders.save(folder, config.Gan(), settled(small_model(), seed=3).decoder, codec.fingerprint)
    arguments = [
        "--model",
        folder,
        "--data",
        music,
        "--split",
        "train",
        "--clips",
        "2",
        "-o",
        tmp_path / "kept",
    ]
    result = run("decoders.py", *arguments)
    assert result.returncode == 0, result.stderr
    _, _, plain, gan, minus = (
        [cell.split()[0] for cell in line.strip("| ").split("|")[:2]] for line in result.stdout.splitlines()
    )
    assert (plain[0], gan[0], minus[0]) == ("plain", "gan", "minus")
    assert float(minus[1]) == pytest.approx(float(gan[1]) - float(plain[1]), abs=0.011)
    assert len(list((tmp_path / "kept").glob("*.json"))) == 2


def test_a_sender_who_promises_a_quality_takes_the_fewest_bits_that_hold_it(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import rate_distortion

    def level(number, *clips):
        rows = [{"recording": "a", "clip": i, "kbps": k, "si_snr": s} for i, (k, s) in enumerate(clips)]
        return {"model": f"runs/mu@{number}", "clips": rows}

    levels = [level(3, (2.0, 9.0), (2.0, 7.0), (2.1, 3.0)), level(6, (1.0, 8.1), (1.0, 5.0), (1.1, 2.0))]
    (chosen,) = rate_distortion.guaranteed([*levels, {"model": "free", "clips": []}], 6.0)
    assert chosen["model"] == "mu >= 6 dB"
    assert [row["kbps"] for row in chosen["clips"]] == [1.0, 2.0, 2.1]  # nothing holds for the last clip


def test_pseudo_derivatives(tmp_path):
    pytest.importorskip("matplotlib")
    figure = tmp_path / "a.png"
    result = run("pseudo_derivatives.py", figure, "--surrogates", "straight_through,paper_triangle")
    assert result.returncode == 0, result.stderr
    ones, triangle = (line.split("|")[1:4] for line in result.stdout.splitlines()[2:])
    # mean of 1, and P(|u| > 1); 0.3 E max(0, 1 - |u|) = 0.3 (0.6827 - 2 (phi(0) - phi(1)))
    assert float(ones[1]) == 1 and ones[2].strip() == "32 %"
    assert float(triangle[1]) == pytest.approx(0.3 * (0.68269 - 2 * (0.39894 - 0.24197)), abs=6e-4)
    assert triangle[2].strip() == "0 %" and figure.stat().st_size > 5000
    again = run("pseudo_derivatives.py", figure)
    assert again.returncode == 2 and "exists already" in again.stderr


def test_band_snr(checkpoint, music):
    result = run("band_snr.py", music, "--model", checkpoint, "--split", "train", "--recordings", "1")
    assert result.returncode == 0, result.stderr
    energy, ratio = (line.split() for line in result.stdout.splitlines()[1:])
    assert sum(map(float, energy[2::2])) == pytest.approx(100, abs=0.4)
    assert len(ratio) == 12 and ratio[1::2] == ["dB"] * 6


def test_what_measures_say_of_known_damages(music):
    result = run(
        "known_damages.py", music, "--split", "train", "--clips", "1", "--perceptual", "stft_distance_7k"
    )
    assert result.returncode == 0, result.stderr
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()]
    rows = {name: [float(cell) for cell in cells] for name, *cells in lines[2:]}
    assert rows["none"][0] > 100 and rows["none"][1:] == [0, 0, 0] == rows["inverted"][1:]
    assert rows["noise 20 dB below"][0] == pytest.approx(20, abs=0.2)
    assert rows["6 dB softer"][0] > 100 and rows["6 dB softer"][2] > 4
    assert rows["noise above 8 kHz, 70 dB below"][3] < 0.1 * rows["noise above 8 kHz, 70 dB below"][1]
    assert rows["played backwards"][0] < 0


def test_thresholds(music):
    result = run("thresholds.py", music, "--split", "train", "--clips", "1", "--levels", "12")
    assert result.returncode == 0, result.stderr
    rows = {
        line.split("|")[1].strip(): float(line.split("|")[2].split()[0])
        for line in result.stdout.splitlines()[2:]
    }
    assert len(rows) == 15 and all(-1 < gain < 1 for gain in rows.values())
    assert rows["first threshold -0.06"] != rows["first threshold -0.03"]
    result = run("thresholds.py", music, "--split", "train", "--model", "free")
    assert result.returncode == 2 and "free: has no thermometer" in result.stderr


def test_a_learned_transform(music):
    result = run("learned_transform.py", music, "--split", "train", "--clips", "4", "--learn", "4")
    assert result.returncode == 0, result.stderr
    rows = [[float(cell) for cell in line.split("|")[2:-1]] for line in result.stdout.splitlines()[2:]]
    assert len(rows) == 5 and rows[0][2] == rows[0][5] == 0
    assert rows[-1][2] >= max(row[2] for row in rows[:3]) - 0.05  # switching is no worse than one length


def test_equal_bytes(checkpoint, music):
    options = ("--clips", "2", "--split", "train", "--model", checkpoint, "mdct:2")
    result = run("equal_bytes.py", music, *options)
    assert result.returncode == 0, result.stderr
    ours, itself = (line.split("|")[2:-1] for line in result.stdout.splitlines()[2:])
    assert float(ours[2].split()[0]) > float(ours[1].split()[0])  # the small model was hardly trained
    assert float(itself[3].split()[0]) == pytest.approx(0, abs=0.1)  # the textbook beside itself
    assert float(itself[4].split()[0]) == pytest.approx(100, abs=2)


def test_attacks(checkpoint, music, tmp_path):
    pytest.importorskip("matplotlib")
    options = ("--clips", "2", "--split", "train", "--output", tmp_path / "a.png")
    result = run("attacks.py", music, "--model", checkpoint, "mdct:3", *options)
    assert result.returncode == 0, result.stderr
    ours, textbook = (line.split("|")[1:-1] for line in result.stdout.splitlines()[2:])
    assert len(ours) == len(textbook) == 6 and textbook[0].strip() == "`mdct:3`"
    assert float(textbook[2].split()[0]) > float(
        ours[2].split()[0]
    )  # SI-SNR: the small model was hardly trained
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_what_exact_energies_would_bring(music):
    options = ("--model", "wide@14", "--beside", "wide+filling@14", "--clips", "2", "--split", "train")
    result = run("filling_limits.py", music, *options)
    assert result.returncode == 0, result.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()[2:]]
    assert rows[0][0] == "`wide+filling@14`" and [row[0].split()[-2] for row in rows[1:]] == ["28", "112"]
    mel = [float(row[4].split()[0]) for row in rows]
    assert mel[2] < mel[1] < mel[0]  # the more is known, the nearer


def test_the_ablation(music, tmp_path):
    options = ("--clips", "2", "--rates", "1.5", "--kept", tmp_path / "kept")
    result = run("ablation.py", music, *options)
    assert result.returncode == 0, result.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()[2:]]
    assert len(rows) == 7 and rows[0][0] == "textbook (`mdct:KBPS`)" and rows[-1][0] == "+ search"
    scores = [float(row[1].split()[0]) for row in rows]
    assert scores[2:] == sorted(scores[2:])
    gains = [float(row[1].split("), ")[1].split()[0]) for row in rows[1:]]
    assert gains == pytest.approx(np.diff(scores), abs=0.011)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").glob("*.json")}
    assert run("ablation.py", music, *options).stdout == result.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").glob("*.json")} == kept
    result = run("ablation.py", music, "--model", "free", *options)
    assert result.returncode == 2 and "free: has no thermometer" in result.stderr


def test_levels_around_a_rate_are_neighbours(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import ablation

    asked = []

    def kbps(level):
        asked.append(level)
        return 5 * 2 ** (-level / 7)

    for rate in (4.99, 2.6, 1.0, 0.3):
        asked.clear()
        above, below = ablation.around(rate, 31, kbps)
        assert below == above + 1 and kbps(above) >= rate > kbps(below)
        assert len(asked) <= 7
    assert ablation.around(6.0, 31, kbps) is None and ablation.around(0.1, 31, kbps) is None


def test_shapes_of_the_transform(music, monkeypatch):
    result = run("transform_shapes.py", music, "--clips", "2", "--rates", "1.5")
    assert result.returncode == 0, result.stderr
    rows = [line.split("|")[1:-1] for line in result.stdout.splitlines()[2:]]
    assert [row[0].strip() for row in rows[:2]] == ["2048, sine", "2048, vorbis"] and len(rows) == 7
    assert "-" not in rows[0][1] and all(row[1].strip()[0] in "+-" for row in rows[1:])
    result = run("transform_shapes.py", music, "--clips", "2", "--rates", "90")
    assert result.returncode == 2 and "90 kbps: the quantiser's steps have" in result.stderr
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import transform_shapes

    clips = tones(2048 * 8 / 22050)[None]
    for frame, kind in transform_shapes.SHAPES:
        rising = transform_shapes.window(kind, frame)
        assert rising**2 + rising[::-1] ** 2 == pytest.approx(1)
        energy = np.square(transform_shapes.mdct(clips, rising)).sum()
        assert energy == pytest.approx(np.square(clips.astype(np.float64)).sum())


def test_the_storage_costs(tmp_path):
    pytest.importorskip("matplotlib")
    result = run("storage_costs.py", "--output", tmp_path / "new" / "a.png", "--matrices", "1")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "new" / "a.png").stat().st_size > 10_000
    rows = [line.split() for line in result.stdout.splitlines()[2:-1]]
    assert len(rows) == 11 and all(float(row[-1]) <= float(row[-2]) + 1e-3 for row in rows)


@pytest.mark.slow
def test_the_storage_benchmark():
    result = run("storage_benchmark.py", "--quick")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("noticed (100.00 %)") == 2 and "flat integers" in result.stdout


@pytest.mark.slow
def test_sparse_storage(checkpoint, music):
    arguments = "--density", "0.05", "--steps", "100"
    result = run("storage_sparse.py", "--model", checkpoint, "--data", music, *arguments)
    assert result.returncode == 0, result.stderr
    density, four, adaptive, learned = map(float, result.stdout.splitlines()[2].split()[:4])
    assert 0 < density < 0.2 and 0 < learned < four


@pytest.mark.slow
def test_the_speed_benchmark():
    """In a process of its own, which it holds on one core."""
    script = ROOT / "experiments" / "speed_benchmark.py"
    arguments = "--quick", "--seconds", "1", "--hours", "0.005", "0.01"
    result = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "snn_codec, free" in result.stdout and "0.3 min" in result.stdout and "0.6 min" in result.stdout


def test_the_analysis_benchmark():
    result = run("analysis_benchmark.py", "--hours", "0.1")
    assert result.returncode == 0, result.stderr
    assert "0 of 80 units" in result.stdout and "chance 0.05058" in result.stdout


def test_promises_of_rate_and_quality(prompted, music):
    result = run(
        "guarantees.py",
        "--data",
        music,
        "--model",
        prompted,
        "--kbps",
        "3.2",
        "--min-si-snr",
        "-99",
        "99",
        "--quick",
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("3.2 kbps: at most") and lines[0].endswith("0 of 1 recordings cannot have it")
    assert "0 of 2 chunks below it unnamed, 0 (0.0%)" in lines[1]
    assert "0 of 2 chunks below it unnamed, 2 (100.0%)" in lines[2]


def test_two_objectives_as_curves(tmp_path):
    """B is A, half a dB lower at every rate; straight over the logarithm of the rate."""
    for name, offset, rates in (("a", 0.0, (1.0, 2.0, 4.0)), ("b", -0.5, (0.5, 2.0, 8.0))):
        for rate in rates:
            clips = [
                {"recording": f"{i}", "clip": 0, "kbps": rate, "si_snr": 5 + i + offset + np.log2(rate)}
                for i in range(4)
            ]
            (tmp_path / f"{name}{rate:g}.json").write_text(json.dumps({"model": name, "clips": clips}))
    files = {
        name: ",".join(str(tmp_path / f"{name}{rate}.json") for rate in rates)
        for name, rates in (("a", ("4", "1", "2")), ("b", ("0.5", "2", "8")))
    }
    curves = ["--curve", f"A={files['a']}", "--curve", f"B={files['b']}"]
    result = run("objectives.py", *curves, "-o", tmp_path / "x.png")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("| +0.50 (+0.50 to +0.50) |") == 5 and (tmp_path / "x.png").is_file()
    for path in tmp_path.glob("*.json"):  # a single recording has no interval
        found = json.loads(path.read_text())
        (tmp_path / f"one-{path.name}").write_text(json.dumps(found | {"clips": found["clips"][:1]}))
    single = [text.replace(f"{tmp_path}/", f"{tmp_path}/one-") for text in curves]
    result = run("objectives.py", *single, "-o", tmp_path / "one.png")
    assert result.returncode == 0, result.stderr
    assert (
        result.stdout.count("| +0.50 (-) |") == 5
        and " to " not in result.stdout
        and "nan" not in result.stdout
    )
    result = run("objectives.py", *curves[:3], f"B={tmp_path / 'no.json'}")
    assert result.returncode == 2 and "no.json" in result.stderr
    result = run("objectives.py", *curves[:2])
    assert result.returncode == 2 and "two curves" in result.stderr
    other = (tmp_path / "b2.json").read_text().replace('"recording": "3"', '"recording": "4"')
    (tmp_path / "other.json").write_text(other)
    result = run("objectives.py", *curves[:3], f"B={tmp_path / 'other.json'}")
    assert result.returncode == 2 and "not of the same clips" in result.stderr


def test_sequences_of_every_shipped_model_give_its_events_back(tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(1.0), 22050)
    result = run("token_rates.py", tmp_path / "a.wav")
    assert result.returncode == 0, result.stderr
    shipped = {path.parent.name for path in (ROOT / "data" / "checkpoints").glob("*/config.json")}
    rows = {
        row[0]: [float(value) for value in row[1:]] for row in map(str.split, result.stdout.splitlines()[2:])
    }
    assert set(rows) == shipped
    for events, steps, integers, length, vocabulary in rows.values():
        assert vocabulary > 32 and integers >= steps
        assert events < length <= events + 2 * steps
    assert run("token_rates.py", tmp_path / "a.wav", "--model", "none").returncode == 2


def test_speed_and_latency_of_every_option(checkpoint):
    result = run("option_speed.py", "--model", checkpoint, "--rounds", "1")
    assert result.returncode == 0, result.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()[2:]]
    # two chunks until events are ready, one more until they are sound
    assert [(name, latency) for name, _, latency in rows] == [
        ("`small`, encode", "11889 ms"),
        ("`small`, encode `--search 20`", "11889 ms"),
        ("`small`, decode, `plain`", "17833 ms"),
    ]
    assert all(float(speed) > 0 for _, speed, _ in rows)
