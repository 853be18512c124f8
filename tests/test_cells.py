import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasters import raster, rasters

from snn_codec import cells
from snn_codec.cells import Builder, Dense, Sparse, equal, is_sparse, listed, stored


def both(events):
    """The dense and the sparse form of a bool matrix."""
    units, steps = events.shape
    per_step = [np.flatnonzero(events[:, step]) for step in range(steps)]
    pointers = np.cumsum([0, *map(len, per_step)])
    return Dense(events), Sparse(units, pointers, np.concatenate(per_step).astype(np.uint16))


@given(rasters(), st.data())
def test_both_forms_give_the_same_answers(events, data):
    dense, sparse = both(events)
    stop = data.draw(st.integers(0, events.shape[1]))
    start = data.draw(st.integers(0, stop))
    for form in (dense, sparse):
        assert form.shape == events.shape and form.n_events == events.sum()
        np.testing.assert_array_equal(form.window(start, stop), events[:, start:stop])
        np.testing.assert_array_equal(form.window(0, events.shape[1]), events)
        np.testing.assert_array_equal(form.indices(), np.nonzero(events.T))
        np.testing.assert_array_equal(form.indices(start, stop), np.nonzero(events[:, start:stop].T))
        part = form.part(start, stop)
        assert type(part) is type(form) and part.shape == (len(events), stop - start)
        np.testing.assert_array_equal(part.indices(), np.nonzero(events[:, start:stop].T))
        np.testing.assert_array_equal(form.step_counts(), events.sum(0))
        np.testing.assert_array_equal(form.unit_counts(), events.sum(1))
    assert equal(dense, sparse) and equal(sparse, dense) and equal(sparse, sparse)
    other = events.copy()
    other[-1, -1] ^= True
    assert not any(equal(one, two) for one in (dense, sparse) for two in both(other))
    wider = np.pad(events, ((0, 1), (0, 0)))
    assert not any(equal(one, two) for one in (dense, sparse) for two in both(wider))


def test_a_large_matrix_of_few_events_is_held_as_a_list():
    few, many = raster(6000, 800, 0.002), raster(6000, 800, 0.4)
    assert isinstance(stored(few[:, :100]), Dense)  # small
    assert isinstance(stored(many), Dense)
    kept = stored(few)
    assert isinstance(kept, Sparse) and kept.units.dtype == np.uint16
    assert kept.nbytes < few.nbytes / 50
    np.testing.assert_array_equal(kept.window(0, 800), few)


def test_a_list_is_chosen_where_it_needs_half_the_memory():
    n_steps = cells.DENSE_CELLS // 64
    most = (64 * (n_steps + 1) // 2 - 8 * (n_steps + 2)) // 2
    assert not is_sparse(64, n_steps, 0)
    assert is_sparse(64, n_steps + 1, most) and not is_sparse(64, n_steps + 1, most + 1)


@pytest.mark.parametrize("limit", [0, cells.DENSE_CELLS])
@given(events=rasters(), data=st.data())
def test_parts_become_the_whole_in_the_form_it_would_have(limit, events, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, events.shape[1]), max_size=4)))
    builder = Builder(len(events))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "DENSE_CELLS", limit)
        for part in np.split(events, cuts, axis=1):
            builder.append(part)
        built, whole, from_list = (
            builder.build(),
            stored(events),
            listed(*np.nonzero(events.T), *events.shape),
        )
    assert type(built) is type(whole) is type(from_list)
    np.testing.assert_array_equal(built.window(0, events.shape[1]), events)
    assert equal(built, whole) and equal(from_list, whole)


def test_parts_are_copied_and_what_is_stored_is_read_only():
    part = np.zeros((2, 3), bool)
    builder = Builder(2)
    builder.append(part)
    part[:] = True
    built = builder.build()
    assert built.n_events == 0
    with pytest.raises(ValueError, match="read-only"):
        built.window(0, 3)[0, 0] = True
    with pytest.raises(ValueError, match="3 units, not 2"):
        builder.append(np.zeros((3, 1), bool))


def test_a_list_may_have_any_order_but_no_event_twice_or_outside():
    expected = np.zeros((3, 4), bool)
    expected[[2, 0, 1], [3, 0, 3]] = True
    found = listed(np.array([3, 0, 3]), np.array([2, 0, 1]), 3, 4)
    np.testing.assert_array_equal(found.window(0, 4), expected)
    assert listed(np.zeros(0, int), np.zeros(0, int), 3, 4).n_events == 0
    for steps, units, message in [
        ([1, 0, 1], [2, 2, 2], "twice"), ([4], [0], "outside"), ([0], [3], "outside"), ([-1], [0], "outside"),
        ([0], [-1], "outside"), ([0, 1], [0], "one length"),
        ([0.5], [0], "integers.*seconds"), ([0], [True], "integers"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            listed(np.array(steps), np.array(units), 3, 4)


def test_a_matrix_of_4_mi_cells_is_dense_and_a_block_has_as_many():
    assert not is_sparse(1 << 12, 1 << 10, 0) and is_sparse(1 << 12, (1 << 10) + 1, 0)
    assert list(cells.blocks(1 << 12, 2000)) == [(0, 1 << 10), (1 << 10, 2000)]


def test_units_beyond_16_bits_are_kept():
    found = Sparse(70_000, np.array([0, 1]), np.array([69_999], cells.unit_type(70_000)))
    assert cells.unit_type(65_536) == np.uint16 and found.units.dtype == np.uint32
    assert found.window(0, 1)[69_999, 0]


def test_blocks_cover_all_steps_and_bound_the_cells():
    for n_units, n_steps in [(80, 100_000), (38_400, 1000), (cells.BLOCK_CELLS * 2, 3)]:
        found = list(cells.blocks(n_units, n_steps))
        assert [start for start, _ in found[1:]] == [stop for _, stop in found[:-1]]
        assert found[0][0] == 0 and found[-1][1] == n_steps
        assert all(0 < (stop - start) * n_units <= max(cells.BLOCK_CELLS, n_units) for start, stop in found)
