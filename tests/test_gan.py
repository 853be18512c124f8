"""GAN training on a small codec: what it may change, what it must not, and that it resumes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import settled, small_model, tones

from snn_codec import decoders
from snn_codec import settings as config
from snn_codec.cli import main
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.training.loop import train
from snn_codec.training.run_folder import Run

SETTINGS = [
    "training.steps=6", "training.batch=2", "training.seconds=0.4", "training.warmup=2",
    "training.validate_every=3", "training.validation_clips=1", "training.precision=32-true",
    "training.checkpoint_minutes=0.0", "phase.start=2", "phase.discriminators.windows=[256]",
    "phase.discriminators.channels=2",
]  # fmt: skip


def rows(folder):
    with open(folder / "log.csv", newline="") as file:
        return [
            {name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)
        ]


@pytest.fixture
def run(music, checkpoint, tmp_path):
    def start(name, *changes, **options):
        settings = config.load("cpu-gan", [*SETTINGS, *changes])
        options = {"init_from": str(checkpoint), "accelerator": "cpu", "workers": 0, "threads": 1} | options
        train(settings, Run([music], tmp_path / name, **options))
        return tmp_path / name

    return start


def state(folder):
    from safetensors.torch import load_file

    return load_file(folder / "state.safetensors")


def test_the_events_stay_and_the_sound_changes(run, codec, checkpoint):
    folder = run("a", "training.learning_rate=0.01") / "best"
    plain, gan = Codec.load(folder), Codec.load(folder, decoder="gan")
    assert plain.decoders == gan.decoders == ("plain", "gan")
    assert plain.fingerprint == gan.fingerprint == codec.fingerprint
    sound = tones(13.0)
    events = plain.encode(sound, 22050)
    assert gan.encode(sound, 22050) == events
    np.testing.assert_array_equal(plain.decode(events), codec.decode(events))
    assert not np.array_equal(gan.decode(events), plain.decode(events))
    whole = gan.active_decoder.module(
        codec.bottleneck.decode(torch.tensor(events.events[None], dtype=torch.float32))
    )
    assert whole.shape[-1] == events.n_steps * 512
    log = rows(run("b"))
    assert [row["step"] for row in log] == ["3", "6"] and all(float(row["plain_mel"]) > 0 for row in log)


def test_a_decoder_in_training_hears_the_discriminators_from_the_start_on(run):
    early, late = rows(run("a", "phase.start=100"))[-1], rows(run("b"))[-1]
    assert early["adversarial"] == "" and early["discriminator_trained"] == "1"
    assert float(late["adversarial"]) > 0 and float(late["features"]) > 0


def test_discriminators_that_know_enough_are_left_alone(run):
    taught, left = state(run("a", "phase.probability=1.0")), state(run("b", "phase.enough=100.0"))
    never = state(run("c", "phase.probability=0.0", "phase.start=0"))
    name = "discriminators.scales.0.judge.parametrizations.weight.original1"
    torch.testing.assert_close(left[name], never[name], rtol=0, atol=0)
    assert not torch.equal(taught[name], left[name])


def test_the_whole_codec_may_be_trained_along(run, codec):
    folder = run("a", "phase.frozen=false", "training.learning_rate=0.01")
    trained = Codec.load(folder / "best")
    assert trained.decoders == ("plain",) and trained.fingerprint != codec.fingerprint
    moved = (trained.encoder.project.weight - codec.encoder.project.weight).abs().max()
    assert moved > 1e-4
    assert float(rows(folder)[-1]["residual"]) > 0


def test_a_codec_that_is_trained_along_may_keep_its_norms(run, codec):
    was = codec.bottleneck.norms[0].running_mean
    free, held = (
        Codec.load(run(f"norms{held}", "phase.frozen=false", f"training.frozen_norms={held}") / "best")
        for held in ("false", "true")
    )
    assert torch.equal(held.bottleneck.norms[0].running_mean, was)
    assert not torch.equal(free.bottleneck.norms[0].running_mean, was)


def test_a_resumed_run_equals_an_uninterrupted_one(run, monkeypatch):
    from snn_codec.training.gan import GanPhase

    whole = run("whole")
    original = GanPhase.train_step

    def dies_at_step_four(self, step, batch, *, logged):
        if step == 4:
            raise KeyboardInterrupt
        return original(self, step, batch, logged=logged)

    monkeypatch.setattr(GanPhase, "train_step", dies_at_step_four)
    with pytest.raises(KeyboardInterrupt):
        run("cut")
    monkeypatch.undo()
    cut = run("cut", resume=True)
    assert rows(cut) == rows(whole)
    one, other = state(whole), state(cut)
    assert set(one) == set(other) and any(name.startswith("discriminators.") for name in one)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


def test_a_killed_process_resumes_exactly_on_both_sides(run, checkpoint, music, tmp_path):
    whole = run("whole", "training.steps=30", "training.validate_every=10")
    command = [
        sys.executable, "-m", "snn_codec.cli", "train", "--phase", "gan", "--init-from", str(checkpoint),
        "--data", str(music), "--run", str(tmp_path / "killed"), "--accelerator", "cpu", "--threads", "1",
        "--workers", "0",
    ]  # fmt: skip
    for change in [*SETTINGS, "training.steps=30", "training.validate_every=10"]:
        command += ["--set", change]
    saved = tmp_path / "killed" / "state.safetensors"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and not saved.exists():
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    run("killed", "training.steps=30", "training.validate_every=10", resume=True)
    assert rows(tmp_path / "killed") == rows(whole)
    one, other = state(whole), state(tmp_path / "killed")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_one_clip_is_learned_better_against_discriminators(run, codec):
    """On one recording, without variation, the mel distance falls below the plain decoder's."""
    folder = run(
        "a", "training.steps=60", "training.validate_every=60", "training.learning_rate=0.005",
        "training.augmentation.probability=0.0", "training.ema=0.0", "phase.margin_db=100.0",
    )  # fmt: skip
    last = rows(folder)[-1]
    assert float(last["validation_mel"]) < 0.8 * float(last["plain_mel"])


