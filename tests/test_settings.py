import dataclasses
import json

import pytest

from snn_codec import settings as config
from snn_codec.errors import UserError


@pytest.mark.parametrize("name", config.PRESETS)
def test_presets_survive_json(name):
    preset = config.PRESETS[name]
    assert config.from_dict(config.Config, json.loads(json.dumps(config.to_dict(preset)))) == preset
    assert config.load(name) == preset


def test_settings_change_one_thing():
    changed = config.load(
        "cpu-free", ["training.steps=7", "model.bottleneck.surrogate=atan", "training.seconds=1"]
    )
    expected = config.PRESETS["cpu-free"]
    expected = dataclasses.replace(
        expected,
        model=dataclasses.replace(
            expected.model, bottleneck=dataclasses.replace(expected.model.bottleneck, surrogate="atan")
        ),
        training=dataclasses.replace(expected.training, steps=7, seconds=1.0),
    )
    assert changed == expected


def test_another_kind_starts_from_its_own_defaults():
    changed = config.load("cpu-free", ["model.encoder.kind=seanet", "model.encoder.width=256"])
    assert changed.model.encoder == config.SEANet(width=256)


def test_a_json_file_may_leave_out_what_is_default(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{"training": {"steps": 3}}')
    assert config.load(str(file)) == config.Config(training=config.Training(steps=3))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("training.stepz=1", "no setting 'training.stepz'"),
        ("training.steps", "key=value"),
        ("training.steps=many", "training.steps: expected int"),
        ("training.steps=true", "expected int"),
        ("training.steps.more=1", "no setting"),
        ("model.encoder.kind=vocoder", "must be one of spectral, seanet, mel.*, not 'vocoder'"),
        ("model.encoder.kind=spiking", "must be one of spectral, seanet"),
        ("model.bottleneck.reset=sometimes", "must be one of none, zero, subtract"),
        ("model.encoder=1", "config.model.encoder: expected an object with a kind"),
        ("training.betas=1", "config.training.betas: expected a list"),
        ("training.betas=[0.9]", "config.training.betas: needs 2 values, found 1"),
        ("training.betas=[0.9, 0.99, 0.999]", "needs 2 values, found 3"),
        ("training.betas=[0.9, 1]", "config.training.betas: must be 0 or more and below 1, not 1.0"),
        ("training.steps=-5", "config.training.steps: must be 1 or more, not -5"),
        ("training.batch=0", "config.training.batch: must be 1 or more, not 0"),
        ("training.learning_rate=NaN", "config.training.learning_rate: must be a finite number"),
        ("training.loss.stft=-1", "config.training.loss.stft: must be 0 or more"),
        ("training.sparsity.start=0.7", "config.training.sparsity: start must not be beyond stop"),
        ("model.context_steps=129", "config.model: margin_steps must be 0 to 128"),
        ("model.levels=33", "config.model.levels: must be 0 or more and 32 or less"),
        ("model.encoder.kind=seanet", "config.model: encoder and decoder need one width, not 128 and 256"),
        ("model.encoder.kind=mel", "config.model: an encoder of kind mel"),
        ("model.encoder.ratios=[]", "no setting"),
        ("model.bottleneck.beta=1", "config.model.bottleneck.beta: must be 0 or more and below 1"),
        ("model.bottleneck.reset=zero", "config.model.bottleneck: a neuron with beta 0"),
        ("model.kind=x", "no setting"),
        ("phase.kind=vocoder", "must be one of plain, coefficients, gan, flow, diffusion"),
    ],
)
def test_settings_that_do_not_fit_say_why(setting, words):
    with pytest.raises(UserError, match=words):
        config.load("cpu-free", [setting])


def test_a_setting_goes_by_its_name_in_python_and_by_that_in_files():
    for name in ("margin_steps", "context_steps"):
        changed = config.load("cpu-free", [f"model.{name}=8"])
        assert changed.model.margin_steps == 8
        assert config.to_dict(changed)["model"]["context_steps"] == 8
    assert config.load("cpu-diffusion", ["phase.steps=3"]).phase.sampler_steps == 3


