"""Imports stay light and go one way, and the set-up finds a Python that works."""

import ast
import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import snn_codec

ROOT = Path(__file__).parent.parent
ELSEWHERE = (
    "elephant",
    "matplotlib",
    "mir_eval",
    "pretty_midi",
    "lava",
    "norse",
    "nir",
)  # imported where they are used

# A module may import from its own layer and from those above it in this list.
LAYERS = [
    {
        "attacks",
        "audio",
        "cells",
        "chunks",
        "containers",
        "corpus",
        "costs",
        "errors",
        "events",
        "files",
        "floor",
        "levels",
    }
    | {
        "loudness",
        "metrics",
        "midi",
        "parallel",
        "pipes",
        "perceptual",
        "plots",
        "pretrained",
        "progress",
        "settings",
        "stats",
        "thermometer",
        "tokens",
        "weights",
    },
    {"storage"},
    {"api", "checkpoints", "named"},
    {"models", "decoders"},
    {"codec", "loading", "rate_distortion", "search", "tensors"},
    {
        "analysis",
        "evaluation",
        "listening",
        "rate_control",
        "surrogate_study",
        "training",
    },
    {"cli"},
    {"__init__", "__main__"},
]


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("snn_codec", ("torch", "numpy", "h5py", "soundfile", *ELSEWHERE)),
        ("snn_codec.api", ("torch", *ELSEWHERE)),
        ("snn_codec.events", ("torch", "h5py", *ELSEWHERE)),
        ("snn_codec.storage.event_files", ("torch", "pynwb", *ELSEWHERE)),
        ("snn_codec.cli", ("torch", *ELSEWHERE)),
        ("snn_codec.codec", ELSEWHERE),
        ("snn_codec.hardware.simulate", ELSEWHERE),
    ],
)
def test_importing_loads_only_what_is_needed(module, unwanted):
    code = f"import {module}, sys; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(unwanted) & set(result.stdout.split()) == set()


def imported(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def layer(part):
    (number,) = (number for number, names in enumerate(LAYERS) if part in names)
    return number


def test_imports_go_one_way():
    files = sorted((ROOT / "snn_codec").rglob("*.py"))
    assert len(files) > 10
    for file in files:
        part = file.relative_to(ROOT / "snn_codec").parts[0].removesuffix(".py")
        for name in imported(file):
            package, _, rest = name.partition(".")
            assert package not in ("experiments", "tests"), f"{file} imports {name}"
            assert rest.split(".")[0] != "hardware" or part == "cli", f"{file} imports {name}"
            if package == "snn_codec" and not rest.startswith("hardware") and rest != "__version__":
                assert layer(rest.split(".")[0]) <= layer(part), f"{file} imports {name}"


def sources():
    """All Python files of the repository, with what is parsed of them."""
    folders = ("snn_codec", "hardware", "experiments", "examples", "data", "tools", "tests")
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 100
    return files


def test_a_file_can_be_held_in_the_head():
    assert [file for file in sources() if len(file.read_text(encoding="utf-8").splitlines()) > 500] == []


def test_a_function_fits_on_a_screen():
    functions = [
        (f"{file.relative_to(ROOT)}: {node.name}", node.end_lineno - node.lineno + 1)
        for file in sources()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    assert [name for name, lines in functions if lines > 60] == []


def test_a_checkout_has_its_own_subpackages_wherever_python_runs(tmp_path):
    code = "import snn_codec.hardware.layer as a, snn_codec.pretrained as b; print(a.__file__, *b.__path__)"
    result = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {[str(ROOT), *sys.path]}; {code}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.split() == [str(ROOT / "hardware/layer.py"), str(ROOT / "data/checkpoints")]


def test_an_installation_has_all_packages():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    folders = {f"snn_codec.{name}": folder for name, folder in snn_codec.MAPPED.items()}
    lines = setup["options"]["package_dir"].split("\n")[1:]
    assert dict(line.split(" = ") for line in lines) == folders
    named = {"snn_codec": "snn_codec", **folders}
    found = {
        ".".join([package, *file.parent.relative_to(ROOT / folder).parts])
        for package, folder in named.items()
        for file in (ROOT / folder).rglob("__init__.py")
    }
    assert set(setup["options"]["packages"].split()) == found


def test_the_version_is_the_same_everywhere():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    newest = re.search(r"^## \[(.+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert cited[1] == newest[1] == snn_codec.__version__


def find(versions, path, home, **variables):
    """Run the search for an interpreter with these folders in front of the system's programs."""
    environment = {"PATH": f"{path}:/usr/bin:/bin", "HOME": str(home), **variables}
    return subprocess.run(
        ["bash", "tools/environment.sh", "find", versions],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


def stub(file, line):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def test_an_interpreter_that_does_not_work_is_passed_over(tmp_path):
    """As pyenv's shim of a version that is not the chosen one: it is on PATH and fails."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    stub(tmp_path / "python9.9", "echo 'command not found' >&2; exit 127")
    os.symlink(sys._base_executable, tmp_path / f"python{version}")
    found = find(f"9.9 {version}", tmp_path, tmp_path)
    assert (found.returncode, found.stdout) == (0, os.path.realpath(sys._base_executable) + "\n")


def test_versions_of_pyenv_and_uv_are_found_off_the_path(tmp_path):
    stub(tmp_path / ".pyenv" / "versions" / "9.8.1" / "bin" / "python", "echo of pyenv")
    stub(tmp_path / "bin" / "uv", f'[ "$3" = 9.7 ] && echo "{tmp_path}/uv python"')
    stub(tmp_path / "uv python", "echo of uv")
    assert find("9.8", tmp_path / "bin", tmp_path).stdout == "of pyenv\n"
    assert find("9.7", tmp_path / "bin", tmp_path).stdout == "of uv\n"


def test_no_interpreter_is_a_status_and_a_wrong_one_a_sentence(tmp_path):
    assert find("9.9", tmp_path, tmp_path).returncode == 3
    wrong = find("9.9", tmp_path, tmp_path, INTERPRETER=sys.executable)
    assert wrong.returncode == 1
    assert wrong.stderr == f"{sys.executable}: not a Python 9.9 that can make environments with pip\n"


def test_packages_that_come_as_source_can_be_built():
    """Setuptools reads this wherever it builds, norse and expelliarmus as well: it names a folder from there, too."""
    file = Path(sys.prefix) / "setuptools.cfg"
    if not file.is_file():
        pytest.skip("this environment was not made by tools/environment.sh")
    built = configparser.ConfigParser()
    built.read(file)
    base = Path(built["egg_info"]["egg_base"])
    assert base.is_absolute()
    assert base.is_dir()
