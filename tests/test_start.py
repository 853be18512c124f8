"""Commands start quickly: help and refusals come before what is slow to import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snn_codec import EventMatrix, checkpoints, write_events

ROOT = Path(__file__).parent.parent
RECORDING = ROOT / "data" / "recording" / "bach-bwv846.flac"
LEARNED = ROOT / "tests" / "golden" / "v1_learned.spk"
HEAVY = {"torch", "snntorch", "lightning_fabric", "scipy", "matplotlib", "pandas"}
EVENTS, TAKEN = "made.spk", "taken.wav"

# Runs commands one after another, and prints what each said, and what it was the first to import.
REPORT = """
import contextlib, io, json, sys
from snn_codec.cli import main
seen = []
for command in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(command.split())
        except SystemExit as ended:
            status = ended.code
    seen.append([status, said.getvalue(), sorted(set(sys.modules).difference(*(row[2] for row in seen)))])
print(json.dumps(seen))
"""

LIGHT = {
    "--help": (0, ""),
    f"info {LEARNED}": (0, ""),
    "--version": (0, ""),
    "encode --help": (0, ""),
    "train --help": (0, ""),
    "train --list-settings": (0, ""),
    f"info {EVENTS}": (0, ""),
    f"info {EVENTS} --json": (0, ""),
    f"convert {EVENTS} new.h5": (0, ""),
    f"encode {RECORDING} -o {EVENTS}": (2, "exists already"),
    f"encode {RECORDING} -o new.spk --model nope": (2, "no such model"),
    f"encode {RECORDING} -o new.spk --model free --kbps 1": (2, "has no levels"),
    f"encode {RECORDING} -o new.spk --level 99": (2, "is not one of this model's"),
    "encode none.wav": (2, "no such file"),
    f"decode {EVENTS} -o {TAKEN}": (2, "exists already"),
    f"decode {EVENTS} -o new.wav --model nope": (2, "no such model"),
    f"decode {EVENTS} -o new.wav --decoder nope": (2, "has no decoder 'nope'; it has plain, gan, flow"),
    f"evaluate --model nope --data {ROOT / 'data'}": (2, "no such model"),
    "evaluate --data nowhere": (2, "no such folder"),
    "train cpu-free --run new --data nowhere": (2, "no such folder"),
    f"train nope --run new --data {ROOT / 'data'}": (2, "no such preset"),
    f"train cpu-free --run new --data {ROOT / 'data'} --set training.steps=-5": (2, "must be 1 or more"),
    f"train-entropy free --data {ROOT / 'data'}": (2, "exists already"),
    "compare-surrogates --surrogates atan --data nowhere -o new": (2, "no such folder"),
    f"export netx -o {TAKEN}": (2, "exists already"),
    "export netx --model rvq -o new.net": (2, "no spiking neurons"),
    "export nir --model rvq -o new.nir": (2, "no spiking neurons"),
    "export nir --model nope -o new.nir": (2, "no such model"),
    f"analyse {RECORDING} --model nope -o new": (2, "no such model"),
    "listen serve nowhere": (2, "is not a listening test"),
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """By command: (status, stderr, names of modules)."""
    folder = tmp_path_factory.mktemp("start")
    (folder / TAKEN).touch()
    fingerprint = checkpoints.Checkpoint.find("free").fingerprint
    grid = {"sample_rate": 22050, "hop": 512, "n_samples": 300 * 512, "loudness": np.zeros(2, np.uint8)}
    write_events(folder / EVENTS, EventMatrix(np.eye(80, 300, dtype=bool), fingerprint=fingerprint, **grid))
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{REPORT}"],
        cwd=folder, input=json.dumps(list(LIGHT)), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(zip(LIGHT, json.loads(result.stdout), strict=True))


@pytest.mark.parametrize("command", LIGHT)
def test_a_command_imports_nothing_slow(seen, command):
    status, said, modules = seen[command]
    assert status == LIGHT[command][0] and LIGHT[command][1] in said and len(said.splitlines()) <= 1
    assert not HEAVY & set(modules)


def test_help_needs_the_standard_library_alone(seen):
    assert next(iter(seen)) == "--help"
    assert not {"numpy", "h5py", "rich", "soundfile", "constriction"} & set(seen["--help"][2])


def test_a_bitstream_is_described_without_what_decodes_events(seen):
    modules = {name for command in list(seen)[:2] for name in seen[command][2]}
    assert list(seen)[1] == f"info {LEARNED}" and "snn_codec.storage.spk.frames" in modules
    coding = {f"snn_codec.storage.{name}" for name in ("entropy", "entropy_model", "h5", "exporters")}
    assert not (coding | {"snn_codec.settings", "snn_codec.checkpoints"}) & modules
    assert not {"h5py", "soundfile", "soxr", "safetensors", "constriction", "rich", "pandas"} & modules


@pytest.mark.skipif(os.name == "nt", reason="pipes that break are not signalled there")
@pytest.mark.parametrize("command", [["train", "--list-settings"], ["info", "GOLDEN"]])
def test_a_reader_that_has_left_ends_the_program_without_a_word(command):
    golden = str(Path(__file__).parent / "golden" / "v1.spk")
    arguments = [golden if part == "GOLDEN" else part for part in command]
    process = subprocess.Popen(
        [sys.executable, "-m", "snn_codec", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    with process.stderr:
        said = process.stderr.read()
    assert (process.wait(), said) == (141, b"")
