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


def _copy(path: Path, copy: Path) -> None:
    if path == PIPE and (sys.stdin is None or sys.stdin.isatty()):
        raise UserError("-: nothing is piped in; give a file, or the output of another program")
    with open(copy, "wb") as target:
        if path == PIPE:
            shutil.copyfileobj(sys.stdin.buffer, target)
        else:
            with open(path, "rb") as source:
                shutil.copyfileobj(source, target)
