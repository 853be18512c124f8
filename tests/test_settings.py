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
    changed = config.load("cpu-free", ["model.encoder.kind=seanet", "model.encoder.filters=8"])
    assert changed.model.encoder == config.SEANet(filters=8)


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
        ("model.encoder.kind=vocoder", "kinds are spectral, seanet"),
        ("model.encoder.kind=spiking", "must be one of spectral, seanet"),
        ("model.bottleneck.reset=sometimes", "must be one of none, zero, subtract"),
        ("model.encoder=1", "kind"),
        ("training.betas=1", "expected a list"),
    ],
)
def test_settings_that_do_not_fit_say_why(setting, words):
    with pytest.raises(UserError, match=words):
        config.load("cpu-free", [setting])


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
