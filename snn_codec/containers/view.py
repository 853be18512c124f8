"""A file as it should have been written: bytes of its header replaced, a header put in front, or ended at damage."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """How to open an audio file, and how much of what its header announces is missing.

    Attributes:
        skip: Bytes to leave out at the beginning of the file.
        prefix: Bytes to put there.
        patches: (position, bytes) to read instead of those in the file.
        stop: Where to end, the first byte of damage; None for the end of the file.
        missing: How much is missing, as "441 of 882 bytes of sound are there"; "" if the file is complete.
        slight: So little is missing that it is inaudible.
        chained: What is missing is further recordings, which follow the first.
    """

    skip: int = 0
    prefix: bytes = b""
    patches: tuple[tuple[int, bytes], ...] = ()
    stop: int | None = None
    missing: str = ""
    slight: bool = False
    chained: bool = False

    @property
    def problem(self) -> str:
        """What is wrong with a file of which something is missing, and what to do."""
        if self.chained:
            return f"holds several recordings: {self.missing}; make one of them by another program"
        what = "cut off" if self.stop is None else "damaged"
        return f"is {what}: {self.missing}; get the file again"

    def opened(self, path: Path) -> Path | View:
        """The argument for `soundfile.SoundFile`: the path itself, or a `View` of the repaired file."""
        try:
            str(path).encode()
        except UnicodeEncodeError:  # soundfile opens no names but those that are UTF-8
            return View(path, self)
        changed = self.prefix or self.skip or self.patches or self.stop is not None
        return View(path, self) if changed else path


class View(io.RawIOBase):
    """The file with the prefix, the patches and the end of a finding; read-only."""

    def __init__(self, path: Path, finding: Finding):
        super().__init__()
        self.name = str(path)
        self._file = open(path, "rb")  # noqa: SIM115 - closed with this object
        self._prefix, self._patches, self._skip = finding.prefix, finding.patches, finding.skip
        end = os.fstat(self._file.fileno()).st_size if finding.stop is None else finding.stop
        self._size = len(finding.prefix) + end - finding.skip
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer) -> int:  # noqa: ANN001 - any writable buffer
        wanted = memoryview(buffer).cast("B")
        wanted = wanted[: max(0, self._size - self._at)]
        data = self._prefix[self._at : self._at + len(wanted)]
        data += self._behind_prefix(self._at + len(data), len(wanted) - len(data))
        wanted[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _behind_prefix(self, at: int, size: int) -> bytes:
        if not size:
            return b""
        place = at - len(self._prefix) + self._skip
        self._file.seek(place)
        data = bytearray(self._file.read(size))
        for start, patch in self._patches:
            for number, value in enumerate(patch, start - place):
                if 0 <= number < len(data):
                    data[number] = value
        return bytes(data)

    def close(self) -> None:
        self._file.close()
        super().close()
