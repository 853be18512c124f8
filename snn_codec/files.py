"""Writing files so that a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from snn_codec.errors import UserError


def below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """What lies at any depth below a folder, is not hidden, and ends in one of the suffixes (lower case), sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    )


def check_writable(path: str | os.PathLike, *, force: bool = False) -> Path:
    """`path` if a file may be written there: its folder exists, and it is not taken unless `force`.

    Raises:
        UserError: The file exists (without `force`), is a folder, or its folder is missing.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give a file name")
    if path.exists() and not force:
        raise UserError(f"{path}: exists already; use --force to replace it")
    if not path.parent.is_dir():
        raise UserError(f"{path}: its folder does not exist; make it first")
    return path


@contextmanager
def replacing(path: str | os.PathLike, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` when the block ends without an error.

    The data is flushed to disk before the rename, so a crash at any moment leaves the old file or the new one.
    The temporary name keeps the suffix of `path`, because libraries choose formats by it.

    Raises:
        UserError: As `check_writable`, or the folder cannot be written.
    """
    path = check_writable(path, force=force)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}.", suffix=path.suffix)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes files that only their owner can read
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def exclusive(path: str | os.PathLike, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock on `path`, a file made for that, which the system lets go of when the process ends, however it does.

    Where there are no such locks (Windows) it does nothing.

    Raises:
        UserError: Another process holds it (without `wait`).
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise UserError(f"{Path(path).parent}: another process is at work there; let it end") from error
        yield
