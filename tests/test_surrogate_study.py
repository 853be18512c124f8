"""The grid of a study of surrogates: what runs, what is kept, and what is refused."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import in_this_process, small_model, tones
from rich.console import Console

from snn_codec import corpus
from snn_codec import settings as config
from snn_codec.cli import main
from snn_codec.codec import Codec
from snn_codec.errors import TrainingFailed, UserError
from snn_codec.files import exclusive
from snn_codec.storage import entropy
from snn_codec.surrogate_study import level_curve, runner, worker
from snn_codec.surrogate_study.folder import make as make_folder
from snn_codec.surrogate_study.folder import read, result, write
from snn_codec.surrogate_study.grid import Cell, choice_label, plan, split_choice
from snn_codec.training.datasets import Crops

TINY = [
    "training.batch=2", "training.seconds=0.4", "training.warmup=2", "training.validation_clips=1",
    "training.precision=32-true", "training.checkpoint_minutes=0.0", "training.sparsity.goal=0.1",
]  # fmt: skip
QUIET = Console(quiet=True)


@pytest.fixture(scope="session")
def preset(tmp_path_factory):
    """A small plain model's settings, as a file."""
    path = tmp_path_factory.mktemp("preset") / "tiny.json"
    model = small_model(bottleneck=config.Spiking())
    path.write_text(json.dumps(config.to_dict(config.Config(model))))
    return path


@pytest.fixture
def make(music, preset):
    def planned(specs="fast_sigmoid:2,atan", changes=(), **options):
        options = {"seeds": 2, "steps": 16, "preset": str(preset)} | options
        return plan(specs.split(","), [music], changes=[*TINY, *changes], **options)

    return planned


@pytest.fixture
def instantly(monkeypatch):
    """Runs that end at once, as `ending(cell folder)` says; the order in which they were started."""
    started = []

    def use(ending=lambda folder: ("done", 0)):
        code = "import sys; sys.exit(int(sys.argv[1]))"
        original = subprocess.Popen

        def popen(command, **options):
            folder = Path(command[-1])
            started.append("/".join(folder.parts[-3:]))
            status, code_at_end = ending(folder)
            if status:
                (folder / "result.json").write_text(json.dumps({"status": status, "reason": "it diverged"}))
            return original([sys.executable, "-c", code, str(code_at_end)], **options)

        monkeypatch.setattr(runner.subprocess, "Popen", popen)
        monkeypatch.setattr(runner, "POLL_SECONDS", 0.01)
        return started

    return use


