"""What can be trusted of a damaged bitstream."""

from __future__ import annotations

import io
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix, steps_for
from snn_codec.storage.entropy_model import EntropyModel
from snn_codec.storage.limits import check_cells
from snn_codec.storage.spk.layout import Damaged, Frame, filled, frame_shape, mask, parse_varint
from snn_codec.storage.spk.reader import Chunk, Reader, joined, opened

# Checksums are run over so many bytes (and so many times those of the file), so that no file takes long.
BUDGET, BUDGET_PER_BYTE = 2**28, 256


@dataclass(frozen=True)
class Damage:
    """A chunk that could not be decoded, by number and by the seconds that it covers."""

    chunk: int
    start: float
    stop: float

    def __str__(self) -> str:
        return f"chunk {self.chunk} ({self.start:.2f} s to {self.stop:.2f} s) is damaged"


def salvaged(
    path: str | os.PathLike | BinaryIO, *, entropy_model: EntropyModel | None = None
) -> tuple[EventMatrix, list[Damage]]:
    """All of a damaged file that can be trusted, and what is lost: damaged chunks have no events, and codes of 0.

    If the trailer is lost, the recording ends with the last whole chunk, and its last step counts as full.

    Raises:
        UserError: The file is missing or no bitstream, its header is damaged, nothing is left, or it needs
            another entropy model.
    """
    with opened(path) as (file, name):
        data = file.read()
    reader = Reader(io.BytesIO(data), entropy_model=entropy_model, name=name)
    header, found = reader.header, _Search(reader, data, name).run()
    tail = reader.trailer_at_end()
    if not found and tail is None:
        raise UserError(f"{name}: no chunk of it is undamaged; nothing can be decoded")
    if tail is not None:
        n_samples, n_chunks = tail.n_samples, tail.n_chunks
    else:
        last = max(found)
        n_chunks = last + 1
        n_samples = (last * header.chunk_steps + found[last].events.shape[1]) * header.hop
    n_steps = steps_for(n_samples, header.hop)
    check_cells(name, n_steps * header.n_units, len(data))
    chunks, damages = [], []
    for number in range(n_chunks):
        start = number * header.chunk_steps
        steps = min(header.chunk_steps, n_steps - start)
        chunk = found.get(number)
        if chunk is None or chunk.events.shape[1] != steps:
            chunk = Chunk(number, start, np.zeros((header.n_units, steps), bool), 0, 0)
            damages.append(Damage(number, header.seconds(start), header.seconds(start + steps)))
        chunks.append(chunk)
    reader.n_samples = n_samples
    return joined(reader, chunks), damages


class _Search:
    """Finds the undamaged chunks of a file, wherever they are."""

    def __init__(self, reader: Reader, data: bytes, name: str) -> None:
        self.reader, self.data, self.name = reader, data, name
        self.budget = BUDGET + BUDGET_PER_BYTE * len(data)
        self.masks: dict[int, int] = {}  # the numbers that the next chunk can have, by their masks

    def run(self) -> dict[int, Chunk]:
        """The undamaged chunks by number."""
        found: dict[int, Chunk] = {}
        reader, position, number, cells = self.reader, self.reader.first, 0, 0
        lost_from = position
        while position < len(self.data) and self.budget > 0:
            # the more numbers are possible, the likelier is garbage that matches one: no chunk has less than
            # 6 bytes, and bytes may also be missing
            for candidate in range(number + len(self.masks), number + 64 + (position - lost_from) // 6):
                self.masks[mask(reader.seed, candidate)] = candidate
            frame = self._frame(position)
            if frame is None:
                position += 1
                continue
            reader.check_entropy_model(frame)
            position += frame.size
            lost_from, number = position, frame.number + 1
            self.masks = {}
            cells += frame.steps * reader.header.n_units
            check_cells(self.name, cells, position)
            with suppress(UserError):
                found[frame.number] = reader.decode(frame)
        return found

    def _frame(self, position: int) -> Frame | None:
        """The frame at a position, if an undamaged one is there whose number is possible."""
        head, end = parse_varint(self.data, position)
        if not head:
            return None
        try:
            frame, rest = frame_shape(head, self.reader.header)
        except Damaged:
            return None
        if head & 1:
            steps, end = parse_varint(self.data, end)
            if steps is None or not 1 <= steps < self.reader.header.chunk_steps:
                return None
            frame = frame._replace(steps=steps)
        end += rest
        if end + 4 > len(self.data):
            return None
        self.budget -= end - position
        raw = self.data[position:end]
        number = self.masks.get(zlib.crc32(raw) ^ int.from_bytes(self.data[end : end + 4], "little"))
        return None if number is None else filled(frame, number, raw, self.reader.header)
