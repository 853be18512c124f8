import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import small_model, tones
from safetensors import safe_open
from safetensors.torch import load_file

from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import TrainingFailed, UserError
from snn_codec.training.loop import train
from snn_codec.training.phase import mean_of_numbers
from snn_codec.training.run_folder import Run

SETTINGS = [
    "training.steps=6", "training.batch=2", "training.seconds=0.4", "training.warmup=2",
    "training.validate_every=3", "training.validation_clips=1", "training.precision=32-true",
]  # fmt: skip


def settings(*changes: str) -> config.Config:
    return config.changed(config.Config(small_model()), [*SETTINGS, *changes])


def rows(folder):
    with open(folder / "log.csv", newline="") as file:
        return [
            {name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)
        ]


@pytest.fixture
def run(music, tmp_path):
    def start(name, *changes, **options):
        folder = tmp_path / name
        train(settings(*changes), Run([music], folder, accelerator="cpu", workers=0, threads=1, **options))
        return folder

    return start


def test_a_run_leaves_a_checkpoint_and_a_log(run):
    folder = run("a")
    log = rows(folder)
    assert [row["step"] for row in log] == ["3", "6"]
    scores = [float(row["validation_si_snr"]) for row in log]
    assert all(float(row["loss"]) > 0 and float(row["density"]) > 0 for row in log)
    assert json.loads((folder / "config.json").read_text()) == config.to_dict(settings())
    codec = Codec.load(folder / "best")
    assert codec.settings == small_model()
    assert all(map(math.isfinite, scores))


def test_sparsity_thins_out_events_and_the_best_is_a_sparse_model(run):
    pressed = [
        "training.steps=60", "training.validate_every=20", "training.sparsity.goal=30", "training.sparsity.theta=0.1",
        "training.sparsity.start=0", "training.sparsity.stop=0.5", "training.learning_rate=0.05",
    ]  # fmt: skip
    free, sparse = (rows(run(name, *pressed, *more)) for name, more in (
        ("free", ["training.sparsity.goal=0"]), ("sparse", []),
    ))  # fmt: skip
    assert float(sparse[-1]["density"]) < 0.5 * float(free[-1]["density"])
    assert [float(row["lambda"]) for row in sparse][-1] == 30 and float(sparse[-1]["sparsity"]) >= 0
    assert {float(row["lambda"]) for row in free} == {0.0} and free[-1]["sparsity"] == ""
    assert float(sparse[-1]["kbps_compressed_time"]) < float(free[-1]["kbps_compressed_time"])


def test_correlation_is_trained_away_and_logged(run):
    longer = ("training.steps=60", "training.validate_every=30", "training.learning_rate=5e-3")
    costs = {
        weight: [
            float(row["correlation"])
            for row in rows(run(f"w{weight}", *longer, f"training.loss.correlation={weight}"))
        ]
        for weight in ("1e-9", "20")
    }
    assert costs["20"][-1] < 0.8 * costs["1e-9"][-1]


def test_seeds_decide(run):
    assert rows(run("a")) == rows(run("b"))
    assert rows(run("c", "training.seed=1")) != rows(run("d"))


LEVELS = (
    "model.levels=4",
    "training.sparsity.goal=1",
    "training.sparsity.start=0",
    "training.sparsity.stop=0.1",
)


RATE = (*LEVELS, "training.sparsity.objective=rate")


def state(folder):
    """Tensors and metadata of a run's state, but for the seconds that it took."""
    path = folder / "state.safetensors"
    with safe_open(path, "pt") as file:
        return load_file(path), {key: value for key, value in file.metadata().items() if key != "elapsed"}


@pytest.mark.parametrize("changes", [(), LEVELS, RATE, ("training.loss.correlation=1",)])
def test_a_resumed_run_equals_an_uninterrupted_one(run, tmp_path, monkeypatch, changes):
    changes = ["training.checkpoint_minutes=0.0", *changes]
    whole = run("whole", *changes)
    from snn_codec.training.plain import PlainPhase

    original = PlainPhase.train_step

    def dies_at_step_four(self, step, batch, *, logged):
        if step == 4:
            raise KeyboardInterrupt
        return original(self, step, batch, logged=logged)

    monkeypatch.setattr(PlainPhase, "train_step", dies_at_step_four)
    with pytest.raises(KeyboardInterrupt):
        run("cut", *changes)
    monkeypatch.undo()
    cut = run("cut", *changes, resume=True)
    assert rows(cut) == rows(whole)
    (ours, facts), (theirs, other_facts) = state(cut), state(whole)
    assert facts == other_facts and ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert Codec.load(cut / "best").fingerprint == Codec.load(whole / "best").fingerprint