def log(folder):
    with open(folder / "log.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


# --- what runs ---


def test_the_grid_is_seed_by_seed_and_free_before_sparse(make):
    cells = make().cells()
    assert [(cell.seed, cell.setting, cell.choice) for cell in cells] == [
        (seed, setting, choice)
        for seed in (0, 1)
        for setting in ("free", "sparse")
        for choice in ("fast_sigmoid:2", "atan:2")
    ]
    assert len({cell.folder(Path("x")) for cell in cells}) == 8


def test_runs_differ_in_what_is_compared_alone(make):
    study = make(changes=["training.sparsity.theta=0.25"], sparse_changes=["training.learning_rate=0.01"])
    free, other = (study.config(Cell("free", choice, 1)) for choice in ("fast_sigmoid:2", "atan:2"))
    assert (other.model.bottleneck.surrogate, other.model.bottleneck.slope) == ("atan", 2.0)
    assert free.training == other.training and free.training.seed == 1 and free.training.steps == 16
    assert free.training.validate_every == 2 and free.training.validation_clips == 1
    assert free.training.sparsity == config.Sparsity()
    sparse = study.config(Cell("sparse", "atan:2", 1)).training.sparsity
    assert sparse.goal == 0.1 and sparse.theta == 0.25
    assert free.training.learning_rate != 0.01 == study.base["sparse"].training.learning_rate
    assert sparse.stop == config.PRESETS["cpu-sparse"].training.sparsity.stop
    weights, crops = [], []
    for settings in (free, other):
        torch.manual_seed(settings.training.seed)
        weights.append(Codec(settings.model).state_dict())
        found = Crops(corpus.paths(study.data[0], "train"), 22050, settings.training)
        crops.append(torch.stack([found[index] for index in range(4)]))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert torch.equal(*crops)


def test_every_run_once_and_none_twice(make, instantly, tmp_path):
    started = instantly()
    assert runner.run(make(), tmp_path / "run", jobs=3, console=QUIET) == {}
    assert sorted(started) == sorted(
        f"{setting}/{choice}/seed{seed}"
        for setting in ("free", "sparse")
        for choice in ("fast_sigmoid-2", "atan-2")
        for seed in (0, 1)
    )
    for name in [name for name in started if name.startswith("sparse")]:
        assert started.index(name) > started.index(name.replace("sparse", "free"))
        cell = json.loads((tmp_path / "run" / name / "cell.json").read_text())
        assert cell["init_from"] == str(
            (tmp_path / "run" / name.replace("sparse", "free") / "best").resolve()
        )
    started.clear()
    runner.run(make(), tmp_path / "run", jobs=3, console=QUIET)
    assert started == []


def test_choices_and_seeds_can_be_added(make, instantly, tmp_path):
    started = instantly()
    runner.run(make(settings=["free"]), tmp_path / "run", jobs=2, console=QUIET)
    started.clear()
    runner.run(make("paper_triangle", seeds=1), tmp_path / "run", jobs=2, console=QUIET)
    assert started == ["free/paper_triangle-0.3/seed0", "sparse/paper_triangle-0.3/seed0"]
    whole = read(tmp_path / "run")
    assert whole.choices == ("fast_sigmoid:2", "atan:2", "paper_triangle:0.3") and whole.seeds == 2
    assert set(whole.base) == {"free", "sparse"}


def test_a_run_that_fails_is_a_result_and_a_killed_one_is_not(make, instantly, tmp_path):
    def ending(folder):
        if "atan" in str(folder):
            return "failed", 2
        return (None, 9) if folder.name == "seed1" else ("done", 0)

    started = instantly(ending)
    root = tmp_path / "run"
    bad = runner.run(make(), root, jobs=2, console=QUIET)
    assert bad[Cell("free", "atan:2", 0)] == "it diverged"
    assert bad[Cell("sparse", "atan:2", 0)] == "its FREE run did not end well"
    assert "ended with 9" in bad[Cell("free", "fast_sigmoid:2", 1)]
    assert len(bad) == 6 and len(started) == 5
    started.clear()
    runner.run(make(), root, jobs=2, console=QUIET)
    assert started == ["free/fast_sigmoid-2/seed1"]
    started.clear()
    state = Cell("free", "atan:2", 0).folder(root) / "state.safetensors"
    state.touch()
    runner.run(make(), root, jobs=2, console=QUIET, retry=True)
    assert not state.exists()  # it would go on with what failed
    assert sorted(started) == ["free/atan-2/seed0", "free/atan-2/seed1", "free/fast_sigmoid-2/seed1"]


# --- thermometers and levels ---


def test_thresholds_of_wide_can_be_compared(make):
    study = make(
        preset="cpu-wide", changes=["phase.kind=plain"], settings=["free"], entropy_model="wide",
    )  # fmt: skip
    bottleneck = study.config(Cell("free", "atan:2", 1)).model.bottleneck
    assert (bottleneck.kind, bottleneck.surrogate, bottleneck.slope) == ("thermometer", "atan", 2.0)
    assert study.entropy_model == "wide"


def test_a_model_with_levels_has_a_curve_over_them(make, tmp_path, monkeypatch):
    study = make(changes=["model.levels=3"], settings=["free"], steps=2)
    cell = Cell("free", "atan:2", 0)
    monkeypatch.setattr(runner.subprocess, "Popen", in_this_process)
    monkeypatch.setattr(worker, "_end_with_parent", lambda: None)
    runner.run(replace(study, choices=("atan:2",), seeds=1), tmp_path, jobs=1, console=QUIET)
    curve = level_curve.read(cell.folder(tmp_path))
    assert len(curve) == 3 and all(kbps > 0 for kbps, _ in curve)
    codec = Codec.load(cell.folder(tmp_path) / "best")
    clips = list(corpus.clips(corpus.paths(study.data[0], "validation"), 256 * 512, 22050, each=1))
    events = [codec.encode(clip, 22050, level=2) for clip in clips]
    kbps = [matrix.kbps(min(entropy.bits(matrix.events).values()) / 8) for matrix in events]
    assert curve[2][0] == pytest.approx(sum(kbps) / len(kbps))


# --- neurons ---


def test_every_surrogate_has_every_neuron(make):
    study = make(neuron_specs=["stateless", "leaky:0.5", "subtract:0.9"], seeds=1)
    assert study.choices == (
        "fast_sigmoid:2", "atan:2", "fast_sigmoid:2@leaky:0.5", "atan:2@leaky:0.5", "fast_sigmoid:2@subtract:0.9",
        "atan:2@subtract:0.9",
    )  # fmt: skip
    assert len({cell.folder(Path("x")) for cell in study.cells()}) == 12
    plain, other = (study.config(Cell("free", label, 0)) for label in ("atan:2", "atan:2@subtract:0.9"))
    spiking = other.model.bottleneck
    assert (spiking.surrogate, spiking.slope, spiking.beta) == ("atan", 2.0, 0.9)
    assert (spiking.reset, spiking.threshold) == ("subtract", 1.0)
    assert plain.model.bottleneck.beta == 0 and plain.training == other.training
    assert choice_label("atan@subtract:0.90:1") == "atan:2@subtract:0.9" and choice_label("atan") == "atan:2"
    assert split_choice("atan:2") == ("atan:2", "stateless")
    with pytest.raises(UserError, match="neuron 'zero:0.5' is given twice"):
        make(neuron_specs=["zero:0.5", "zero:0.50"])
    with pytest.raises(UserError, match="name neurons with --neurons"):
        make(changes=["model.bottleneck.beta=0.5"])
    with pytest.raises(UserError, match=r"threshold is 0\.5; name neurons with --neurons"):
        make(changes=["model.bottleneck.threshold=0.5"])


# --- what is refused ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(specs="atan,atan:2"), "'atan:2' is given twice"),
        (dict(specs="magic"), "'magic' is not known"),
        (dict(specs="atan:none"), "must be a number"),
        (dict(seeds=0), "at least 1"),
        (dict(steps=0), "at least 1"),
        (dict(settings=["dense"]), "'dense' is not known; choose from free, sparse"),
        (dict(settings=["sparse"]), "SPARSE starts from FREE"),
        (dict(changes=["training.steps=5"]), "the study chooses it"),
        (dict(changes=["training.seed=5"]), "the study chooses it"),
        (dict(changes=["model.bottleneck.slope=5"]), "the study chooses it"),
        (dict(changes=["training.magic=5"]), "there is no setting"),
        (dict(changes=["model.bottleneck.groups=3"]), "80 units cannot be split into 3"),
        (dict(sparse_changes=["model.hop=256"]), "start from FREE's model"),
        (dict(sparse_changes=["training.clip=2"], settings=["free"]), "there are no SPARSE runs"),
        (dict(preset="cpu-rvq"), "its bottleneck has no surrogate"),
        (dict(preset="cpu-wide"), "cpu-wide: its phase, coefficients, trains nothing in front of the spikes"),
        (dict(preset="cpu-wide", changes=["phase.kind=plain"], neuron_specs=["leaky:0.5"]), "have no memory"),
        (dict(entropy_model="free"), "the study's model has no levels"),
        (
            dict(changes=["model.levels=4"], entropy_model="wide"),
            "wide: its events have other units or levels",
        ),
        (dict(changes=["model.levels=4"], entropy_model="nope"), "nope: no such model"),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_it_runs(make, options, words):
    with pytest.raises(UserError, match=words):
        make(**options)


def test_data_is_looked_at_before(preset, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        plan(["atan"], [tmp_path / "nothing"], seeds=1, steps=1, preset=str(preset))


def test_studies_are_not_mixed_up(make, tmp_path, music):
    root = tmp_path / "run"
    make_folder(root)
    write(make(), root)
    for other, words in (
        (make(steps=24), r"FREE runs have training.steps = 16, not 24"),
        (make(sparse_steps=24), r"SPARSE runs have training.steps = 16, not 24"),
        (make(changes=["model.hop=256"]), "model.hop = 512, not 256"),
    ):
        with pytest.raises(UserError, match=words):
            write(other, root)
    noted = json.loads((root / "study.json").read_text())
    gone = noted["recordings"]["train"].popitem()
    (root / "study.json").write_text(json.dumps(noted))
    with pytest.raises(UserError, match=rf"1 new in train \({gone[0]}\)"):
        write(make(), root)
    del noted["recordings"]  # as an earlier version wrote it
    (root / "study.json").write_text(json.dumps(noted))
    write(make(), root)
    (root / "study.json").write_text("{")
    with pytest.raises(UserError, match=r"study.json: is damaged"):
        read(root)
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no study"):
        runner.run(make(), taken, jobs=1, console=QUIET)
    assert [path.name for path in taken.iterdir()] == ["letter.txt"]


def test_two_at_work_in_one_folder(make, instantly, tmp_path):
    pytest.importorskip("fcntl")
    started = instantly()
    (tmp_path / "run").mkdir()
    with exclusive(tmp_path / "run" / "lock"), pytest.raises(UserError, match="another process is at work"):
        runner.run(make(), tmp_path / "run", jobs=1, console=QUIET)
    assert started == []


# --- for real ---


def command(preset, music, root, *more):
    found = [
        "compare-surrogates", "--surrogates", "fast_sigmoid:2,triangular", "--data", str(music), "-o", str(root),
        "--seeds", "1", "--steps", "24", "--sparse-steps", "8", "--preset", str(preset), "--jobs", "2", *more,
    ]  # fmt: skip
    for change in TINY:
        found += ["--set", change]
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


def test_a_worker_ends_quietly_although_its_input_is_still_open(make, tmp_path):
    """Its thread that waits for the end of stdin must not hold what Python closes at its own end."""
    study, cell = make(), Cell("free", "atan:2", 0)
    folder = cell.folder(tmp_path)
    folder.mkdir(parents=True)
    settings = config.to_dict(study.config(cell))
    settings["training"]["sparsity"]["objective"], settings["model"]["levels"] = "fill", 4  # which is refused
    content = {"config": settings, "data": [str(study.data[0])], "init_from": None, "accelerator": "cpu"}
    (folder / "cell.json").write_text(json.dumps(content))
    process = subprocess.Popen(
        [sys.executable, "-m", "snn_codec.surrogate_study.worker", str(folder)],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(config.__file__).parents[2])},
    )  # fmt: skip
    said = process.stderr.read()
    assert process.wait() == 1 and "Fatal" not in said, said
    process.stdin.close()
    process.stderr.close()
    assert "fill has one aim" in said and result(cell, tmp_path) is None