def test_values_are_checked_however_an_instance_is_made():
    with pytest.raises(UserError, match="^Training.steps: must be 1 or more, not 0"):
        config.Training(steps=0)
    with pytest.raises(UserError, match="^Training.batch: expected int, found 2.5"):
        dataclasses.replace(config.Training(), batch=2.5)
    assert isinstance(config.Training(seconds=1).seconds, float)
    assert config.SEANet(ratios=[4, 2]).ratios == (4, 2)
    with pytest.raises(UserError, match="SEANet.ratios: needs one value or more"):
        config.SEANet(ratios=())


def test_every_setting_is_listed_with_default_and_one_line():
    rows = {(row.key, row.kind): row for row in config.list_settings()}
    assert rows["training.steps", ""].default == "5000"
    assert rows["training.betas", ""].default == "[0.9, 0.98]"
    assert "spectral, seanet, mel" in rows["model.encoder.kind", ""].text
    assert rows["model.encoder.ratios", "seanet"].default == "[8, 8, 4, 2]"
    assert rows["phase.discriminators.windows", "gan"].default == "[2048, 1024, 512]"
    assert all(row.text and len(row.text) < 80 for row in rows.values())
    listed = {key for key, _ in rows}
    for name, preset in config.PRESETS.items():  # nothing that a preset sets is missing
        for key in _leaves(config.to_dict(preset)):
            names = {key, key.replace("context_steps", "margin_steps")}
            names |= {
                key.replace("compression", "magnitude_exponent"),
                key.replace(".steps", ".sampler_steps"),
            }
            assert names & listed, (name, key)
    assert len(config.settings_table().splitlines()) == len(list(config.list_settings()))


def _leaves(data, prefix=""):
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


SHIPPED = {  # what fingerprints have hashed since the first version
    "sample_rate": 22050, "hop": 512, "units": 80, "context_steps": 32,
    "encoder": {"kind": "spectral", "window": 2048, "width": 256, "blocks": 4, "kernel": 7, "expansion": 3,
                "compression": 0.5},
    "bottleneck": {"kind": "spiking", "groups": 1, "surrogate": "fast_sigmoid", "slope": 2.0, "beta": 0.0,
                   "reset": "none", "threshold": 0.0},
    "decoder": {"kind": "spectral", "window": 2048, "width": 256, "blocks": 4, "kernel": 7, "expansion": 3,
                "compression": 0.5},
}  # fmt: skip


def test_a_fingerprint_leaves_out_what_a_model_does_not_have():
    assert config.identity(config.Model()) == SHIPPED
    absent = config.Conformer(layers=0, heads=8)
    assert config.identity(config.Model(conformer=absent)) == SHIPPED
    conformer = {"layers": 1, "heads": 4, "feedforward": 256, "kernel": 5, "window": 14, "dropout": 0.0}
    both = config.Model(conformer=config.Conformer(layers=1), levels=32, chunk_steps=128)
    assert config.identity(both) == SHIPPED | {"conformer": conformer, "levels": 32, "chunk_steps": 128}


def test_a_new_field_at_its_default_changes_no_fingerprint():
    @dataclasses.dataclass(frozen=True)
    class Model(config.Model):
        sparkle: float = config.setting(0.25, "a field of a version to come")

    @dataclasses.dataclass(frozen=True)
    class Spectral(config.Spectral):
        shimmer: int = config.setting(0, "another")

    assert config.Encoder.kinds["spectral"] is config.Spectral  # a variant takes nobody's place
    newer = Model(encoder=Spectral(), decoder=Spectral())
    assert config.identity(newer) == SHIPPED
    changed = config.identity(Model(sparkle=0.5, encoder=Spectral(shimmer=1)))
    assert changed == SHIPPED | {"sparkle": 0.5, "encoder": SHIPPED["encoder"] | {"shimmer": 1}}


@pytest.mark.parametrize(
    ("text", "words"), [("{", "not JSON"), ('{"modle": {}}', "unknown key 'modle'"), ("3", "object")]
)
def test_json_files_that_do_not_fit_say_why(tmp_path, text, words):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(UserError, match=words):
        config.load(str(tmp_path / "bad.json"))


def test_unknown_presets_name_the_known():
    with pytest.raises(UserError, match="cpu-free"):
        config.load("cpu-freee")


def test_a_kind_that_is_taken_is_refused():
    with pytest.raises(ValueError, match="the kind 'spiking' of .* already"):

        class Other(config.Bottleneck):
            kind: str = "spiking"
