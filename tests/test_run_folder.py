"""A run's folder says what it was made from: it is resumed by name alone, and mix-ups are refused."""

import json
import shutil
from dataclasses import replace

import pytest
from conftest import small_model, tones

from snn_codec import settings as config
from snn_codec.cli import main
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.files import exclusive
from snn_codec.training import run_folder
from snn_codec.training.loop import train
from snn_codec.training.run_folder import Run, differences, resumed

TINY = [
    "training.steps=2", "training.batch=2", "training.seconds=0.4", "training.validate_every=2",
    "training.validation_clips=1", "training.precision=32-true",
]  # fmt: skip


@pytest.fixture
def preset(tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(config.to_dict(config.Config(small_model()))))
    return path


@pytest.fixture
def data(music, tmp_path):
    """Recordings that a test may change."""
    return shutil.copytree(music, tmp_path / "data")


@pytest.fixture
def run(preset, data, tmp_path):
    """A finished run of two steps."""
    folder = tmp_path / "run"
    train(config.load(str(preset), TINY), Run([data], folder, accelerator="cpu", workers=0, threads=1))
    return folder


def steps(folder):
    return [line.split(",")[0] for line in (folder / "log.csv").read_text().splitlines()[1:]]


def resume(folder, *more):
    return main(["train", "--run", str(folder), "--resume", "--accelerator", "cpu", "--workers", "0", *more])


def test_a_run_is_resumed_by_its_folder_alone_and_can_be_given_more_steps(run, data, capsys):
    assert resume(run, "--set", "training.steps=4") == 0
    assert steps(run) == ["2", "4"]
    assert json.loads((run / "config.json").read_text())["training"]["steps"] == 4
    noted = json.loads((run / "run.json").read_text())
    assert noted["data"] == [str(data.resolve())] and noted["threads"] == 1
    assert "validating on 1 (piece" in capsys.readouterr().err
    assert resume(run) == 0 and steps(run) == ["2", "4"]  # the new length is its own now


def test_a_run_is_not_resumed_to_fewer_steps_than_it_has_done(run, capsys):
    was = (run / "config.json").read_bytes()
    assert resume(run, "--set", "training.steps=1") == 2
    assert (
        "the run has done 2 steps, more than training.steps = 1; give at least as many"
        in capsys.readouterr().err
    )
    assert (run / "config.json").read_bytes() == was


def test_a_run_is_not_resumed_with_another_checkpoint_or_another_batch(run, checkpoint, capsys):
    noted = json.loads((run / "run.json").read_text())
    assert noted["init_from"] is None and noted["processes"] == 1
    assert resume(run, "--init-from", str(checkpoint)) == 2
    assert "its run began with no checkpoint, not" in capsys.readouterr().err
    (run / "run.json").write_text(json.dumps(noted | {"processes": 2}))
    assert resume(run, "--set", "training.steps=4") == 2
    assert "batches of 2 device(s), not 1; resume it with as many" in capsys.readouterr().err
    assert resume(run, "--set", "training.steps=4", "--force") == 0 and steps(run) == ["2", "4"]


def test_a_run_that_begins_again_leaves_nothing_of_the_one_before(run, preset, data, monkeypatch):
    changed = config.load(str(preset), TINY)
    own = Run([data], run, accelerator="cpu", workers=0, threads=1, force=True)
    with pytest.raises(UserError, match="is of the run that begins again"):
        train(changed, replace(own, init_from=str(run / "best")))
    assert (run / "best").is_dir()
    monkeypatch.setattr("snn_codec.training.plain.PlainPhase.train_step", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(changed, own)
    assert not (run / "best").exists()


def test_a_later_phase_finds_its_checkpoint_again(checkpoint, data, tmp_path):
    folder = tmp_path / "gan"
    changes = [*TINY, "phase.discriminators.windows=[256]", "phase.discriminators.channels=2"]
    run = Run([data], folder, init_from=str(checkpoint), accelerator="cpu", workers=0, threads=1)
    train(config.load("cpu-gan", changes), run)
    assert resume(folder, "--set", "training.steps=4") == 0
    assert steps(folder) == ["2", "4"] and Codec.load(folder / "best", decoder="gan").active_decoder


@pytest.mark.parametrize("change", ["training.seed=5", "model.units=40", "training.loss.stft=2.0"])
def test_which_setting_differs_is_said(run, capsys, change):
    name, _, value = change.partition("=")
    state = (run / "state.safetensors").read_bytes()
    assert resume(run, "--set", change) == 2
    assert f"the run has {name} = " in (said := capsys.readouterr().err) and f"not {value}; " in said
    assert (run / "state.safetensors").read_bytes() == state


def test_another_preset_is_another_run(run, capsys):
    assert main(["train", "cpu-free", "--run", str(run), "--resume", "--accelerator", "cpu"]) == 2
    assert "the run has model." in capsys.readouterr().err


def test_recordings_that_have_changed_are_noticed(run, data, capsys):
    import soundfile

    kept = json.loads((run / "run.json").read_text())["recordings"]
    (gone, *_), (changed, *_) = sorted(kept["train"]), sorted(kept["validation"])
    (data / gone).unlink()
    soundfile.write(data / "zebra.wav", tones(8.0), 22050)
    soundfile.write(data / changed, tones(9.0), 22050)
    assert resume(run) == 2
    said = capsys.readouterr().err
    assert "are not those that the run began with" in said and f"1 gone from train ({gone})" in said
    assert "1 new in train (zebra.wav)" in said and f"1 changed in validation ({changed})" in said
    assert resume(run, "--force", "--set", "training.steps=3") == 0
    assert resume(run, "--set", "training.steps=4") == 0  # they are its recordings now


def test_a_best_checkpoint_that_is_gone_is_missed(run, capsys):
    """The run would say that it is there, and keep no other one that is worse."""
    shutil.rmtree(run / "best")
    assert resume(run, "--set", "training.steps=4") == 2
    assert f"{run / 'best'}: is not there, though the run has kept a checkpoint" in capsys.readouterr().err
    assert json.loads((run / "config.json").read_text())["training"]["steps"] == 2


def test_a_data_folder_may_move(run, data, tmp_path, capsys):
    moved = data.rename(tmp_path / "elsewhere")
    assert resume(run) == 2 and "no such folder" in capsys.readouterr().err
    assert resume(run, "--data", str(moved)) == 0
    assert resume(run) == 0


def test_two_trainings_in_one_folder_are_refused(run, preset, data):
    settings = config.load(str(preset), TINY)
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    for options in ({"resume": True}, {"force": True}):
        with exclusive(run / "lock"), pytest.raises(UserError, match="another process is at work"):
            train(settings, Run([data], run, accelerator="cpu", workers=0, threads=1, **options))
    after = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    assert {name: time for name, time in after.items() if name != "lock"} == {
        name: time for name, time in before.items() if name != "lock"
    }


def test_a_training_that_is_refused_leaves_the_lock_of_one_that_has_written_nothing_yet(tmp_path):
    first, second = (run_folder.opened(Run([], tmp_path / "new")) for _ in range(2))
    with first:
        with pytest.raises(UserError, match="another process is at work"), second:
            pass
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]
    assert not list(tmp_path.iterdir())


