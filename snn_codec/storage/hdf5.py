"""New HDF5 files on a disk that may be full.

When a write fails, the HDF5 library leaves objects open that crash the process later, at a place that nobody can
guard. So the library writes to a file object that never fails: from the first error on it keeps everything in
memory, and the error is raised when the library is done.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class NewFile(io.RawIOBase):
    """A file object for `h5py.File(file, "w")`; `check` raises what went wrong so far.

    Args:
        file: Open for reading and writing, not buffered, and empty.
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
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

    def write(self, data: bytes) -> int:
        data, start = bytes(data), self._position
        if not self._try(lambda: self._put(start, data)):
            self._unwritten.append((start, data))
        self._position += len(data)
        self._size = max(self._size, self._position)
        return len(data)

    def readinto(self, buffer: memoryview) -> int:
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
