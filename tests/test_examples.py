"""Every script of examples/ runs, and says what it is there to show."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SAID = {
    "encode_decode": ("EventMatrix(80 units x 431 steps", "kbps", "SI-SNR 1"),
    "read_spikes": ("first half: EventMatrix", "tokens, the first are", "events by h5py"),
    "train_tiny": ("EventMatrix(32 units", "dB after 20 steps"),
    "notes_against_events": (
        "304 onsets",
        "share within 139 ms; 0.051 is chance",
        "  unit",
        "0 of 292 pairs",
    ),
    "notes_against_events wide": (
        "304 onsets",
        "share within 93 ms; 0.046 is chance",
        " band and ",
        ", selective",
    ),
    "nir_in_other_simulators": ("snntorch: 100.000 %", "norse: 100.000 %", "decoded from norse's spikes"),
    "add_a_surrogate": (
        "surrogate derivative at -1, 0, 0.5: 0.108, 0.798, 0.484",
        "trained with add_a_surrogate:gauss:0.5",
    ),
}


@pytest.mark.parametrize("command", SAID)
def test_an_example_runs(command, tmp_path):
    name, *model = command.split()
    if name.startswith("nir"):
        for package in ("nir", "norse", "snntorch.import_nir"):
            pytest.importorskip(package)
    script = EXAMPLES / f"{name}.py"
    arguments = model if name == "notes_against_events" else [str(tmp_path)]
    found = subprocess.run(
        [sys.executable, script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert all(words in found.stdout for words in SAID[command]), found.stdout


def test_all_examples_are_run_and_short():
    scripts = list(EXAMPLES.glob("*.py"))
    assert {script.stem for script in scripts} == {command.split()[0] for command in SAID}
    assert all(len(script.read_text().splitlines()) <= 62 for script in scripts)
