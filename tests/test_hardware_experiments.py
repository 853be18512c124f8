"""Short forms of the experiments that run Lava."""

import re
import sys

import pytest
from test_experiments import ROOT, run

from snn_codec.cli import main

BACH = ROOT / "data" / "recording" / "bach-bwv846"


@pytest.mark.lava
@pytest.mark.slow
def test_the_figures_of_the_benchmark():
    result = run("hardware_benchmark.py", "--seconds", 3, "--lava-python", sys.executable)
    assert result.returncode == 0, result.stderr
    shares = {
        line.split("  ")[0].strip(): float(re.search(r"([\d.]+) %", line)[1])
        for line in result.stdout.splitlines()
        if " %" in line
    }
    exact = [name for name in shares if not name.endswith("input = torch float32")]
    assert len(exact) == 5 and all(shares[name] == 100 for name in exact), result.stdout
    assert shares["fixed_pt, 8-bit weights, 16-bit input = torch float32"] > 97
    assert shares["fixed_pt, 15-bit weights, 16-bit input = torch float32"] > 99.5
    # within 0.1 dB over a minute; three seconds are few
    assert all(abs(float(change)) < 0.3 for change in re.findall(r"SI-SNR ([+-][\d.]+) dB", result.stdout))


@pytest.mark.lava
@pytest.mark.slow
def test_keys_are_read_from_a_spike_stream(tmp_path, capsys):
    assert main(["encode", f"{BACH}.flac", "-o", str(tmp_path / "a.h5")]) == 0
    assert main(["export", "spikes", str(tmp_path / "a.h5"), "--to", "lava"]) == 0
    result = run("lava_keys.py", tmp_path / "a.npz", f"{BACH}.mid", "--lava-python", sys.executable)
    assert result.returncode == 0, result.stderr
    shares = [float(share) for share in re.findall(r"([\d.]+) %", result.stdout)]
    assert shares[:2] == [100, 100] and shares[2] > 99.8
    assert shares[3] > 3 * shares[4]  # of spikes on a key that is down, against chance