def test_a_resumed_run_knows_what_was_before_a_collapse(run, monkeypatch):
    """The model is good at first and collapses; the run is killed once after each."""
    from snn_codec.training.plain import PlainPhase

    changes = ["training.checkpoint_minutes=0.0", "training.validate_every=1", "training.steps=12"]
    changes += ["training.sparsity.goal=1", "training.sparsity.start=0", "training.sparsity.stop=0.1"]
    original, dies_at = PlainPhase._activity, [3, 6]

    def collapses(self, spikes):
        return original(self, spikes) | ({"density": 0.0} if self.at > 1 else {})

    trained = PlainPhase.train_step

    def train_step(self, step, batch, *, logged):
        if step in dies_at:
            dies_at.remove(step)
            raise KeyboardInterrupt
        self.at = step
        return trained(self, step, batch, logged=logged)

    monkeypatch.setattr(PlainPhase, "_activity", collapses)
    monkeypatch.setattr(PlainPhase, "train_step", train_step)
    monkeypatch.setattr("snn_codec.training.sparsity.COLLAPSED_DB", -1000.0)
    for options in ({}, {"resume": True}):
        with pytest.raises(KeyboardInterrupt):
            run("cut", *changes, **options)
    with pytest.raises(TrainingFailed, match="step 7: training has collapsed"):
        run("cut", *changes, resume=True)


def test_a_killed_process_resumes_exactly(music, tmp_path, run):
    """kill -9 at an arbitrary moment, twice; the log then is that of a run that nothing happened to."""
    whole = run("whole", "training.steps=40", "training.checkpoint_minutes=0.0", "training.validate_every=10")
    changes = [
        *SETTINGS,
        "training.steps=40",
        "training.checkpoint_minutes=0.0",
        "training.validate_every=10",
    ]
    preset = tmp_path / "preset.json"
    preset.write_text(json.dumps(config.to_dict(settings())))
    command = [
        sys.executable,
        "-m",
        "snn_codec.cli",
        "train",
        str(preset),
        "--data",
        str(music),
        "--run",
        str(tmp_path / "killed"),
        "--accelerator",
        "cpu",
        "--threads",
        "1",
        "--workers",
        "0",
    ]
    for change in changes:
        command += ["--set", change]
    state = tmp_path / "killed" / "state.safetensors"
    for resume in ([], ["--resume"]):
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = subprocess.Popen(command + resume, stderr=subprocess.DEVNULL)
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    run("killed", *changes, resume=True)  # in this process, which need not start Python and PyTorch
    assert rows(tmp_path / "killed") == rows(whole)
    assert Codec.load(tmp_path / "killed" / "best").fingerprint == Codec.load(whole / "best").fingerprint


