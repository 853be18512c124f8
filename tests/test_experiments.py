"""Short forms of what stands in experiments/."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).parent.parent


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "experiments" / script), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_the_demo(tmp_path):
    pytest.importorskip("matplotlib")
    result = run("demo.py", "--output", tmp_path)
    assert result.returncode == 0, result.stderr
    assert {path.suffix for path in tmp_path.iterdir()} == {".h5", ".wav", ".png"}
    assert soundfile.info(tmp_path / "bach-bwv846.wav").duration == pytest.approx(39.55, abs=0.01)
    assert all(word in result.stdout for word in ("17047 bytes", "kbps", "a second", "SI-SNR", "real time"))


def test_the_demo_says_what_is_missing(tmp_path):
    result = run("demo.py", "--model", "no-such-model", "--output", tmp_path / "out")
    assert result.returncode == 2 and result.stderr.startswith("snn-codec: no-such-model")


def test_comparing_two_evaluations(tmp_path):
    row = {"stft_distance": 1.0, "kbps": 3.4, "density": 0.5, "events_per_second": 1.0, "clip": 0}
    for name, score in (("a", 9.0), ("b", 7.5)):
        clips = [row | {"recording": f"{i}", "si_snr": score + i} for i in range(5)]
        (tmp_path / f"{name}.json").write_text(json.dumps({"model": name, "clips": clips}))
    result = run("compare.py", tmp_path / "a.json", tmp_path / "b.json")
    assert result.returncode == 0 and "1.500 (1.500, 1.500)" in result.stdout
    (tmp_path / "b.json").write_text("{")
    result = run("compare.py", tmp_path / "a.json", tmp_path / "b.json")
    assert result.returncode == 2 and "b.json" in result.stderr


@pytest.mark.slow
def test_the_speed_benchmark():
    result = run("speed_benchmark.py", "--quick", "--seconds", "6")
    assert result.returncode == 0, result.stderr
    assert "snn_codec, free" in result.stdout and "12 min" in result.stdout


def test_the_analysis_benchmark():
    result = run("analysis_benchmark.py", "--hours", "0.1")
    assert result.returncode == 0, result.stderr
    assert "0 of 80 units" in result.stdout and "chance 0.05058" in result.stdout
