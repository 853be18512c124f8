"""Intervals and corrections that evaluation, studies and listening tests share."""

import math

import numpy as np
import pytest
from scipy import stats

from snn_codec.stats import between, bootstrap, holm, jackknife, mean_interval, paired


def test_groups_are_resampled_and_values_that_are_not_finite_left_out():
    values = np.array([1.0, 1.0, 5.0, np.nan])
    found = bootstrap(values, ["a", "a", "b", "b"])
    assert (found["mean"], found["clips"]) == (pytest.approx(7 / 3), 3)
    assert (found["low"], found["high"]) == (1, 5)  # a recording alone, or the other
    assert found["sd"] == pytest.approx(np.std([1, 1, 5], ddof=1))
    assert bootstrap(values, list("aabb")) == found
    nothing = bootstrap(np.full(2, np.nan), ["a", "b"])
    assert nothing["clips"] == 0 and all(math.isnan(nothing[name]) for name in ("mean", "sd", "low", "high"))


@pytest.mark.parametrize("values", [[1.0, 2.0, np.nan], [3.0, 4.0, np.nan]])
def test_one_group_has_no_interval(values):
    for groups in ("aaa", "aab"):  # the other without a value
        found = bootstrap(np.array(values), list(groups))
        assert found["mean"] == np.nanmean(values) and math.isnan(found["low"]) and math.isnan(found["high"])
        assert between(found, ".1f") == "-"
    assert between(bootstrap(np.array([1.0, 2.0]), ["a", "b"]), ".1f", ", ") == "1.0, 2.0"


def test_the_bootstrap_covers_95_percent():
    values = np.random.default_rng(0).standard_normal(400)
    found = bootstrap(values, range(400))
    half = 1.96 * values.std() / 20
    assert found["high"] - found["mean"] == pytest.approx(half, rel=0.05)
    assert found["mean"] - found["low"] == pytest.approx(half, rel=0.05)


@pytest.mark.parametrize(("groups", "coverage"), [(9, 0.90), (17, 0.93)])
def test_the_bootstrap_of_few_groups_covers_less_as_the_docs_say(groups, coverage, monkeypatch):
    monkeypatch.setattr("snn_codec.stats.RESAMPLES", 1000)
    random = np.random.default_rng(1)
    found = [bootstrap(random.standard_normal(groups), range(groups)) for _ in range(2000)]
    assert np.mean([each["low"] <= 0 <= each["high"] for each in found]) == pytest.approx(coverage, abs=0.015)


def test_mean_interval_of_few_is_students():
    mean, low, high = mean_interval(np.array([1.0, 2, 3]))
    assert (mean, low, high) == pytest.approx((2, 2 - 2.4841, 2 + 2.4841), abs=1e-4)  # 4.3027 / sqrt(3)
    assert np.isnan(mean_interval(np.array([1.0]))[1:]).all()


def test_holm_is_as_published():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1] and holm([]) == []


def test_paired():
    a, b = [1.0, 2.0, 4.0], [0.0, 1.5, 2.5]
    assert paired(a, b)["p"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert paired(a, a) == {"difference": 0, "low": 0, "high": 0, "p": 1.0}
    assert paired([2.0, 3.0], [1.0, 2.0])["p"] == 0
    assert paired([2.0], [1.0])["difference"] == 1 and math.isnan(paired([2.0], [1.0])["p"])
    assert all(math.isnan(value) for value in paired([], []).values())
    assert math.isnan(paired([math.nan, 1.0], [0.0, 0.0])["p"])


def test_holms_correction_leaves_out_what_is_missing():
    assert holm([0.01, math.nan, 0.04, 0.03])[::2] == pytest.approx([0.03, 0.06])
    assert math.isnan(holm([0.01, math.nan])[1]) and holm([]) == []


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.array([3.0, 5.0, 8.0, 1.0, 4.0])
    whole, parts = (values.sum(), 5), [(value, 1) for value in values]
    estimate, low, high = jackknife(lambda total, n: total / n, whole, parts)
    assert estimate == pytest.approx(4.2)
    assert high - estimate == pytest.approx(
        2.7764 * values.std(ddof=1) / np.sqrt(5), rel=1e-4
    )  # Student's, 4 degrees
    assert high - estimate == pytest.approx(estimate - low)


def test_a_jackknifed_interval_does_not_reach_below_zero():
    values = np.array([0.5, 9.0, 1.0])
    _, low, high = jackknife(lambda total, n: total / n, (values.sum(), 3), [(value, 1) for value in values])
    assert low == 0 and high > 9


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_jackknife_of_few_covers_95_percent(n):
    random, covered = np.random.default_rng(n), 0
    for values in random.normal(10, 1, (2000, n)):
        _, low, high = jackknife(
            lambda total, n: total / n, (values.sum(), n), [(value, 1) for value in values]
        )
        covered += low <= 10 <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)
