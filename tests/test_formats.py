import numpy as np
import pytest
from hypothesis import given
from rasters import raster, rasters

from snn_codec import costs
from snn_codec.storage import formats

# units, steps -> the bits, most significant first, that pages of a reader's own arithmetic give
SMALL = np.array([[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]], bool)
BY_HAND = {
    "dense": "0100 0000 1001",
    "coordinate": "00 01  10 00  10 11",
    "compressed_time": "01 01  01  00 11",
    "compressed_unit": "01 10 10  10 00 10",
}


@pytest.mark.parametrize("name", formats.FORMATS)
def test_bits_are_those_of_the_layout(name):
    bits = BY_HAND[name].replace(" ", "")
    expected = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    assert formats.pack(SMALL, name) == expected


@given(rasters())
def test_unpacking_undoes_packing(events):
    for name in formats.FORMATS:
        data = formats.pack(events, name)
        np.testing.assert_array_equal(formats.unpack(data, name, *events.shape, int(events.sum())), events)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 5), (8, 8), (7, 16)])
def test_packed_size_is_the_papers_formula_for_every_number_of_events(shape):
    """Exactly, rounded up to a byte; where K is a power of two, one more bit a pointer, and no other exception."""
    random = np.random.default_rng(0)
    for n_events in range(shape[0] * shape[1] + 1):
        events = np.zeros(shape[0] * shape[1], bool)
        events[random.permutation(len(events))[:n_events]] = True
        paper = costs.all_bits(*shape, n_events)
        extra = int(n_events > 0 and n_events & (n_events - 1) == 0)
        paper["compressed_time"] += (shape[0] - 1) * extra
        paper["compressed_unit"] += (shape[1] - 1) * extra
        assert formats.packed_bits(*shape, n_events) == paper
        for name in formats.FORMATS:
            assert len(formats.pack(events.reshape(shape), name)) == -(-paper[name] // 8)


@pytest.mark.parametrize("n_events", [0, 1, 2, 77, 600, 4096, 5000, 12_345, 20_480])
def test_packed_size_at_the_papers_scale(n_events):
    events = np.zeros(80 * 256, bool)
    events[np.random.default_rng(n_events).permutation(80 * 256)[:n_events]] = True
    for name, bits in formats.packed_bits(80, 256, n_events).items():
        assert len(formats.pack(events.reshape(80, 256), name)) == -(-bits // 8)


def test_best_format_follows_the_density():
    """The ranges of the paper's Figure 1: lists of times from 0.39 % to 9.5 %, dense from 12.2 %."""
    cells = 80 * 256
    assert formats.best(80, 256, 10) == "coordinate"
    assert formats.best(80, 256, round(0.0045 * cells)) == "compressed_time"
    assert formats.best(80, 256, round(0.0945 * cells)) == "compressed_time"
    assert formats.best(80, 256, round(0.118 * cells)) == "compressed_unit"
    assert formats.best(80, 256, round(0.123 * cells)) == "dense"
    assert {formats.best(1, 1, 0), formats.best(1, 1, 1)} <= set(formats.FORMATS)


@pytest.mark.parametrize("name", formats.FORMATS)
def test_only_what_packing_makes_is_accepted(name):
    """Of all byte strings of the right length, those that unpack are exactly the packings."""
    shape, n_events = (3, 3), 2
    packed = {}
    for cells in range(1 << 9):
        events = np.array([cells >> i & 1 for i in range(9)], bool).reshape(shape)
        if events.sum() == n_events:
            packed[formats.pack(events, name)] = events
    assert len(packed) == 36
    length = len(next(iter(packed)))
    for value in range(1 << 8 * length):
        data = value.to_bytes(length, "big")
        try:
            events = formats.unpack(data, name, *shape, n_events)
        except formats.FormatError:
            assert data not in packed
        else:
            np.testing.assert_array_equal(events, packed[data])


def test_wrong_lengths_and_counts_are_refused():
    data = formats.pack(raster(80, 256, 0.02), "coordinate")
    for wrong in (data[:-1], data + b"\0", b""):
        with pytest.raises(formats.FormatError):
            formats.unpack(wrong, "coordinate", 80, 256, int(raster(80, 256, 0.02).sum()))
    for count in (-1, 10, 20_481):
        with pytest.raises(formats.FormatError):
            formats.unpack(data, "coordinate", 80, 256, count)
