"""Short forms of the experiments that run Lava."""

import re
import sys

import numpy as np
import pytest
from scripts import ROOT, run

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
    assert shares[3] > 1.3 * shares[4]  # of spikes on a key that is down, against the same keys at any time


def test_chance_of_a_key_is_that_of_the_same_spikes_at_any_time(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import lava_keys

    random = np.random.default_rng(0)
    true = np.zeros((88, 4000), bool)
    true[40] = random.random(4000) < 0.5  # a piece of one key, read by spikes that know nothing of its time
    found = np.zeros_like(true)
    found[40] = random.random(4000) < 0.2
    hits, chance = lava_keys.on_keys(found, true)
    assert chance == pytest.approx(0.5, abs=0.02) and hits == pytest.approx(chance, abs=0.05)
    assert lava_keys.on_keys(true, true)[0] == 1 and lava_keys.on_keys(np.zeros_like(true), true) == (0, 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_matrix_of_models_and_targets(monkeypatch, capsys):
    """Every shipped model on every target; without Lava, its two columns say so."""
    for package in ("nir", "norse"):
        pytest.importorskip(package)
    if not hasattr(sys.modules["nir"], "read_data"):
        pytest.skip("needs nir 1.0.8")
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import hardware_matrix

    monkeypatch.setattr(sys, "argv", ["hardware_matrix.py", "--seconds", "1"])
    assert hardware_matrix.main() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `")]
    rows = {
        cells[0].strip("` "): [cell.strip() for cell in cells[1:]]
        for cells in (x[1:-1].split("|") for x in lines)
    }
    assert set(rows) == {path.parent.name for path in (ROOT / "data" / "checkpoints").glob("*/config.json")}
    assert all(cell.startswith("refused: ") for cell in rows.pop("rvq"))
    for netx, nir, lava, streams in rows.values():
        assert netx in ("100 %", "not run: no Lava") and lava in ("100 %", "not run: no Lava")
        assert nir == "snntorch 100 %, norse 100 %" and streams == "4 of 4"


@pytest.mark.lava
@pytest.mark.slow
def test_a_minute_through_lava_in_short():
    result = run(
        "hardware_speed.py", "--seconds", 2, "--models", "sparse", "wide", "--lava-python", sys.executable
    )
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith("| `")]
    assert len(rows) == 3 and all(row.endswith("| 100 % |") for row in rows), result.stdout


def test_a_counter_that_sees_nothing_is_refused(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import hardware_operations

    monkeypatch.setattr(sys, "argv", ["hardware_operations.py", "--seconds", "2"])
    monkeypatch.setattr(hardware_operations.FlopCounterMode, "get_total_flops", lambda counter: 0)
    assert hardware_operations.main() == 2
    said = capsys.readouterr()
    assert "counts no operations in inference mode; run this with a newer one" in said.err and not said.out


@pytest.mark.once  # torch 2.3's counter sees no convolution in inference mode
@pytest.mark.slow
def test_operations_of_every_shipped_model(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import hardware_operations

    monkeypatch.setattr(sys, "argv", ["hardware_operations.py", "--seconds", "2"])
    assert hardware_operations.main() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `")]
    rows = {line.split("`")[1]: [cell.strip() for cell in line[1:-1].split("|")[1:]] for line in lines}
    assert set(rows) == {path.parent.name for path in (ROOT / "data" / "checkpoints").glob("*/config.json")}
    numbers = {
        model: [float(cell.replace(" ", "").replace("-", "nan")) for cell in row]
        for model, row in rows.items()
    }
    assert numbers["wide"][0] == numbers["wide"][4]  # a unit of a thermometer adds to one bin
    assert numbers["free"][5] > 50 * numbers["free"][2] and numbers["wide"][1] > 1e8
    assert rows["rvq"][:5] == ["-"] * 5
