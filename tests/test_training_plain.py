"""The first phase of training: what a validation counts, and what a collapse is."""

import csv

import numpy as np
import pytest
import torch
from conftest import small_model

from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.training.loop import train
from snn_codec.training.run_folder import Run

SETTINGS = [
    "training.steps=6", "training.batch=2", "training.seconds=0.4", "training.warmup=2",
    "training.validate_every=3", "training.validation_clips=2", "training.precision=32-true",
]  # fmt: skip


@pytest.fixture
def log(music, tmp_path):
    """The log of a run with some changes, as rows."""

    def train_one(*changes):
        settings = config.changed(config.Config(small_model()), [*SETTINGS, *changes])
        train(settings, Run([music], tmp_path / "run", accelerator="cpu", workers=0, threads=1))
        with open(tmp_path / "run" / "log.csv", newline="") as file:
            return list(csv.DictReader(file))

    return train_one


def test_a_validation_counts_units_that_never_fire_in_its_clips(log, monkeypatch):
    """A training batch has so few steps that a unit that is rare seems dead there."""
    found = []
    original = Codec.encode

    def encode(self, *arguments, **options):
        events = original(self, *arguments, **options)
        matrix = events.events.copy()
        matrix[0], matrix[1], matrix[2] = False, True, False
        matrix[2, -1] = True
        found.append(events.replace(events=matrix))
        return found[-1]

    monkeypatch.setattr(Codec, "encode", encode)
    for number, row in enumerate(log()):
        matrices = found[len(found) // 2 * number :][: len(found) // 2]
        counts = np.concatenate([matrix.events for matrix in matrices], 1).mean(1)
        assert int(row["validation_dead_units"]) == (counts == 0).sum() >= 1
        assert int(row["validation_saturated_units"]) == (counts == 1).sum() >= 1


def test_one_crop_that_a_sparse_model_misses_is_no_collapse(log, monkeypatch):
    """Runs of a study had four means under -3 dB in a row, and were at 2 dB in validations."""
    seen = []
    monkeypatch.setattr("snn_codec.training.plain.signed_si_snr", lambda *_: torch.tensor([5.0, -80.0, 4.0]))
    monkeypatch.setattr(
        "snn_codec.training.sparsity.CollapseMonitor.check",
        lambda self, step, row: seen.append(row["si_snr"]),
    )
    log("training.batch=3")
    assert seen == [4.0, 4.0]
