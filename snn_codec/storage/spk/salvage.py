"""What can be trusted of a damaged bitstream."""

from __future__ import annotations

import io
import math
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from snn_codec.cells import silence
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix, steps_for
from snn_codec.storage.entropy_model import EntropyModel
from snn_codec.storage.limits import check_memory, memory_of
from snn_codec.storage.spk.layout import Damaged, Frame, filled, frame_shape, mask, parse_varint
from snn_codec.storage.spk.reader import Chunk, Reader, joined, opened

# Checksums are run over so many bytes (and so many times those of the file), so that no file takes long.
BUDGET, BUDGET_PER_BYTE = 2**28, 256


@dataclass(frozen=True)
class Damage:
    """What could not be decoded.

    Attributes:
        chunk: Its number, or that of the first one after the end of a file that is cut off.
        start: Where it begins, in seconds.
        stop: Where it ends, in seconds; infinite where the end of the file is missing.
    """

    chunk: int
    start: float
    stop: float

    def __str__(self) -> str:
        if math.isinf(self.stop):
            return f"the end of the file is missing; what came after {self.start:.2f} s is lost"
        return f"chunk {self.chunk} ({self.start:.2f} s to {self.stop:.2f} s) is damaged and is silent"


def salvaged(
    path: str | os.PathLike | BinaryIO, *, entropy_model: EntropyModel | None = None
) -> tuple[EventMatrix, list[Damage]]:
    """Read the intact chunks of a damaged file, and list the others, which have no events and codes of 0.

    If the trailer is lost, the recording ends with the last intact chunk, its last step counts as full, and the last
    damage has no end.

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
        n_samples = (last * header.chunk_steps + found[last].steps) * header.hop
    n_steps = steps_for(n_samples, header.hop)
    check_memory(name, memory_of(header.n_units, n_steps, 0), len(data))
    reader.n_samples = n_samples
    damages: list[Damage] = []
    events = joined(reader, _chunks(reader, found, n_chunks, damages))
    if tail is None:
        damages.append(Damage(n_chunks, header.seconds(n_steps), math.inf))
    return events, damages


def _chunks(reader: Reader, found: dict[int, Frame], n_chunks: int, damages: list[Damage]) -> Iterator[Chunk]:
    """All chunks, silent and added to `damages` where they are lost."""
    header = reader.header
    n_steps = steps_for(reader.n_samples, header.hop)
    for number in range(n_chunks):
        start = number * header.chunk_steps
        steps = min(header.chunk_steps, n_steps - start)
        frame = found.get(number)
        if frame is not None and frame.steps == steps:
            yield reader.decode(frame)
        else:
            damages.append(Damage(number, header.seconds(start), header.seconds(start + steps)))
            floor = np.zeros(header.floor_bands, np.uint8)
            yield Chunk(number, start, silence(header.n_units, steps), 0, 0, floor)


class _Search:
    """Finds the undamaged chunks of a file, wherever they are."""

    def __init__(self, reader: Reader, data: bytes, name: str) -> None:
        self.reader, self.data, self.name = reader, data, name
        self.budget = BUDGET + BUDGET_PER_BYTE * len(data)
        self.masks: dict[int, int] = {}  # the numbers that the next chunk can have, by their masks

    def run(self) -> dict[int, Frame]:
        """The undamaged chunks by number, as they are stored, since all of them decoded may be too much to hold."""
        found: dict[int, Frame] = {}
        reader, position, number, memory = self.reader, self.reader.first, 0, 0
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
            try:
                events = reader.decode(frame).events
            except UserError:
                continue
            memory += memory_of(reader.header.n_units, frame.steps, int(np.count_nonzero(events)))
            check_memory(self.name, memory, position)
            found[frame.number] = frame
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