def test_only_a_training_that_failed_is_a_result(make, tmp_path, monkeypatch):
    study, cell = make(), Cell("free", "atan:2", 0)
    folder = cell.folder(tmp_path)
    folder.mkdir(parents=True)
    content = {
        "config": config.to_dict(study.config(cell)),
        "data": [],
        "init_from": None,
        "accelerator": "cpu",
    }
    (folder / "cell.json").write_text(json.dumps(content))
    monkeypatch.setattr(worker, "_end_with_parent", lambda: None)
    where = {"trained_on": "CPU, 32-true"}
    for error, status in ((UserError("a file is gone"), 1), (TrainingFailed("it diverged"), 2)):

        def trained(*_, error=error):
            raise error

        monkeypatch.setattr(worker, "train", trained)
        assert worker.main(folder) == status
        assert result(cell, tmp_path) == (
            None if status == 1 else {"status": "failed", "reason": "it diverged"} | where
        )


def test_the_reason_of_a_run_that_could_not_be_tried_is_said(make, instantly, tmp_path):
    def ending(folder):
        (folder / "output.txt").write_text("a warning\na file is gone\n")
        return None, 1

    instantly(ending)
    bad = runner.run(make(settings=["free"], seeds=1), tmp_path / "run", jobs=2, console=QUIET)
    assert set(bad.values()) == {f"{runner.KILLED} 1; a file is gone"}