def test_what_is_refused_leaves_no_folder(preset, data, tmp_path, capsys):
    folder = tmp_path / "new"
    with pytest.raises(UserError, match="name it with --init-from"):
        train(
            config.load(str(preset), [*TINY, "training.frozen_norms=true"]),
            Run([data], folder, accelerator="cpu", workers=0, threads=1),
        )
    assert not folder.exists()
    command = ["train", str(preset), "--run", str(folder)]
    assert main(command) == 2 and "--data: name the folders" in capsys.readouterr().err
    for name, value in (("--threads", "0"), ("--devices", "0"), ("--workers", "-1"), ("--nodes", "0")):
        assert main([*command, "--data", str(data), name, value]) == 2
        assert f"{name} {value}: must be" in capsys.readouterr().err
    assert not folder.exists()
    assert resume(folder) == 2 and "holds no run to resume" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        train(config.load(str(preset), TINY), Run([data], tmp_path / "file" / "run", accelerator="cpu"))


def test_a_folder_of_the_version_before_needs_its_data(run, data):
    """It has no run.json."""
    (run / "run.json").unlink()
    with pytest.raises(UserError, match="does not say what data its run began with"):
        resumed(Run([], run), None, [])
    assert resume(run, "--data", str(data), "--set", "training.steps=4") == 0
    assert steps(run) == ["2", "4"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"data": 5}',
        '{"data": [5]}',
        '{"init_from": 7}',
        '{"recordings": {"train": 5}}',
        '{"threads": 0.5}',
    ],
)
def test_a_damaged_note_is_named(run, text):
    (run / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json: is damaged"):
        resumed(Run([], run), None, [])


def test_damaged_settings_are_named_also_where_others_are_given(run, preset, data, capsys):
    (run / "config.json").write_text("{")
    assert resume(run, str(preset), *(f"--set={setting}" for setting in TINY)) == 2
    assert "config.json: is not JSON" in capsys.readouterr().err


def test_differences_are_by_the_names_of_settings():
    one = config.PRESETS["cpu-free"]
    other = config.load("cpu-free", ["training.loss.stft=2", "model.bottleneck.kind=rvq"])
    found = differences(one, other)
    assert found["training.loss.stft"] == (1.0, 2.0)
    assert found["model.bottleneck.kind"] == ("spiking", "rvq")
    assert found["model.bottleneck.groups"] == (8, None) and found["model.bottleneck.codebooks"] == (None, 8)
    assert differences(one, one) == {}


def test_long_lists_of_changes_are_cut():
    before = {"train": {f"{number}.wav": 1 for number in range(9)}}
    (line,) = run_folder.changed(before, {"train": {}})
    assert line == "9 gone from train (0.wav, 1.wav, 2.wav, ...)"


def test_a_folder_without_validation_pieces_is_trained_on_beside_another(preset, data, maestro, capsys):
    table = maestro / "maestro-v3.0.0.csv"
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join(line for line in lines if not line.startswith("validation")), encoding="utf-8")
    place = Run([maestro, data], maestro / "run", accelerator="cpu", workers=0, threads=1)
    train(config.load(str(preset), TINY), place)
    said = capsys.readouterr().err
    assert f"{maestro}: has no recordings in the split 'validation'" in said and "training on 5" in said
    assert [*json.loads((place.folder / "run.json").read_text())["recordings"]["validation"]] == [
        "1/piece0.wav"
    ]
