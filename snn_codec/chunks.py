"""One canonical grid of chunks, and how audio is cut into windows of it and put together again.

A chunk is `chunk_steps` steps. It is computed from a window, its own samples and `margin_steps` steps borrowed on both
sides, at the gain of `snn_codec.loudness`. Whole recordings, streams and folders run these same windows, so they give
the same events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import NamedTuple

import numpy as np

from snn_codec import loudness
from snn_codec.errors import UserError
from snn_codec.events import steps_for
from snn_codec.settings import Model


class Grid(NamedTuple):
    """The grid of a model: samples per step, steps per chunk, and steps of a margin."""

    hop: int
    chunk_steps: int
    margin_steps: int

    @classmethod
    def of(cls, model: Model) -> Grid:
        """The grid of a model."""
        return cls(model.hop, model.chunk_steps, model.margin_steps)


class Window(NamedTuple):
    """The audio that one chunk is computed from.

    Attributes:
        audio: Normalised float32, the chunk and its margins, whole steps.
        before: Steps of margin in front.
        steps: Steps of the chunk itself.
        loudness: The chunk's code (`snn_codec.loudness`).
        gain: Of the chunk's own samples, without the padding of a last step: the recording is `audio` times it.
    """

    audio: np.ndarray
    before: int
    steps: int
    loudness: int
    gain: np.ndarray


class Span(NamedTuple):
    """Steps [start, stop) of a chunk and, with its margins, [first, last)."""

    start: int
    stop: int
    first: int
    last: int


def windows(blocks: Iterable[np.ndarray], grid: Grid) -> Iterator[Window]:
    """Cut audio, float32 blocks of any lengths, into the windows of the grid.

    A chunk's gain depends on the loudness of both neighbours, so its window comes when the next chunk is full.
    """
    hop, size, margin = grid.hop, grid.chunk_steps * grid.hop, grid.margin_steps * grid.hop
    codes: list[int] = []
    before = chunk = np.zeros(0, np.float32)
    for after in chain(reblocked(blocks, size), [np.zeros(0, np.float32)]):
        if len(after):
            codes.append(loudness.measure(after, hop))
        if len(chunk):
            number = len(codes) - 1 - bool(len(after))
            borrowed = before[max(0, len(before) - margin) :]
            audio = np.concatenate([borrowed, chunk, after[:margin]])
            first = number * size - len(borrowed)
            gain = loudness.gain(np.array(codes, np.uint8), size, first, first + len(audio))
            steps = steps_for(len(chunk), hop)
            own = gain[len(borrowed) : len(borrowed) + len(chunk)]
            yield Window(_whole_steps(audio / gain, hop), len(borrowed) // hop, steps, codes[number], own)
        before, chunk = chunk, after


def batches(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    """Runs of at most `size` windows of equal length.

    Raises:
        UserError: The size is not positive.
    """
    if size < 1:
        raise UserError(f"a batch must have 1 chunk or more, not {size}")
    for _, run in groupby(windows, key=lambda window: len(window.audio)):
        batch: list[Window] = []
        for window in run:
            batch.append(window)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch


def spans(n_steps: int, grid: Grid) -> Iterator[Span]:
    """The chunks of a recording of `n_steps` steps, in order."""
    for start in range(0, n_steps, grid.chunk_steps):
        stop = min(start + grid.chunk_steps, n_steps)
        yield Span(start, stop, max(0, start - grid.margin_steps), min(n_steps, stop + grid.margin_steps))


def reblocked(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Join and cut blocks into blocks of `size` samples; the last one may be shorter, and none is empty."""
    parts, held = [], 0
    for block in blocks:
        parts.append(block)
        held += len(block)
        if held < size:
            continue
        whole = np.concatenate(parts)
        for start in range(0, held - size + 1, size):
            yield whole[start : start + size]
        rest = whole[held // size * size :]
        parts, held = [rest], len(rest)
    if held:
        yield np.concatenate(parts)


def _whole_steps(audio: np.ndarray, hop: int) -> np.ndarray:
    return np.pad(audio, (0, -len(audio) % hop))