@pytest.mark.once
@pytest.mark.slow
def test_a_killed_study_goes_on_exactly(preset, music, tmp_path, capsys, monkeypatch):
    """kill -9 of the study in the middle of its runs; then the same command gives what it gives without."""
    pytest.importorskip("matplotlib")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    arguments = [sys.executable, "-m", "snn_codec.cli", *command(preset, music, killed)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    states = [
        killed / "free" / name / "seed0" / "state.safetensors" for name in ("fast_sigmoid-2", "triangular-1")
    ]
    while process.poll() is None and not any(state.exists() for state in states):
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    pids = children.read_text().split() if children.exists() else []
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not all(result(cell, killed) for cell in read(killed).cells())
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)  # none is left to write into the folders
    monkeypatch.setattr(worker, "_end_with_parent", lambda: None)
    monkeypatch.setattr(runner.subprocess, "Popen", in_this_process)
    for root in (killed, whole):
        assert main(command(preset, music, root)) == 0, capsys.readouterr().err
    ended = {"status": "done", "reason": "", "trained_on": "CPU, 32-true"}
    for cell in read(whole).cells():
        assert result(cell, killed) == result(cell, whole) == ended
        assert log(cell.folder(killed)) == log(cell.folder(whole))
    free, sparse = (Cell(setting, "triangular:1", 0).folder(whole) for setting in ("free", "sparse"))
    assert len(log(free)) == 8 and float(log(sparse)[-1]["lambda"]) == 0.1
    columns = ("encoder_gradient", "dead_units", "saturated_units", "validation_stft")
    assert all(row[column] != "" for row in log(sparse) for column in columns)
    assert float(log(free)[-1]["encoder_gradient"]) > 0
    report = (whole / "report" / "report.md").read_text()
    assert "| `triangular:1` | 1 |" in report and "## SPARSE (8 steps" in report
    assert {path.suffix for path in (whole / "report").iterdir()} == {".md", ".csv", ".json", ".png"}


