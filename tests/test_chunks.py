"""Audio cut into windows of the grid, and blocks of one size."""

import numpy as np
import pytest

from snn_codec import loudness
from snn_codec.chunks import Grid, batches, reblocked, spans, windows
from snn_codec.settings import Model

GRID = Grid(4, 6, 2)  # chunks of 24 samples, margins of 8
SIZE = 24


def sound(samples):
    return (0.3 * np.sin(np.arange(samples) ** 1.5) * np.linspace(0.01, 1, samples)).astype(np.float32)


def cut(audio, sizes):
    at, number = 0, 0
    while at < len(audio):
        yield audio[at : at + sizes[number % len(sizes)]]
        at, number = at + sizes[number % len(sizes)], number + 1


@pytest.mark.parametrize("samples", [*range(1, 3 * SIZE + 2), 100, 240])
def test_windows_are_the_normalised_recording_chunk_by_chunk(samples):
    audio = sound(samples)
    found = list(windows([audio], GRID))
    codes = np.array([loudness.measure(audio[at : at + SIZE], 4) for at in range(0, samples, SIZE)], np.uint8)
    assert [window.loudness for window in found] == codes.tolist()
    normal = audio / loudness.gain(codes, SIZE, 0, samples)
    normal = np.pad(normal, (0, -samples % 4))
    for window, span in zip(found, spans(len(normal) // 4, GRID), strict=True):
        assert (window.before, window.steps) == (span.start - span.first, span.stop - span.start)
        np.testing.assert_array_equal(window.audio, normal[4 * span.first : 4 * span.last])


@pytest.mark.parametrize("sizes", [[1], [5, 1, 40], [23, 25], [1000]])
def test_windows_do_not_depend_on_blocks(sizes):
    audio = sound(131)
    whole = list(windows([audio], GRID))
    for one, other in zip(whole, windows(cut(audio, sizes), GRID), strict=True):
        np.testing.assert_array_equal(one.audio, other.audio)
        np.testing.assert_array_equal(one.gain, other.gain)
        assert one[1:4] == other[1:4]


def test_a_window_comes_when_the_next_chunk_is_full():
    taken = []

    def blocks():
        for block in cut(sound(4 * SIZE), [1]):
            taken.append(block)
            yield block

    stream = windows(blocks(), GRID)
    for number in range(3):
        next(stream)
        assert len(taken) == (number + 2) * SIZE


def test_without_margins_chunks_stand_alone():
    found = list(windows([sound(60)], Grid(4, 6, 0)))
    assert [len(window.audio) for window in found] == [24, 24, 12]
    assert {window.before for window in found} == {0}


def test_spans_cover_a_recording_once():
    assert list(spans(14, GRID)) == [(0, 6, 0, 8), (6, 12, 4, 14), (12, 14, 10, 14)]
    assert Grid.of(Model(hop=64, chunk_steps=32, margin_steps=4)) == (64, 32, 4)


@pytest.mark.parametrize("sizes", [[1], [2, 9], [7], [100]])
def test_blocks_of_one_size_hold_the_same_samples(sizes):
    audio = np.arange(50, dtype=np.float32)
    found = list(reblocked(cut(audio, sizes), 7))
    assert [len(block) for block in found] == [7] * 7 + [1]
    np.testing.assert_array_equal(np.concatenate(found), audio)
    assert list(map(len, reblocked(cut(audio[:49], sizes), 7))) == [7] * 7
    assert not list(reblocked([], 7)) and not list(reblocked([audio[:0]], 7))


def test_batches_hold_windows_of_one_length():
    found = [[len(window.audio) for window in batch] for batch in batches(windows([sound(150)], GRID), 3)]
    assert found == [[32], [40, 40, 40], [40, 40], [16]]
