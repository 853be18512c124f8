"""What goes wrong in one of several processes of a training is said once, and ends them all."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from conftest import small_model, tones

from snn_codec import settings as config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.once,  # with torch 2.3, the second rank may not end, and holds the pipe
    pytest.mark.usefixtures("own_port"),
]
CHANGES = [
    "training.steps=40", "training.batch=1", "training.seconds=0.4", "training.warmup=2",
    "training.validate_every=2", "training.validation_clips=1", "training.precision=32-true",
]  # fmt: skip


@pytest.fixture
def trained(music, tmp_path):
    """Train on so many ranks, each with a process that reads, in the folder `run`: the process when it has ended."""

    def train(data=music, ranks=2):
        settings = config.changed(config.Config(small_model()), CHANGES)
        (tmp_path / "preset.json").write_text(json.dumps(config.to_dict(settings)))
        return subprocess.run(
            [sys.executable, "-m", "snn_codec.cli", "train", str(tmp_path / "preset.json"), "--data", str(data),
             "--run", str(tmp_path / "run"), "--accelerator", "cpu", "--devices", str(ranks), "--threads", "1"],
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return train


def said(process):
    """What the command says at its end."""
    assert process.returncode == 2 and "Traceback" not in process.stderr and not process.stdout
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("snn-codec")]
    return line


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_recording_that_one_cannot_read(trained, tmp_path, ranks):
    data = tmp_path / "data"
    data.mkdir()
    for number in range(4):
        sound = tones(7.0, seed=number) if number != 2 else np.full(7 * 22050, np.nan)
        soundfile.write(data / f"{number}.wav", sound, 22050, subtype="FLOAT")
    assert "2.wav: holds values that are not numbers" in said(trained(data, ranks))


def test_a_checkpoint_that_the_first_rank_cannot_write(trained, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/best").touch()
    assert "run/best: cannot be made, it is a file" in said(trained())


def test_a_folder_that_is_taken(trained, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text("{}")
    assert "run: holds a run already" in said(trained())
