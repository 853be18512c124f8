"""A seal for a file that another program has changed, once its content has been checked.

HDF5 cuts the seal off when it has opened a file for writing, even if nothing was written. The HDF5 library can crash
on a file that is truly damaged, so the check is done in a process of its own. What it finds is what HDF5 itself
guards: our metadata and events have checksums.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from snn_codec.errors import UserError
from snn_codec.files import replacing
from snn_codec.storage.h5.faults import Damaged, Foreign, damage
from snn_codec.storage.h5.reader import SpikeTrains
from snn_codec.storage.h5.seal import check_seal, seal


def is_sealed(path: str | os.PathLike) -> bool:
    """Whether a file ends with the seal of its content.

    Raises:
        UserError: The file cannot be read.
    """
    with damage(path):
        try:
            with open(path, "rb") as file:
                check_seal(file)
        except (Damaged, Foreign):
            return False
    return True


def check_content(path: str | os.PathLike) -> None:
    """Check that every recording of a file can be read, with or without a valid seal.

    Raises:
        UserError: A recording cannot be read; the message says why.
    """
    command = [
        sys.executable,
        "-c",
        f"import sys, {__name__} as this; sys.exit(this.main())",
        os.fspath(path),
    ]
    paths = os.pathsep.join(filter(None, sys.path))
    result = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env=os.environ | {"PYTHONPATH": paths}
    )
    if result.returncode:
        lines = result.stdout.strip().splitlines()
        crashed = f"{path}: the HDF5 library cannot read it; the file is damaged"
        raise UserError(lines[-1] if lines and result.returncode == 2 else crashed)


def reseal(path: str | os.PathLike, target: str | os.PathLike, *, force: bool = False) -> None:
    """Copy a file to `target` (itself, with `force`) with a seal, after its content was checked.

    What another program has added stays in it.

    Raises:
        UserError: Its content is damaged or none of ours, or `target` cannot be written.
    """
    with damage(path):
        source = open(path, "rb")  # noqa: SIM115 - closed below; a full disk is no damage of it
    with source, replacing(target, force=force) as temporary:
        with open(temporary, "wb") as copy:
            shutil.copyfileobj(source, copy)
        if not is_sealed(temporary):
            _check_copy(path, temporary)
            seal(temporary)


def _check_copy(path: str | os.PathLike, copy: Path) -> None:
    """Check what will be kept, not what another program may still be writing to."""
    try:
        check_content(copy)
    except UserError as error:
        raise UserError(str(error).replace(str(copy), str(path))) from error


def main() -> int:
    """The work of that process: read everything, or print what is wrong; its exit status."""
    try:
        with SpikeTrains(sys.argv[1], sealed=False) as trains:
            for name in trains:
                trains[name]
    except UserError as error:
        print(error)
        return 2
    return 0
