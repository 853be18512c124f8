"""What comes through a pipe, as a file that can be read from the start more than once."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snn_codec.errors import UserError
from snn_codec.files import shown

PIPE = Path("-")  # stdin or stdout


def is_pipe(path: Path) -> bool:
    """Whether this is `-`, a named pipe, `/dev/stdin` at the end of one, or `<(command)` of a shell."""
    if path == PIPE:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


@contextmanager
def seekable(path: Path) -> Iterator[Path]:
    """`path` itself, or a temporary copy of what comes through it if it is a pipe; errors name the pipe all the same.

    Raises:
        UserError: The pipe cannot be read, or there is no room for the copy.
    """
    if not is_pipe(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="snn-codec-") as folder:
        copy = Path(folder) / "pipe"
        try:
            _copy(path, copy)
        except OSError as error:
            wanted = "; set TMPDIR to a folder with more room" if error.errno == errno.ENOSPC else ""
            raise UserError(f"{path}: cannot be read to its end ({error.strerror}){wanted}") from error
        try:
            yield copy
        except UserError as error:
            raise type(error)(str(error).replace(str(copy), str(path))) from error


def name_of(path: Path) -> str:
    """What a recording that is read from here is called: as the file without its suffix, escaped as by `shown`."""
    return "stdin" if path == PIPE else shown(path.stem)


@contextmanager
def writable(path: Path) -> Iterator[Path]:
    """`path` itself; for `-`, a temporary file that goes to stdout when the block has ended without an error.

    Raises:
        UserError: Standard output is closed.
    """
    if path != PIPE:
        yield path
        return
    if sys.stdout is None:
        raise UserError("-: standard output is closed; give a file")
    with tempfile.TemporaryDirectory(prefix="snn-codec-") as folder:
        made = Path(folder) / "pipe"
        try:
            yield made
        except UserError as error:
            raise type(error)(str(error).replace(str(made), str(path))) from error
        with open(made, "rb") as source:
            shutil.copyfileobj(source, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _copy(path: Path, copy: Path) -> None:
    if path == PIPE and (sys.stdin is None or sys.stdin.isatty()):
        raise UserError("-: nothing is piped in; give a file, or the output of another program")
    with open(copy, "wb") as target:
        if path == PIPE:
            shutil.copyfileobj(sys.stdin.buffer, target)
        else:
            with open(path, "rb") as source:
                shutil.copyfileobj(source, target)
