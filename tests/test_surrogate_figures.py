"""Figures of a study of surrogates that are hard to read if they are drawn as they come."""

import numpy as np
import pytest

from snn_codec.surrogate_study.grid import Cell
from snn_codec.surrogate_study.results import MEASURES, Results

figure = pytest.importorskip("matplotlib.figure")


@pytest.mark.parametrize(
    ("low", "high"), [(1180, 1240), (300, 420), (100, 900), (50, 3000), (0.71, 0.74), (2.0, 2.0001)]
)
def test_an_axis_has_numbers_however_narrow_its_range(low, high):
    from snn_codec.surrogate_study.figures import _log_ticks

    drawn = figure.Figure()
    axis = drawn.subplots()
    axis.plot([low, high], [0, 1])
    _log_ticks(axis)
    drawn.draw_without_rendering()
    left, right = axis.get_xlim()
    shown = [
        label.get_text()
        for place, label in zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
        if left <= place <= right
    ]
    assert 3 <= len(shown) <= 13 and len(set(shown)) == len(shown)


@pytest.mark.parametrize(("measure", "scale"), [("encoder_gradient", "log"), ("events_per_second", "linear")])
def test_the_wide_bands_of_two_seeds_do_not_set_the_frame(measure, scale):
    """The interval of two seeds is 13 times as wide as they are apart, and reaches below zero."""
    from snn_codec.surrogate_study.figures import _curve, _frame

    rows = [
        {"setting": "free", "choice": "atan:2", "seed": seed, "step": step, measure: value * (1 + seed)}
        for seed in (0, 1)
        for step, value in ((100, 40.0), (200, 4.0), (300, 1.0))
    ]
    one = {"setting": "free", "choice": "atan:2", "seeds": 2} | dict.fromkeys(MEASURES, {"mean": 1.5})
    cells = [{"setting": "free", "choice": "atan:2", "seed": seed, "si_snr": 1.0} for seed in (0, 1)]
    results = Results(rows, cells, [one], [], {}, [Cell("sparse", "atan:2", 0)], "atan:2")
    axis = figure.Figure().subplots()
    _curve(axis, results, "free", "atan:2", measure, {"color": "black"})
    axis.set_yscale(scale)
    assert axis.get_ylim()[1] > 300
    _frame(axis, results, "free", measure)
    low, high = axis.get_ylim()
    assert 80 < high < 130
    assert np.isclose(low, 80**-0.1) if scale == "log" else np.isclose(low, 1 - 7.9)
