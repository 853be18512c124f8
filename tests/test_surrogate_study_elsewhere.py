"""A study whose folder was copied to another place without its checkpoints and states, and goes on there."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from conftest import in_this_process, small_model

from snn_codec import settings as config
from snn_codec.cli import main
from snn_codec.errors import UserError
from snn_codec.surrogate_study import report, runner, worker
from snn_codec.surrogate_study.folder import read, write
from snn_codec.surrogate_study.grid import Cell, plan
from snn_codec.surrogate_study.results import collect

pytest.importorskip("matplotlib")

FREE, SPARSE = Cell("free", "atan:2", 0), Cell("sparse", "atan:2", 0)
TINY = [
    "training.batch=2",
    "training.seconds=0.3",
    "training.validation_clips=1",
    "training.precision=32-true",
]


@pytest.fixture(scope="module")
def compare(tmp_path_factory):
    """Run the command in the working directory, on the recordings in `data`: its status, and the runs it trained."""
    preset = tmp_path_factory.mktemp("preset") / "tiny.json"
    preset.write_text(json.dumps(config.to_dict(config.Config(small_model(bottleneck=config.Spiking())))))
    trained = []

    def noted(command, **options):
        trained.append("/".join(Path(command[-1]).parts[-3:]))
        return in_this_process(command, **options)

    def run(*more):
        trained.clear()
        command = [
            "compare-surrogates", "--surrogates", "atan", "--data", "data", "-o", "study", "--steps", "4",
            "--jobs", "1", "--preset", str(preset), *(part for change in TINY for part in ("--set", change)), *more,
        ]  # fmt: skip
        return main(command), [*trained]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "_end_with_parent", lambda: None)
        patch.setattr(runner.subprocess, "Popen", noted)
        patch.setattr(report, "figures", Mock())  # which are drawn in test_surrogate_report
        yield run


@pytest.fixture(scope="module")
def kept(compare, music, tmp_path_factory):
    """Of a study of one seed, what a repository would hold; the place where it was made is gone."""
    first, kept = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("kept")
    shutil.copytree(music, first / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(first)
        assert compare("--seeds", "1") == (0, ["free/atan-2/seed0", "sparse/atan-2/seed0"])
    for path in [
        first / "study/study.json",
        *first.glob("study/*/*/*/log.csv"),
        *first.glob("study/*/*/*/result.json"),
    ]:
        copy = kept / path.relative_to(first / "study")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    shutil.rmtree(first)
    return kept


@pytest.fixture
def elsewhere(kept, music, tmp_path, monkeypatch):
    """The working directory of another machine: the study and the recordings."""
    shutil.copytree(kept, tmp_path / "study")
    shutil.copytree(music, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scores(folder):
    with open(folder / "study/report/runs.csv", newline="") as file:
        return {(row["setting"], row["seed"], row["step"]): row["si_snr"] for row in csv.DictReader(file)}


def test_it_goes_on_with_the_seeds_that_are_missing(compare, elsewhere, capsys):
    assert compare("--seeds", "1") == (0, []), capsys.readouterr().err
    before = scores(elsewhere)
    assert compare("--seeds", "2") == (0, ["free/atan-2/seed1", "sparse/atan-2/seed1"]), (
        capsys.readouterr().err
    )
    after = scores(elsewhere)
    assert before.items() < after.items() and len(after) == 2 * len(before)
    assert read(elsewhere / "study").data == (elsewhere / "data",)


def test_it_is_reported_without_the_recordings(compare, elsewhere, capsys):
    shutil.rmtree(elsewhere / "data")
    was = (elsewhere / "study/study.json").read_bytes()
    assert compare("--report-only") == (0, []), capsys.readouterr().err
    assert "| `atan:2` | 1 |" in capsys.readouterr().out
    assert (elsewhere / "study/study.json").read_bytes() == was
    assert compare("--report-only", "--reference", "heaviside")[0] == 2
    assert "--reference heaviside: is not among the choices; name one of atan:2" in capsys.readouterr().err
    assert compare()[0] == 2 and "data: no such folder" in capsys.readouterr().err


def test_a_shipped_entropy_model_is_the_same_on_all_machines(music, tmp_path):
    changes = ["phase.kind=plain"]
    study = plan(["atan"], [music], seeds=1, steps=1, settings=["free"], preset="cpu-wide", changes=changes,
                 entropy_model="wide")  # fmt: skip
    write(study, tmp_path)
    noted = json.loads((tmp_path / "study.json").read_text())
    (tmp_path / "study.json").write_text(json.dumps(noted | {"entropy_model": "/elsewhere/pretrained/wide"}))
    assert write(study, tmp_path).entropy_model == read(tmp_path).entropy_model == "wide"
    with pytest.raises(UserError, match=r"have the entropy model wide, not \(none\)"):
        write(replace(study, entropy_model=""), tmp_path)


def test_other_recordings_are_refused(compare, elsewhere, capsys):
    name = sorted(json.loads((elsewhere / "study/study.json").read_text())["recordings"]["train"])[0]
    with open(elsewhere / "data" / name, "ab") as file:
        file.write(b"\0")
    assert compare("--seeds", "2") == (2, [])
    assert f"are not those that its runs had: 1 changed in train ({name})" in capsys.readouterr().err


def test_a_checkpoint_that_a_run_begins_with_and_that_is_gone_is_named(compare, elsewhere, capsys):
    """FREE has ended and SPARSE has not."""
    shutil.rmtree(SPARSE.folder(elsewhere / "study"))
    was = (elsewhere / "study/study.json").read_bytes()
    assert compare("--seeds", "2") == (2, [])
    said = capsys.readouterr().err
    assert (
        "study/free/atan-2/seed0/best: is not there, and a run of SPARSE that has not ended begins with it"
        in said
    )
    assert "or remove study/free/atan-2/seed0 to train that run again" in said
    assert (elsewhere / "study/study.json").read_bytes() == was
    shutil.rmtree(FREE.folder(elsewhere / "study"))
    assert compare("--seeds", "1") == (0, ["free/atan-2/seed0", "sparse/atan-2/seed0"]), (
        capsys.readouterr().err
    )


def test_a_log_that_was_cut_is_named(compare, elsewhere, capsys):
    log = SPARSE.folder(elsewhere / "study") / "log.csv"
    log.write_text("\n".join(log.read_text().splitlines()[:-1]))
    assert compare("--report-only")[0] == 2
    assert (
        "seed0: its log.csv or levels.csv is damaged (ValueError('it ends before step 4'))"
        in capsys.readouterr().err
    )
    log.unlink()
    assert compare("--report-only")[0] == 2
    assert "seed0: its log.csv or levels.csv is damaged (FileNotFoundError" in capsys.readouterr().err


def test_our_study_of_neurons_can_be_read():
    folder = Path(__file__).parent.parent / "experiments/neurons-at-scale"
    found = collect(read(folder), folder)
    ended = [(cell["setting"], cell["seed"]) for cell in found.cells]
    assert len(ended) == 49 and len(found.missing) == 7 and not found.failed
    assert {seed for setting, seed in ended if setting == "free"} == {0, 1, 2, 3}
    assert {seed for setting, seed in ended if setting == "sparse"} == {0, 1, 2}
    for choice, row in found.against("free", "si_snr", found.reference).items():
        assert row["high"] < 0 and row["p_holm"] < 0.05, choice


def test_our_study_at_scale_can_be_read():
    folder = Path(__file__).parent.parent / "experiments/surrogates-at-scale"
    study = read(folder)
    found = collect(study, folder)
    assert len(study.cells()) == len(found.cells) == 60 and not found.failed and not found.missing
    steep = {
        setting: found.against(setting, "si_snr", found.reference)["fast_sigmoid:25"]
        for setting in study.base
    }
    assert steep["free"]["high"] < 0 < steep["sparse"]["low"]
