import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasters import rasters

from snn_codec import cells, tokens
from snn_codec.cells import equal, stored


@pytest.fixture(params=[0, cells.DENSE_CELLS], ids=["list", "matrix"], scope="module")
def form(request):
    """Whether small matrices are held as a list or as a matrix."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "DENSE_CELLS", request.param)
        yield


@given(events=rasters(), bits=st.integers(1, 62))
def test_integers_are_the_steps_bit_by_bit(form, events, bits):
    held = stored(events)
    packed = tokens.to_integers(held, bits)
    units, steps = events.shape
    assert packed.dtype == np.int64 and packed.shape == (steps, -(-units // bits))
    for step in {0, steps // 2, steps - 1}:
        text = "".join(map(str, events[:, step].astype(int))).ljust(bits * packed.shape[1], "0")
        expected = [int(text[start : start + bits], 2) for start in range(0, len(text), bits)]
        assert packed[step].tolist() == expected
    assert equal(tokens.from_integers(packed, units, bits), held)


@given(events=rasters(), max_shift=st.integers(1, 100))
def test_tokens_are_units_and_shifts(form, events, max_shift):
    held = stored(events)
    units, steps = events.shape
    expected, gap = [], 0
    for step in range(steps):
        fired = np.flatnonzero(events[:, step]).tolist()
        if fired:
            expected += [units + max_shift - 1] * ((gap - 1) // max_shift if gap else 0)
            expected += [units + (gap - 1) % max_shift] if gap else []
            expected += fired
            gap = 0
        gap += 1
    expected += [units + max_shift - 1] * ((gap - 1) // max_shift) + [units + (gap - 1) % max_shift]
    found = tokens.to_tokens(held, max_shift)
    assert found.dtype == np.int64 and found.tolist() == expected
    assert equal(tokens.from_tokens(found, units, max_shift), held)


def test_a_long_gap_is_full_shifts_and_the_rest():
    events = np.zeros((2, 12), bool)
    events[1, 10] = True
    assert tokens.to_tokens(stored(events), 4).tolist() == [5, 5, 3, 1, 3]
    assert tokens.to_tokens(stored(events), 5).tolist() == [6, 6, 1, 3]


def test_order_within_a_step_and_repetition_do_not_matter():
    found = tokens.from_tokens(np.array([2, 0, 2, 3, 1, 4]), 3, 2)
    assert equal(found, tokens.from_tokens(np.array([0, 2, 3, 1, 4]), 3, 2))
    assert found.shape == (3, 3)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.uint16, np.uint64])
def test_tokens_may_be_integers_of_any_size(kind):
    assert equal(tokens.from_tokens(np.array([2, 1, 3], kind), 3), tokens.from_tokens([1, 2, 3], 3))
    with pytest.raises(ValueError, match="last token must be a shift"):
        tokens.from_tokens(np.array([1, 2], kind), 300)  # more units than some of these types can count


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ([3, 5], "0 to 4"), ([-1, 3], "0 to 4"), ([], "last token"), ([3, 0], "last token"),
        ([[3]], "list of integers"), ([3.0], "list of integers"),
    ],
)  # fmt: skip
def test_no_such_sequence_is_refused(sequence, message):
    with pytest.raises(ValueError, match=message):
        tokens.from_tokens(np.array(sequence, None if sequence else int), 3, 2)


@pytest.mark.parametrize(
    ("integers", "message"),
    [
        ([[4, 0]], "0 to 3"), ([[-1, 0]], "0 to 3"), ([[0, 1]], "unit 3"), ([[0]], r"\[steps, 2\]"),
        ([0, 0], r"\[steps, 2\]"), (np.zeros((0, 2), int), r"\[steps, 2\]"), ([[0.0, 1.0]], "float64"),
    ],
)  # fmt: skip
def test_no_such_integers_are_refused(integers, message):
    with pytest.raises(ValueError, match=message):
        tokens.from_integers(np.array(integers), 3, 2)


@pytest.mark.parametrize("bits", [0, 63])
def test_impossible_sizes_are_refused(bits):
    held = stored(np.zeros((3, 2), bool))
    with pytest.raises(ValueError, match="1 to 62"):
        tokens.to_integers(held, bits)
    with pytest.raises(ValueError, match="1 to 62"):
        tokens.from_integers(np.zeros((2, 1), int), 3, bits)
    with pytest.raises(ValueError, match="at least 1"):
        tokens.to_tokens(held, 0)
    with pytest.raises(ValueError, match="at least 1"):
        tokens.from_tokens(np.array([3]), 3, 0)


def test_by_default_integers_have_10_bits_and_shifts_up_to_32_steps():
    events = np.zeros((21, 65), bool)
    held = stored(events)
    assert tokens.to_integers(held).shape == (65, 3)
    assert tokens.to_tokens(held).tolist() == [21 + 31, 21 + 31, 21]
    assert equal(tokens.from_tokens(tokens.to_tokens(held), 21), held)
    assert equal(tokens.from_integers(tokens.to_integers(held), 21), held)