GAUSS = """
import torch

class Gauss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, membrane):
        ctx.save_for_backward(membrane)
        return (membrane > 0).to(membrane.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (membrane,) = ctx.saved_tensors
        return gradient * torch.exp(-membrane.square())

def gauss(membrane):
    return Gauss.apply(membrane)
"""


@pytest.mark.once
@pytest.mark.slow
def test_a_surrogate_of_ones_own_is_studied_resumed_and_not_needed_to_decode(
    preset, music, tmp_path, monkeypatch, capsys
):
    """In the same grid neurons with a memory; the module is in the working directory alone."""
    pytest.importorskip("matplotlib")
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    work.mkdir()
    elsewhere.mkdir()
    (work / "my_surrogate.py").write_text(GAUSS)
    root = tmp_path / "run"
    arguments = [
        sys.executable, "-m", "snn_codec.cli", "compare-surrogates",
        "--surrogates", "my_surrogate:gauss", "--neurons", "stateless,zero:0.5", "--settings", "free",
        "--data", str(music), "-o", str(root), "--seeds", "1", "--steps", "4",
        "--preset", str(preset), "--jobs", "2",
        *(part for change in TINY for part in ("--set", change)),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(Path(config.__file__).parents[2]), "OMP_NUM_THREADS": "1"}

    def call(command, folder):
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    done = call(arguments, work)
    assert done.returncode == 0, done.stderr
    assert "| `my_surrogate:gauss@zero:0.5` | 1 |" in (root / "report" / "report.md").read_text()
    run = Cell("free", "my_surrogate:gauss", 0).folder(root)
    resumed = ["train", "--run", str(run), "--resume", "--set", "training.steps=6", "--accelerator", "cpu",
               "--workers", "0"]  # fmt: skip
    done = call([sys.executable, "-m", "snn_codec.cli", *resumed], work)
    assert done.returncode == 0 and [row["step"] for row in log(run)][-1] == "6", done.stderr
    monkeypatch.chdir(elsewhere)  # where the module is not to be found
    assert main(resumed) == 2
    assert "no module my_surrogate on Python's path" in capsys.readouterr().err
    codec = Codec.load(run / "best")
    sound = tones(2.0)
    assert codec.decode(codec.encode(sound, 22050)).shape == sound.shape
    assert "my_surrogate" not in sys.modules


def test_the_command_says_what_is_wrong(preset, music, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(command(preset, music, tmp_path / "run", "--reference", "atan")) == 2
    assert (
        "--reference atan: is not among the choices; name one of fast_sigmoid:2, triangular:1"
        in capsys.readouterr().err
    )
    assert main(command(preset, music, tmp_path / "run", "--jobs", "0")) == 2
    assert not (tmp_path / "run").exists()
