"""The wheel has all that is needed, however it is installed: with every shipped model it encodes and decodes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.once
pytest.importorskip("setuptools")
pytest.importorskip("pip")

THERE_AND_BACK = """
import sys
import numpy as np
import snn_codec, snn_codec.hardware.fold
from snn_codec import Codec, checkpoints
from snn_codec.cli.main import parser
parser()
sound = np.random.default_rng(0).uniform(-0.1, 0.1, 22050).astype(np.float32)
names = sorted(path.parent.name for place in checkpoints.FOLDERS for path in place.glob("*/config.json"))
for name in names:
    codec = Codec.load(name)
    assert codec.decode(codec.encode(sound, 22050)).shape == sound.shape
print(snn_codec.__file__, *names)
"""

if sys.version_info < (3, 11):
    pytest.skip("the tools of the oldest environment cannot build wheels", allow_module_level=True)


def run(*arguments, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    result = subprocess.run(
        list(map(str, arguments)), capture_output=True, text=True, env=environment, cwd="/"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("snn_codec", "hardware", "data/checkpoints"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index",
        "-w", target, source)  # fmt: skip
    (found,) = target.glob("*.whl")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", ["plain", "--user", "--target"])
def test_an_installed_wheel_has_all_shipped_models(wheel, tmp_path, how):
    """In an empty environment that borrows nothing but the packages that the tests run with."""
    options = ["--system-site-packages"] if how == "--user" else []  # else there are no packages of a user
    run(sys.executable, "-m", "venv", "--without-pip", *options, tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    chosen = {"plain": [], "--user": ["--user"], "--target": ["--target", tmp_path / "target"]}[how]
    variables = {"PYTHONUSERBASE": str(tmp_path / "user")}
    run(python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--ignore-installed",
        "--no-warn-script-location", *chosen, wheel, **variables)  # fmt: skip
    if how == "--target":
        variables["PYTHONPATH"] = str(tmp_path / "target")
    place, *names = run(python, "-c", THERE_AND_BACK, **variables).split()
    assert place.startswith(str(tmp_path))
    assert names == sorted(path.parent.name for path in ROOT.glob("data/checkpoints/*/config.json"))
