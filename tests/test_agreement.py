import numpy as np

from snn_codec.events import EventMatrix
from snn_codec.hardware.agreement import agreement, agreement_of, rounded_down


def test_cells_do_not_see_that_rare_events_are_missing_but_events_do():
    expected = np.zeros((1000, 10), bool)
    expected[::100, 3] = True  # 10 events in 10 000 cells
    found = agreement(np.zeros_like(expected), expected)
    assert found.cells == 0.999 and found.events == 0
    expected[0, 3] = False
    some = expected.copy()
    some[100, 3], some[7, 7] = False, True  # of 9 one is missing, and one is new
    assert agreement(some, expected).events == 8 / 10
    assert agreement(expected, expected).words() == "100 %"
    assert agreement(some, expected).words() == "99.9800 % of cells, 80.0000 % of events"


def test_nothing_but_all_is_a_hundred_percent():
    expected = np.zeros((1000, 20_000), bool)
    expected[5, 5] = True
    one_of_many = agreement(np.zeros_like(expected), expected)
    assert one_of_many.words() == "99.9999 % of cells, 0.0000 % of events"
    assert agreement(np.zeros((3, 4), bool), np.zeros((3, 4), bool)) == (1, 1)
    assert [rounded_down(share, 2) for share in (0.29, 0.999999, 1.0, 0.0)] == [
        "29.00",
        "99.99",
        "100.00",
        "0.00",
    ]


def test_chunk_by_chunk_it_is_the_same(monkeypatch):
    random = np.random.default_rng(0)
    some, other = (random.random((9, 600)) < 0.1 for _ in range(2))
    pair = [EventMatrix(events, 22050, 512, 600 * 512) for events in (some, some & other)]
    monkeypatch.delattr(EventMatrix, "events")
    assert agreement_of(*pair) == agreement(some, some & other)
    silent = EventMatrix(np.zeros((3, 4), bool), 22050, 512, 4 * 512)
    assert agreement_of(silent, silent) == (1, 1)
