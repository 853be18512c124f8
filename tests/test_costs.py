import pytest

from snn_codec import costs


def test_costs_of_the_papers_clip():
    assert costs.all_bits(80, 256, 600) == {
        "dense": 20480,
        "coordinate": 600 * (7 + 8),
        "compressed_time": 600 * 8 + 79 * 10,
        "compressed_unit": 600 * 7 + 255 * 10,
    }
    assert costs.floor_bits(80, 256, 600) == pytest.approx(3903, abs=1)


def test_the_best_format_changes_where_the_paper_says():
    best = {}
    for events in range(2, 20481):
        bits = costs.all_bits(80, 256, events)
        best.setdefault(min(bits, key=bits.get), []).append(events / 20480)
    assert best["compressed_time"][0] == pytest.approx(0.0039, abs=2e-4)
    assert best["compressed_time"][-1] == pytest.approx(0.1, abs=6e-3)
    assert best["compressed_unit"][-1] == pytest.approx(0.1215, abs=1e-3)
    assert best["dense"][0] == pytest.approx(0.1215, abs=1e-3)


@pytest.mark.parametrize(
    ("values", "bits"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)]
)
def test_bit_length(values, bits):
    assert costs.bit_length(values) == bits


def test_floor_is_zero_where_there_is_nothing_to_say():
    assert costs.floor_bits(4, 4, 0) == costs.floor_bits(4, 4, 16) == 0
    assert costs.floor_bits(2, 2, 1) == pytest.approx(2)


@pytest.mark.parametrize(("events", "bits"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (255, 8), (256, 9)])
def test_a_pointer_tells_no_event_from_all_of_them(events, bits):
    assert costs.pointer_bits(events) == bits
