"""Writing files so that a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from snn_codec.errors import UserError

# What the system says when a file cannot grow, however well it began.
_NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the system allows",
}


def below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files at any depth below a folder that are not hidden and end in one of the suffixes (lower case), sorted.

    Symbolic links to folders are followed, each folder once. Pipes are passed over, as nobody may ever write to them.

    Raises:
        UserError: A folder cannot be read, so that files would be missing.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        found += (Path(place, name) for name in names if not name.startswith("."))
    named = (path for path in found if path.suffix.lower() in suffixes)
    return sorted(path for path in named if not path.is_fifo())


def _refuse(error: OSError) -> NoReturn:
    raise UserError(
        f"{error.filename}: cannot be read ({error.strerror}); see that you may read it, or move it elsewhere"
    ) from error


def shown(name: object) -> str:
    """Text that any terminal can show, with line breaks and what is no character of a file's name escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(name)
    )


def make_folder(path: str | os.PathLike) -> Path:
    """Make a folder and those above it, unless they exist.

    Raises:
        UserError: It is a file, or cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"{path}: cannot be made, it is a file; give a folder") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be made ({error.strerror}); choose another folder") from error
    return path


@contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Make a folder for the block as `make_folder` does; take away what was made if nothing is in it at the end.

    Raises:
        UserError: As `make_folder`.
    """
    path = Path(os.path.abspath(path))
    made = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    try:
        yield make_folder(path)
    finally:
        with suppress(OSError):  # the first that is not empty, or was not made
            for folder in made:
                folder.rmdir()


def check_writable(path: str | os.PathLike, *, force: bool = False) -> Path:
    """`path` if a file may be written there: its folder exists, and it is not taken unless `force`.

    A symbolic link stands for what it points to. Pipes and character devices such as `/dev/null` may always be
    written to, since that replaces nothing.

    Raises:
        UserError: The file exists (without `force`), is a folder or another thing that cannot be replaced, or its
            folder is missing.
    """
    path = Path(path)
    mode = _mode(path)
    if mode is None:
        if not os.path.isdir(os.path.dirname(os.path.realpath(path))):
            raise UserError(f"{path}: its folder does not exist; make it first")
    elif stat.S_ISDIR(mode):
        raise UserError(f"{path}: is a folder; give a file name")
    elif not stat.S_ISREG(mode) and not _is_stream(mode):
        raise UserError(f"{path}: is a device or socket, which is not replaced; give a file name")
    elif stat.S_ISREG(mode) and not force:
        raise UserError(f"{path}: exists already; use --force to replace it")
    return path


def is_same(one: str | os.PathLike, other: str | os.PathLike) -> bool:
    """Whether two paths are one place, be it by a symbolic link, whether or not there is a file."""
    return os.path.realpath(one) == os.path.realpath(other)


def check_not_input(path: str | os.PathLike, source: str | os.PathLike) -> None:
    """See that what is to be written is not what is read.

    Raises:
        UserError: It is.
    """
    if is_same(path, source):
        raise UserError(f"{path}: is the input itself; give another name for the output")


