"""Crops that the runs of a seed share: the same ones, made once, and gone when the runs have ended."""

import csv
import json
import os
from types import SimpleNamespace

import pytest
import torch
from conftest import in_this_process, small_model
from rich.console import Console

from snn_codec import corpus
from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.surrogate_study import runner, worker
from snn_codec.surrogate_study.grid import plan
from snn_codec.training import datasets
from snn_codec.training.datasets import Crops, SharedCrops

SETTINGS = config.Training(seconds=0.5)
QUIET = Console(quiet=True)


@pytest.fixture
def shared(maestro, tmp_path):
    """Crops of the training recordings, shared in a folder."""

    def make(settings=SETTINGS, hop=512):
        return SharedCrops(corpus.paths(maestro, "train"), 22050, settings, hop, tmp_path / "crops")

    return make


@pytest.fixture
def made(monkeypatch):
    """The numbers of all crops that are made from recordings from now on."""
    numbers, original = [], Crops.__getitem__

    def counted(self, index):
        numbers.append(index)
        return original(self, index)

    monkeypatch.setattr(Crops, "__getitem__", counted)
    return numbers


def test_each_crop_is_made_once_and_is_the_same(shared, maestro, made):
    plain = Crops(corpus.paths(maestro, "train"), 22050, SETTINGS)
    wanted = [plain[index] for index in (3, 0, 5)]
    made.clear()
    for _ in range(2):  # two runs
        for crop, same in zip(shared().batch([3, 0, 5]), wanted, strict=True):
            assert torch.equal(crop, same) and crop.dtype == torch.float32
    assert sorted(made) == [0, 3, 5]


@pytest.mark.parametrize(
    "other",
    [
        dict(settings=config.Training(seconds=0.5, seed=1)),
        dict(settings=config.Training(seconds=0.25)),
        dict(settings=config.Training(seconds=0.5, augmentation=config.Augmentation(probability=0.0))),
        dict(hop=256),
    ],
)
def test_runs_whose_crops_differ_do_not_get_each_others(shared, made, other):
    _ = shared()[0], shared(**other)[0]
    assert made == [0, 0]


def test_recordings_that_changed_have_other_crops(shared, maestro, made):
    _ = shared()[0]
    path = corpus.paths(maestro, "train")[0]
    path.write_bytes(path.read_bytes() + b"\0")
    _ = shared()[0]
    assert made == [0, 0]


def test_a_crop_that_was_cut_off_is_made_anew(shared, made):
    crops = shared()
    first = crops[0]
    (path,) = crops.shared.iterdir()
    whole = path.read_bytes()
    for left in (b"", whole[:-4], whole[:-1]):
        path.write_bytes(left)
        assert torch.equal(crops[0], first) and path.read_bytes() == whole
    assert made == [0] * 4


def test_runs_in_step_share_the_work(shared, made, monkeypatch):
    """Two processes that make a batch together begin at different crops of it."""
    for process in (40, 44):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        shared(config.Training(seconds=0.5, seed=process)).batch(range(8))
    assert made == [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 0, 1, 2, 3]


def test_no_room_for_a_crop(shared, monkeypatch):
    crops = shared()

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets.Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"0\.f32: cannot be written \(No space left on device\); make room"):
        crops[0]
    assert not [*crops.shared.iterdir()]


# --- in a study ---


@pytest.fixture
def study(music, tmp_path, monkeypatch):
    """Train two surrogates for four steps, FREE and SPARSE, in this process; the logs, without the seconds."""
    preset = tmp_path / "tiny.json"
    preset.write_text(json.dumps(config.to_dict(config.Config(small_model(bottleneck=config.Spiking())))))
    changes = ["training.batch=2", "training.seconds=0.3", "training.validation_clips=1"]
    changes += ["training.precision=32-true"]

    monkeypatch.setattr(worker, "_end_with_parent", lambda: None)
    monkeypatch.setattr(runner.subprocess, "Popen", in_this_process)

    def run(folder, specs=("atan", "fast_sigmoid:2"), **options):
        planned = plan(specs, [music], seeds=1, steps=4, preset=str(preset), changes=changes)
        assert runner.run(planned, folder, jobs=1, console=QUIET, **options) == {}
        logs = {}
        for path in folder.glob("*/*/seed*/log.csv"):
            with open(path, newline="") as file:
                logs[str(path.relative_to(folder))] = [
                    {name: value for name, value in row.items() if name != "seconds"}
                    for row in csv.DictReader(file)
                ]
        return logs

    return run


def test_a_study_is_the_same_with_shared_crops(study, made, tmp_path):
    alone = study(tmp_path / "alone")
    assert sorted(made) == sorted([*range(8)] * 4)
    made.clear()
    assert study(tmp_path / "shared", share_crops=True) == alone and len(alone) == 4
    assert sorted(made) == [*range(8)]
    assert not (tmp_path / "shared/crops").exists()


def test_crops_stay_while_runs_of_their_seed_are_left(study, made, tmp_path, monkeypatch):
    main = worker.main

    def killed(folder):
        if "sparse" in str(folder):
            raise KeyboardInterrupt
        return main(folder)

    monkeypatch.setattr(worker, "main", killed)
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path / "run", share_crops=True)
    assert len([*(tmp_path / "run/crops/seed0").rglob("*.f32")]) == 8
    made.clear()
    monkeypatch.setattr(worker, "main", main)
    study(tmp_path / "run", share_crops=True)
    assert not made and not (tmp_path / "run/crops").exists()


def test_a_disk_without_room_is_found_before(study, tmp_path, monkeypatch):
    monkeypatch.setattr(runner.shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    with pytest.raises(
        UserError, match=r"run: --share-crops keeps up to 0\.00021 GB here, and 0\.0001 GB are free"
    ):
        study(tmp_path / "run", share_crops=True)
    assert not [*(tmp_path / "run").rglob("cell.json")]
