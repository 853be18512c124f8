"""Run scripts of the repository in this process: what would cost is to start Python and PyTorch for each."""

import io
import os
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(script, *arguments):
    """A script of experiments/ with these arguments, in the repository's folder."""
    path, said, complained = str(ROOT / "experiments" / script), io.StringIO(), io.StringIO()
    before = sys.argv, os.getcwd(), list(sys.path)
    sys.argv = [path, *map(str, arguments)]
    sys.path.insert(0, str(ROOT / "experiments"))
    os.chdir(ROOT)
    try:
        with redirect_stdout(said), redirect_stderr(complained):
            runpy.run_path(path, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        os.chdir(before[1])
        sys.argv, sys.path[:] = before[0], before[2]
    return subprocess.CompletedProcess(path, code, said.getvalue(), complained.getvalue())