@pytest.mark.once  # as in test_evaluation
@pytest.mark.usefixtures("own_port")
def test_two_processes_train_as_one_with_their_batches(music, tmp_path, run):
    """Two ranks of batch 2 average what one process of batch 4 computes (the same crops, but for batch norm)."""
    one = rows(
        run(
            "one",
            "training.batch=4",
            "training.steps=60",
            "training.validate_every=60",
            "training.learning_rate=0.005",
        )
    )
    preset = tmp_path / "preset.json"
    preset.write_text(
        json.dumps(
            config.to_dict(
                settings("training.steps=60", "training.validate_every=60", "training.learning_rate=0.005")
            )
        )
    )
    subprocess.run(
        [sys.executable, "-m", "snn_codec.cli", "train", str(preset), "--data", str(music),
         "--run", str(tmp_path / "two"), "--accelerator", "cpu", "--devices", "2", "--threads", "1",
         "--workers", "0"],
        check=True, stderr=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip
    two = rows(tmp_path / "two")
    assert [row["step"] for row in one] == [row["step"] for row in two] == ["50", "60"]
    first, last = (float(row["validation_si_snr"]) for row in (one[-1], two[-1]))
    assert first == pytest.approx(last, abs=1.5)
    assert float(two[-1]["loss"]) == pytest.approx(float(one[-1]["loss"]), rel=0.25)


@pytest.mark.slow
@pytest.mark.usefixtures("own_port")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_ranks_and_readers_of_data_end_with_the_first_process(music, tmp_path, number):
    preset = tmp_path / "preset.json"
    preset.write_text(json.dumps(config.to_dict(settings("training.steps=100000"))))
    process = subprocess.Popen(
        [sys.executable, "-m", "snn_codec.cli", "train", str(preset), "--data", str(music), "--run",
         str(tmp_path / "run"), "--accelerator", "cpu", "--devices", "2", "--threads", "1", "--workers", "1"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    while process.poll() is None and not (tmp_path / "run" / "best" / "config.json").exists():
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=120)  # which ends when the last of them closes the pipe they share
    ended = 128 + number if number == signal.SIGTERM else -number  # the command line takes SIGTERM as Ctrl-C
    assert process.returncode == ended


def test_init_from_starts_at_those_weights(run, checkpoint, codec, tmp_path):
    folder = run(
        "a",
        "training.steps=1",
        "training.learning_rate=1e-30",
        "training.weight_decay=0.0",
        init_from=str(checkpoint),
    )
    loaded = Codec.load(folder / "best").state_dict()
    for name, value in codec.state_dict().items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(loaded[name], value)
    with pytest.raises(UserError, match="do not fit"):
        run("b", "model.encoder.width=8", "model.decoder.width=8", init_from=str(checkpoint))


def test_a_run_goes_on_without_the_checkpoint_that_it_began_with(run, checkpoint, tmp_path):
    began_with = tmp_path / "began-with"
    shutil.copytree(checkpoint, began_with)
    run("a", init_from=str(began_with))
    shutil.rmtree(began_with)
    folder = run("a", "training.steps=9", init_from=str(began_with), resume=True)
    assert [row["step"] for row in rows(folder)] == ["3", "6", "9"]


def test_parts_that_a_checkpoint_does_not_have_start_anew(run, checkpoint, codec):
    """SPARSE starts from FREE with new conformer layers, and does at first what FREE did."""
    still = ["training.steps=1", "training.learning_rate=1e-30", "training.weight_decay=0.0"]
    layers = ["model.conformer.layers=1", "model.conformer.heads=2", "model.levels=4"]
    folder = run("a", *still, *layers, init_from=str(checkpoint))
    loaded = Codec.load(folder / "best").state_dict()
    torch.testing.assert_close(loaded["bottleneck.encode_weight"], codec.bottleneck.encode_weight)
    assert any(name.startswith("before.layers.0.") for name in loaded)
    folder = run("b", *still, "model.units=40", init_from=str(checkpoint))
    loaded = Codec.load(folder / "best").state_dict()
    assert loaded["bottleneck.encode_weight"].shape == (40, 16)
    torch.testing.assert_close(loaded["encoder.project.weight"], codec.encoder.project.weight)


def test_a_model_that_gets_levels_keeps_its_layers(run):
    """mu-SPARSE starts from SPARSE, and does at first at every level what that did."""
    layers = ["model.conformer.layers=1", "model.conformer.heads=2"]
    sparse = run("sparse", *layers, "training.learning_rate=0.01", "training.steps=12")
    still = ["training.steps=1", "training.learning_rate=1e-30", "training.weight_decay=0.0"]
    began_with = Codec.load(sparse / "best").state_dict()
    assert began_with["before.layers.0.attention.output.weight"].any()
    loaded = Codec.load(
        run("levels", *layers, *still, "model.levels=4", init_from=str(sparse / "best")) / "best"
    ).state_dict()
    for name in began_with:
        if name.startswith(("before.", "after.")):
            torch.testing.assert_close(loaded[name], began_with[name])
    assert loaded["before.prompt"].abs().max() < 1e-20


PRESSED = [
    "training.steps=60", "training.validate_every=20", "training.sparsity.goal=30", "training.sparsity.start=0",
    "training.sparsity.stop=0.5", "training.learning_rate=0.05",
]  # fmt: skip


def test_the_true_rate_can_be_pressed(run):
    free, sparse = (
        rows(
            run(
                f"theta{theta}",
                *PRESSED,
                "training.sparsity.objective=rate",
                f"training.sparsity.theta={theta}",
            )
        )
        for theta in (5, 0.1)
    )
    assert float(sparse[-1]["rate_kbps"]) < 0.8 * float(free[-1]["rate_kbps"]) <= 0.8 * 3.6
    assert float(free[-1]["sparsity"]) == 0


def test_bits_that_lie_idle_are_filled(run):
    pressed, free = (
        rows(
            run(
                f"goal{goal}",
                *PRESSED,
                "training.sparsity.objective=fill",
                "training.sparsity.theta=1",
                f"training.sparsity.goal={goal}",
            )
        )
        for goal in (30, 1e-9)
    )
    assert float(pressed[-1]["rate_kbps"]) > float(free[-1]["rate_kbps"]) + 0.02
    assert float(pressed[-1]["sparsity"]) < float(free[-1]["sparsity"])


def test_filling_up_has_no_levels(run):
    with pytest.raises(UserError, match="fill has one aim"):
        run("a", *PRESSED, "training.sparsity.objective=fill", "model.levels=4")


def test_levels_come_apart(run):
    """One model, trained by Eq. 8: the density falls as the level rises."""
    gently = ["training.sparsity.goal=5", "training.sparsity.halving=2"]
    folder = run("a", *PRESSED, *gently, "model.levels=8", "training.steps=300", "training.batch=4")
    codec = Codec.load(folder / "best")
    sound = tones(6.0)
    densities = [codec.encode(sound, 22050, level=level).density for level in range(8)]
    assert densities[0] > 2 * densities[-1], densities
    assert sum(densities[:4]) > 1.3 * sum(densities[4:])


def test_levels_are_trained_in_mixed_precision(run):
    folder = run("a", "model.levels=4", "model.conformer.layers=1", "training.precision=bf16-mixed")
    assert all(float(row["loss"]) > 0 for row in rows(folder))


def test_run_folders_are_not_mixed_up(run):
    run("a")
    with pytest.raises(UserError, match="holds a run already"):
        run("a")
    with pytest.raises(UserError, match="the run has training.seed = 0, not 5; "):
        run("a", "training.seed=5", resume=True)
    with pytest.raises(UserError, match="no run to resume"):
        run("b", resume=True)


def test_a_damaged_state_is_named(run):
    folder = run("a")
    data = (folder / "state.safetensors").read_bytes()
    (folder / "state.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"state\.safetensors: is damaged"):
        run("a", resume=True)
    shutil.copy(folder / "best" / "model.safetensors", folder / "state.safetensors")
    with pytest.raises(UserError, match=r"state\.safetensors: is damaged, or of another run \(.*Missing key"):
        run("a", resume=True)


def test_frozen_norms_keep_their_statistics_and_learn_on(run, checkpoint, codec, tmp_path):
    moved = Codec.load(run("a", init_from=str(checkpoint)) / "best").bottleneck.norms[0]
    kept = Codec.load(run("b", "training.frozen_norms=true", init_from=str(checkpoint)) / "best").bottleneck
    was = codec.bottleneck.norms[0]
    assert torch.equal(kept.norms[0].running_mean, was.running_mean) and torch.equal(
        kept.norms[0].running_var, was.running_var
    )
    assert not torch.equal(moved.running_mean, was.running_mean)
    assert not torch.equal(kept.norms[0].weight, was.weight)
    assert (
        run("b", "training.frozen_norms=true", resume=True) == tmp_path / "b"
    )  # what it began with is in its state
    with pytest.raises(UserError, match="name it with --init-from"):
        run("c", "training.frozen_norms=true")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("training.seconds=0.05", "training.seconds is 0.05, 1102 samples; the losses need 2048"),
        ("model.encoder.window=255", "an even number of samples, not 255"),
        ("model.hop=500", "a multiple of the hop, but they are"),
        ("training.seed=100000000000000000000000", "9223372036854775807 or less"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused(run, tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        run("a", change)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("accelerator", ["bogus", "tpu"])
def test_an_accelerator_that_is_not_there_is_named(music, tmp_path, accelerator):
    with pytest.raises(UserError, match=f"--accelerator {accelerator}: cannot be used here"):
        train(settings(), Run([music], tmp_path / "a", accelerator=accelerator, workers=0, threads=1))
    assert not (tmp_path / "a").exists()


def test_silence_in_validation_has_no_say(run, monkeypatch):
    from snn_codec.training import plain

    assert mean_of_numbers([1.0, math.nan, 3.0]) == 2 and math.isnan(mean_of_numbers([math.nan]))
    assert run("a", "training.validation_clips=2").joinpath("best").is_dir()
    monkeypatch.setattr(plain, "si_snr", lambda *_: math.nan)
    with pytest.raises(TrainingFailed, match="no validation had a score, so no checkpoint was kept"):
        run("b")


def test_a_surrogate_of_ones_own_that_sets_a_seed_changes_no_weights(run, tmp_path, monkeypatch):
    (tmp_path / "seeding.py").write_text(
        "import snntorch.surrogate\nimport torch\n\ntorch.manual_seed(1)\ngauss = snntorch.surrogate.atan(2.0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made = [
        run(f"{seed}", f"training.seed={seed}", "training.learning_rate=1e-30", "training.steps=1",
            "training.validate_every=1", "model.bottleneck.surrogate=seeding:gauss")
        for seed in (0, 1)
    ]  # fmt: skip
    weights = [Codec.load(folder / "best").state_dict()["encoder.project.weight"] for folder in made]
    assert not torch.allclose(*weights)


def test_a_gradient_that_is_not_finite_is_skipped_and_in_the_end_refused(run, monkeypatch, tmp_path):
    from snn_codec.training import plain

    original = plain.training_loss

    def broken(output, batch, weights):
        loss, terms = original(output, batch, weights)
        return loss * float("nan"), terms

    before = run("a", "training.steps=3", "training.learning_rate=1e-30")
    monkeypatch.setattr(plain, "training_loss", broken)
    after = run("b", "training.steps=3")
    weights = Codec.load(before / "best").state_dict(), Codec.load(after / "best").state_dict()
    torch.testing.assert_close(weights[0]["encoder.project.weight"], weights[1]["encoder.project.weight"])
    with pytest.raises(UserError, match="diverged"):
        run("c", "training.steps=30")