def test_paper_sizes_take_two_steps(music, checkpoint, tmp_path):
    settings = config.load("paper-gan", [
        "training.steps=2", "training.batch=1", "training.seconds=0.3", "training.validation_clips=1",
        "training.precision=32-true",
    ])  # fmt: skip
    folder = tmp_path / "paper"
    train(settings, Run([music], folder, init_from=str(checkpoint), accelerator="cpu", workers=0, threads=1))
    assert rows(folder)[-1]["step"] == "2"


def test_a_phase_needs_a_model(run, music, tmp_path, capsys):
    with pytest.raises(UserError, match="--init-from"):
        run("a", init_from=None)
    with pytest.raises(UserError, match="leave out model settings"):
        run("a", "model.units=8")
    run("a", "training.steps=1")
    settled(small_model(), seed=9).save(tmp_path / "other")
    with pytest.raises(UserError, match="whose codec is"):
        run("a", "training.steps=1", resume=True, init_from=str(tmp_path / "other"))
    common = ["--data", str(music), "--run", str(tmp_path / "x"), "--init-from", "none"]
    assert main(["train", "cpu-free", "--phase", "gan", *common]) == 2
    assert "use the preset cpu-gan" in capsys.readouterr().err
    assert main(["train", "--phase", "gan", *common]) == 2
    assert "no such model" in capsys.readouterr().err


def test_a_later_decoder_is_kept_beside_an_earlier_one(run, tmp_path, checkpoint):
    first = run("a") / "best"
    (first / "decoders.json").write_text((first / "decoders.json").read_text())
    second = run("b", init_from=str(first)) / "best"
    assert json.loads((second / "decoders.json").read_text()).keys() == {"gan"}
    assert decoders.copy(first, second, Codec.load(second), weights="int8", force=True) == ["gan"]
    assert (
        Codec.load(second, decoder="gan").active_decoder.settings
        == Codec.load(first, decoder="gan").active_decoder.settings
    )
