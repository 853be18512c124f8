"""The log of a run: rows of steps that are made again are dropped; TensorBoard shows the same."""

import csv
import sys

import pytest

from snn_codec.errors import UserError
from snn_codec.training.log import Log

COLUMNS = ("step", "loss", "validation")


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("tail", [b"\0" * 40, b"\xff\xfe\n", b"x,1,2\n"], ids=["zeros", "bytes", "letter"])
def test_what_a_power_cut_leaves_in_a_table_is_named(tmp_path, tail):
    Log(tmp_path / "log.csv", COLUMNS, 0).add({"step": 50, "loss": 1})
    with open(tmp_path / "log.csv", "ab") as file:
        file.write(tail)
    with pytest.raises(UserError, match=r"log\.csv: is damaged"):
        Log(tmp_path / "log.csv", COLUMNS, 100)


def test_rows_after_the_step_of_the_state_are_dropped(tmp_path):
    log = Log(tmp_path / "log.csv", COLUMNS, 0)
    for step in (50, 100, 150):
        log.add({"step": step, "loss": step / 10})
    log = Log(tmp_path / "log.csv", COLUMNS, 100)
    log.add({"step": 150, "loss": 1.0, "validation": 2.0})
    assert rows(tmp_path / "log.csv") == [
        {"step": "50", "loss": "5.0", "validation": ""},
        {"step": "100", "loss": "10.0", "validation": ""},
        {"step": "150", "loss": "1.0", "validation": "2.0"},
    ]
    Log(tmp_path / "log.csv", COLUMNS, 0)
    assert rows(tmp_path / "log.csv") == []


def test_a_column_that_is_not_in_the_table_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="magic"):
        Log(tmp_path / "log.csv", COLUMNS, 0).add({"step": 1, "magic": 1.0})


def test_tensorboard_shows_what_the_table_says(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for start in (0, 100):  # resumed once: steps after the state are made again
        log = Log(tmp_path / "log.csv", COLUMNS, start, tmp_path / "tensorboard")
        for step in range(start + 50, 201, 50):
            log.add({"step": step, "loss": step + start / 1000})
        log.close()
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    found = [(event.step, round(event.value, 3)) for event in shown.Scalars("loss")]
    assert found == [(int(row["step"]), float(row["loss"])) for row in rows(tmp_path / "log.csv")]
    assert shown.Tags()["scalars"] == ["loss"]


def test_missing_tensorboard_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"snn_codec\[tensorboard\]"):
        Log(tmp_path / "log.csv", COLUMNS, 0, tmp_path / "tensorboard")
    assert not (tmp_path / "log.csv").exists()
