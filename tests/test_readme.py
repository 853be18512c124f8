"""What README and the pages of docs/ say is so: their examples run, and their files exist."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import soundfile

from snn_codec import settings as config
from snn_codec.cli.main import main, parser

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
ALONE = ("encode", "info", "decode", "convert", "analyse")  # need no other program


def blocks(name, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXTS[name], re.M | re.S)


def commands(name):
    joined = [block.replace("\\\n", " ") for block in blocks(name, "sh")]
    lines = [line.split("#")[0] for block in joined for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("snn-codec ")]


def runnable(name):
    """Commands on what the repository has, or on what a command before has made."""
    given = ("data/", "piano.")
    made = {command[command.index("-o") + 1] for command in commands(name) if "-o" in command}
    there = [command for command in commands(name) if command[0] in ALONE and command[1].startswith(given)]
    return [command for command in there if command[1].startswith("data/") or command[1] in made]


COMMANDS = [command for name in TEXTS for command in commands(name)]
RUNNABLE = [name for name in TEXTS if runnable(name)]


def anchors(text):
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_leads_somewhere(name):
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXTS[name]) if not link.startswith("http")]
    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_readme_links_every_page():
    for page in PAGES[1:]:
        if page.name != "index.md":
            assert f"](docs/{page.name}" in TEXTS["README.md"], page.name


def test_readme_has_under_900_words():
    assert len(TEXTS["README.md"].split()) < 900


def test_readme_has_three_figures_at_most():
    assert 1 <= TEXTS["README.md"].count("![") <= 3


@pytest.fixture
def short_data(tmp_path, monkeypatch):
    """A working directory with data/ as in the repository, but a recording of 13 s: the blocks run, quickly."""
    for path in (ROOT / "data").iterdir():
        if path.name != "recording":
            (tmp_path / "data").mkdir(exist_ok=True)
            (tmp_path / "data" / path.name).symlink_to(path)
    shutil.copytree(ROOT / "data" / "recording", tmp_path / "data" / "recording")
    recording = tmp_path / "data" / "recording" / "bach-bwv846.flac"
    sound, rate = soundfile.read(recording, 13 * 22050, dtype="int16")
    soundfile.write(recording, sound, rate)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", RUNNABLE)
@pytest.mark.usefixtures("short_data")
def test_the_shell_examples_run(name, capsys):
    pytest.importorskip("matplotlib")
    for command in runnable(name):
        assert main(command) == 0, capsys.readouterr().err


def test_there_are_shell_examples_that_run():
    assert len(runnable("README.md")) >= 5
    assert {"docs/cli.md", "docs/analysis.md"} <= set(RUNNABLE)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_shell_examples_are_understood(command):
    if "--list-settings" in command:
        with pytest.raises(SystemExit, match="^0$"):
            parser().parse_args(command)
        return
    options = parser().parse_args(command)
    if command[0] == "train" and not options.resume:
        config.load(options.preset or config.phase_preset(options.phase), options.settings)


@pytest.mark.parametrize("name", [name for name in TEXTS if blocks(name, "python")])
@pytest.mark.usefixtures("short_data")
def test_the_python_examples_run(name):
    for block in blocks(name, "python"):
        exec(compile(block, name, "exec"), {})


def test_presets_are_named():
    named = set(re.findall(r"`((?:cpu|gpu|paper)-[a-z-]+)`", "\n".join(TEXTS.values())))
    assert named == set(config.PRESETS)
