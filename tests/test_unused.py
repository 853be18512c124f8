"""Settings that a training would not look at."""

import pytest
from conftest import small_model

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.training import unused
from snn_codec.training.loop import train
from snn_codec.training.run_folder import Run


@pytest.mark.parametrize("name", config.PRESETS)
def test_presets_have_none(name):
    unused.check(config.PRESETS[name])


@pytest.mark.parametrize(
    ("preset", "change", "words"),
    [
        (
            "cpu-rvq",
            "training.sparsity.goal=3",
            "goal=3.0 would change nothing: the bits of .* rvq have no gradient",
        ),
        ("cpu-mel", "training.loss.correlation=1", "correlation=1.0 .* kind mel_bits"),
        ("cpu-gan", "training.sparsity.theta=0.5", "the phase gan trains no sparsity; leave it out"),
        ("cpu-gan", "training.loss.residual=1", "the phase gan has its own loss"),
        ("cpu-flow", "training.loss.stft=2", r"loss.stft=2.0 \(not 1.0\)"),
        ("cpu-wide", "training.frozen_norms=true", "the phase coefficients trains no batch norm"),
    ],
)
def test_what_would_change_nothing_is_refused(preset, change, words):
    with pytest.raises(UserError, match=words):
        unused.check(config.load(preset, [change]))


def test_what_a_phase_looks_at_is_not():
    unused.check(
        config.load(
            "cpu-gan", ["phase.frozen=false", "training.loss.residual=1", "training.frozen_norms=true"]
        )
    )
    unused.check(config.load("cpu-free", ["training.sparsity.goal=3", "training.loss.correlation=1"]))


def test_it_is_refused_before_a_run_has_a_folder(music, tmp_path):
    settings = config.changed(
        config.Config(small_model()), ["phase.kind=coefficients", "training.loss.stft=2"]
    )
    with pytest.raises(UserError, match="would change nothing"):
        train(settings, Run([music], tmp_path / "run", accelerator="cpu"))
    assert not (tmp_path / "run").exists()
