"""The interpreter that has Lava, which needs a Python of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from snn_codec.errors import UserError

VARIABLE = "SNN_CODEC_LAVA_PYTHON"


def lava_python(given: str | os.PathLike | None = None) -> str:
    """The interpreter that has Lava: `given`, $SNN_CODEC_LAVA_PYTHON, .venv-lava here or beside us, or this one.

    The first two are paths, or names of programs that the shell would find.

    Raises:
        UserError: None is there.
    """
    for chosen, origin in ((given, "--lava-python"), (os.environ.get(VARIABLE), VARIABLE)):
        if chosen:
            found = shutil.which(chosen)
            if found is None:
                raise UserError(
                    f"{origin} {chosen}: is not a program; give the Python of the Lava environment"
                )
            return found
    for folder in (Path.cwd(), Path(__file__).parent.parent):
        python = folder / ".venv-lava" / "bin" / "python"
        if python.exists():
            return str(python)
    if sys.version_info[:2] == (3, 10) and importlib.util.find_spec("lava"):
        return sys.executable
    raise UserError(
        f"Lava is not here; make it with `make lava-venv`, or name a Python 3.10 that has lava-dl "
        f"with --lava-python or {VARIABLE}"
    )
