"""A file as it should have been written: some bytes of its header replaced, or a header put in front."""

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
        missing: How much is missing, as "441 of 882 bytes of sound are there"; "" if the file is complete.
        slight: So little is missing that it is inaudible.
    """

    skip: int = 0
    prefix: bytes = b""
    patches: tuple[tuple[int, bytes], ...] = ()
    missing: str = ""
    slight: bool = False

    def opened(self, path: Path) -> Path | View:
        """The argument for `soundfile.SoundFile`: the path itself, or a `View` of the repaired file."""
        try:
            str(path).encode()
        except UnicodeEncodeError:  # soundfile opens no names but those that are UTF-8
            return View(path, self)
        return View(path, self) if self.prefix or self.skip or self.patches else path


class View(io.RawIOBase):
    """The file with the prefix and the patches of a finding; read-only."""

    def __init__(self, path: Path, finding: Finding):
        super().__init__()
        self.name = str(path)
        self._file = open(path, "rb")  # noqa: SIM115 - closed with this object
        self._prefix, self._patches, self._skip = finding.prefix, finding.patches, finding.skip
        self._size = len(finding.prefix) + os.fstat(self._file.fileno()).st_size - finding.skip
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
        if self._at < len(self._prefix):
            data = bytearray(self._prefix[self._at : self._at + len(wanted)])
        else:
            place = self._at - len(self._prefix) + self._skip
            self._file.seek(place)
            data = bytearray(self._file.read(len(wanted)))
            for start, patch in self._patches:
                for number, value in enumerate(patch, start - place):
                    if 0 <= number < len(data):
                        data[number] = value
        wanted[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