@contextmanager
def replacing(path: str | os.PathLike, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path, and put the file there in the place of `path` when the block ends without an error.

    The temporary file is in the same folder, and is flushed to disk before it is renamed, so a crash at any moment
    leaves the old file or the new one. Its name keeps the suffix of `path`, because libraries choose formats by it.
    A symbolic link is followed: what it points to is replaced. Pipes and character devices are written to.

    Raises:
        UserError: As `check_writable`, the folder cannot be written, or the disk is full; no part of a file is left.
    """
    path = check_writable(path, force=force)
    mode = _mode(path)
    stream = mode is not None and _is_stream(mode)
    target = path if stream else Path(os.path.realpath(path))
    try:
        folder = None if stream else target.parent
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{target.stem[:40]}.", suffix=path.suffix)
    except OSError as error:
        raise cannot_write(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise cannot_write(path, error) from error
        try:
            _put_in_place(temporary, target, stream, force=force)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def cannot_write(path: object, error: OSError) -> UserError:
    """The one sentence for a file, pipe or device that the system does not let us write, or not to its end."""
    reason = _NO_ROOM.get(error.errno or 0)
    if reason:
        return UserError(f"{path}: cannot be written, {reason}; make room, or choose another folder")
    return UserError(f"{path}: cannot be written ({error.strerror}); choose another folder")


class NewFile(io.RawIOBase):
    """A file object that never fails while a library writes to it; `check` raises what went wrong so far.

    When a write fails, the HDF5 library leaves objects open that crash the process later, and libsndfile does not
    say why. So from the first error on everything is kept in memory, and read from there, until the library is done.

    Args:
        file: Open for reading and writing, not buffered, and empty.
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.name = str(file.name)  # whose suffix says the format to libsndfile
        self._position = self._size = 0
        self._unwritten: list[tuple[int, bytes]] = []
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first error of the file system, if there was one.

        Raises:
            OSError: There was.
        """
        if self._error is not None:
            raise self._error

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        self._try(lambda: self._file.truncate(self._size))
        return self._size

    def write(self, data: Any) -> int:
        data, start = bytes(data), self._position
        if not self._try(lambda: self._put(start, data)):
            self._unwritten.append((start, data))
        self._position += len(data)
        self._size = max(self._size, self._position)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        start = self._position
        stop = max(start, min(start + len(buffer), self._size))
        self._file.seek(start)
        buffer[: stop - start] = self._file.read(stop - start).ljust(stop - start, b"\0")
        for place, data in self._unwritten:
            first, last = max(place, start), min(place + len(data), stop)
            if first < last:
                buffer[first - start : last - start] = data[first - place : last - place]
        self._position = stop
        return stop - start

    def _put(self, start: int, data: bytes) -> None:
        self._file.seek(start)
        rest = memoryview(data)
        while rest:  # a disk that is nearly full takes a part
            rest = rest[self._file.write(rest) :]

    def _try(self, action: Callable[[], object]) -> bool:
        """Do it unless an earlier action failed; whether it was done."""
        if self._error is None:
            try:
                action()
            except OSError as error:
                self._error = error
        return self._error is None


@contextmanager
def new_file(path: str | os.PathLike) -> Iterator[NewFile]:
    """A `NewFile` at `path`, whose error is raised when the block has ended.

    Raises:
        OSError: The file cannot be written.
    """
    with open(path, "w+b", buffering=0) as raw:
        file = NewFile(raw)
        yield file
        file.check()


def without_nan(value: Any) -> Any:
    """A value for JSON, which has no NaN: with None for numbers that are not finite, at any depth."""
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def script_json(value: Any) -> str:
    """JSON to stand in a script element of a page, where `</script>` or `<!--` within a string would end or empty it.

    Raises:
        ValueError: A number is not finite.

    Examples:
        >>> script_json("<!--<script>")
        '"\\\\u003c!--\\\\u003cscript>"'
    """
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


@contextmanager
def exclusive(path: str | os.PathLike, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock on `path`, a file made for that, which ends with the process, however it ends.

    On file systems without locks (some network ones), the file itself is the lock, and names its process.

    Raises:
        UserError: Another process holds it (without `wait`), or the file cannot be made.
    """
    import filelock

    path = Path(path)
    try:
        kind = filelock.FileLock if _has_locks(path.parent) else filelock.SoftFileLock
        lock = kind(path, timeout=-1 if wait else 0)
        lock.acquire()
    except filelock.Timeout as error:
        hint = "" if kind is filelock.FileLock else f" (if none is, delete {path.name})"
        raise UserError(f"{path.parent}: another process is at work there; let it end{hint}") from error
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield
    finally:
        lock.release()


def _has_locks(folder: Path) -> bool:
    """Whether the file system of a folder has locks that end with the process."""
    try:
        import fcntl
    except ImportError:  # Windows, whose locks always do
        return True
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _mode(path: Path) -> int | None:
    """What kind of thing a path, or what it links to, is; None if nothing is there."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise UserError(f"{path}: its folder does not exist; make it first") from error
    except (OSError, ValueError) as error:  # too long, no permission, a circle of links, a null character
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be written ({reason}); choose another name or folder") from error


def _is_stream(mode: int) -> bool:
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _put_in_place(temporary: Path, target: Path, stream: bool, *, force: bool) -> None:
    if stream:
        with open(temporary, "rb") as source, open(target, "wb") as out:
            shutil.copyfileobj(source, out)
        return
    mask = os.umask(0)
    os.umask(mask)
    temporary.chmod(0o666 & ~mask)  # mkstemp makes files that only their owner can read
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    if not force:
        try:
            os.link(temporary, target)  # unlike a rename, it replaces nothing that has come there meanwhile
            return
        except FileExistsError as error:
            raise UserError(f"{target}: exists by now; use --force to replace it") from error
        except OSError:  # a file system without links
            check_writable(target)
    os.replace(temporary, target)
