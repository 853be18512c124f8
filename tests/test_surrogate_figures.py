"""Figures of a study of surrogates that are hard to read if they are drawn as they come."""

from contextlib import nullcontext

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


def rows_of(**columns):
    """Two seeds of one choice, a row a seed and step."""
    names = {"setting": "free", "choice": "atan:2"}
    return [
        names | {"seed": seed, "step": step} | dict.fromkeys(MEASURES, 1.0 + seed) | columns
        for seed in (0, 1)
        for step in (100, 200)
    ]


def results_of(rows):
    one = {"setting": "free", "choice": "atan:2", "seeds": 2} | dict.fromkeys(MEASURES, {"mean": 1.5})
    return Results(rows, [rows[1], rows[3]], [one], [], {}, [], "atan:2")


def test_gradient_norms_have_a_geometric_mean_and_no_place_for_zero():
    """The interval of an arithmetic mean reaches below zero, so down to the frame of a logarithmic axis."""
    from snn_codec.surrogate_study.figures import _curve

    rows = rows_of()
    for row, norm in zip(rows, (0.1, 0.0, 10.0, 4.0), strict=True):
        row["encoder_gradient"] = norm
    axis = figure.Figure().subplots()
    _curve(axis, results_of(rows), "free", "atan:2", "encoder_gradient", {"color": "black"})
    assert np.allclose(axis.lines[0].get_ydata(), [1.0, np.nan], equal_nan=True)
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() > 0 and np.isclose(band.min() * band.max(), 1)


@pytest.mark.parametrize(
    ("dead", "saturated", "gradient", "panels", "said"),
    [
        (0, 0, 1, 4, "no dead units and no saturated units in any run"),
        (0, 2, 1, 5, "no dead units in any run"),
        (1, 2, 1, 6, ""),
        (np.nan, np.nan, 1, 6, ""),
        (1, 2, 0, 5, "no gradient norm at the encoder in any run"),
    ],
)
def test_what_no_run_has_is_left_out(tmp_path, monkeypatch, dead, saturated, gradient, panels, said):
    from snn_codec.surrogate_study import figures

    drawn = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, path, **_: drawn.append(self))
    monkeypatch.setattr("snn_codec.plots.replacing", lambda path, force: nullcontext(path))
    rows = rows_of(dead_units=dead, saturated_units=saturated, encoder_gradient=gradient)
    figures.learning(tmp_path / "a.png", results_of(rows))
    assert len(drawn[0].axes) == panels
    assert [text.get_text() for text in drawn[0].texts] == ([said] if said else [])
