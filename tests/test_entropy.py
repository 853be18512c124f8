import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasters import bursty, raster, rasters

from snn_codec import costs
from snn_codec.storage import entropy


@given(st.integers(0, 400), st.integers(0, 2**16), st.booleans())
def test_any_cells_with_any_probabilities_come_back(n, seed, likely):
    random = np.random.default_rng(seed)
    probabilities = random.choice([1, 2, 300, 32_768, 65_000, 65_534, 65_535], n)
    cells = random.random(n) < (probabilities / 65536 if likely else 0.5)
    data = entropy.encode_cells(cells, probabilities)
    np.testing.assert_array_equal(entropy.decode_cells(entropy.decoder(data), probabilities), cells)


def test_codes_are_within_a_byte_of_the_ideal():
    random = np.random.default_rng(0)
    excess = []
    for n in range(1, 600, 3):
        probabilities = random.integers(1, 65536, n)
        cells = random.random(n) < probabilities / 65536
        excess.append(
            8 * len(entropy.encode_cells(cells, probabilities)) - entropy.ideal_bits(cells, probabilities)
        )
    assert max(excess) < 16 and np.mean(excess) < 8


@given(rasters())
def test_counted_and_adaptive_are_lossless(events):
    n_events = int(events.sum())
    for encode, decode in (
        (entropy.encode_counted, entropy.decode_counted),
        (entropy.encode_adaptive, entropy.decode_adaptive),
    ):
        np.testing.assert_array_equal(decode(encode(events), *events.shape, n_events), events)


@pytest.mark.parametrize("density", [0.01, 0.03, 0.1, 0.3])
def test_counted_is_within_two_per_cent_of_the_floor(density):
    sizes = floors = 0.0
    for seed in range(5):
        events = raster(80, 256, density, seed)
        sizes += len(entropy.encode_counted(events))
        floors += costs.floor_bits(80, 256, int(events.sum())) / 8
    assert sizes <= 1.005 * floors + 5 * 8


def test_adaptive_learns_what_counted_cannot():
    events = bursty(80, 256)
    assert len(entropy.encode_adaptive(events)) < 0.85 * len(entropy.encode_counted(events))
    rates = np.random.default_rng(0).random((80, 256)) < np.linspace(0, 0.5, 80)[:, None] ** 2
    assert len(entropy.encode_adaptive(rates)) < 0.95 * len(entropy.encode_counted(rates))


def test_constant_matrices_cost_nothing():
    for value in (False, True):
        events = np.full((80, 256), value)
        assert entropy.encode_counted(events) == b""


def test_ideal_bits_are_those_of_the_codes():
    events = bursty(40, 200)
    sizes = {"counted": len(entropy.encode_counted(events)), "adaptive": len(entropy.encode_adaptive(events))}
    for name, bits in entropy.bits(events).items():
        assert -1 <= 8 * sizes[name] - bits < 16


@pytest.mark.parametrize("decode", [entropy.decode_counted, entropy.decode_adaptive])
def test_garbage_is_an_error_or_a_matrix_of_that_many_events(decode):
    random = np.random.default_rng(0)
    for _ in range(100):
        data = random.bytes(random.integers(0, 60))
        try:
            events = decode(data, 12, 20, 40)
        except entropy.EntropyError:
            continue
        assert events.shape == (12, 20) and events.sum() == 40
    for impossible in (10, -1):
        with pytest.raises(entropy.EntropyError, match=f"{impossible} events do not fit into 3 x 3 cells"):
            decode(b"", 3, 3, impossible)
