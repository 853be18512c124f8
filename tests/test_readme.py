"""What the README says is so: its examples run, and its files exist."""

import re
import shlex
from pathlib import Path

import pytest

from snn_codec import settings as config
from snn_codec.cli.main import main, parser

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


def commands():
    lines = [line.split("#")[0] for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("snn-codec ")]


def test_every_link_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    assert len(links) > 8
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_shell_examples_run(tmp_path, monkeypatch, capsys):
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    given = ("data/", "piano.")  # what the repository has, and what the commands before have made
    alone = ("encode", "info", "decode", "convert", "analyse")  # need no other program
    ran = [command for command in commands() if command[0] in alone and command[1].startswith(given)]
    assert len(ran) >= 5
    pytest.importorskip("matplotlib")
    for command in ran:
        assert main(command) == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_shell_examples_are_understood(command):
    options = parser().parse_args(command)
    if command[0] == "train":
        config.load(options.preset or config.phase_preset(options.phase), options.settings)


def test_the_python_examples_run(tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    assert blocks("python")
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})


def test_presets_are_named():
    assert set(re.findall(r"`((?:cpu|paper)-[a-z-]+)`", TEXT)) == set(config.PRESETS)
