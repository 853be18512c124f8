"""The analysis of listening tests, on simulated raters whose truth is known."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from snn_codec.cli import main
from snn_codec.errors import UserError
from snn_codec.listening import report, results, statistics

CONDITIONS = ("reference", "anchor70", "anchor35", "degraded", "a", "b", "c", "d", "e", "f")
LEVELS = np.array([103.0, 52, 38, 6, 78, 70, 66, 66, 45, 30])  # c and d are equal
ITEMS = 8
ITEM_EFFECTS = np.random.default_rng(1).normal(0, 4, (ITEMS, len(LEVELS)))
ITEM_EFFECTS[:, 7] = ITEM_EFFECTS[:, 6]


def simulated(n, seed, tests=1):
    """Scores [raters, items, conditions] of raters with tastes of their own, who use the scale as people do.

    For several tests [raters, items, tests, conditions].
    """
    random = np.random.default_rng(seed)
    shown = LEVELS < 100  # everybody hears which one is the reference
    levels = LEVELS + ITEM_EFFECTS[:, None] * shown
    tastes = random.normal(0, 7, (n, 1, tests, len(LEVELS))) * shown
    noise = random.normal(0, 6, (n, ITEMS, tests, len(LEVELS))) * np.where(shown, 1, 0.5)
    scores = np.clip(np.round(levels + tastes + noise), 0, 100)
    return scores[:, :, 0] if tests == 1 else scores


def careless(n, seed):
    """Those who click anywhere, put all sliders to the top, or in the middle."""
    random = np.random.default_rng(seed)
    scores = random.integers(0, 101, (n, ITEMS, len(LEVELS))).astype(float)
    scores[1::4] = random.integers(91, 101, scores[1::4].shape)
    scores[2::4] = 50
    return scores


def ratings(scores):
    names = [f"r{number}" for number in range(len(scores))]
    return results.Ratings(scores, names, [f"i{n}" for n in range(ITEMS)], list(CONDITIONS), {})


TRUTH = simulated(20_000, 123).mean(1)


def test_1000_simulated_tests_drop_exactly_the_careless_and_their_intervals_cover_the_truth():
    """40 raters, 20 % careless, six conditions beside reference and anchors."""
    careful = simulated(32, 7, tests=1000)
    for number in range(1000):
        scores = np.concatenate([careful[:, :, number], careless(8, number)])
        kept = statistics.screen(scores[:, :, 0], scores[:, :, 1]).kept
        assert kept.tolist() == [True] * 32 + [False] * 8
    means = careful.mean(1)  # all that is left after that, [raters, tests, conditions]
    for interval, true in (
        (statistics.mean_interval, TRUTH.mean(0)),
        (statistics.median_interval, np.median(TRUTH, 0)),
    ):
        _, low, high = interval(means)
        covered = ((low <= true) & (true <= high)).mean(0)[1:]  # about the reference there are no tastes
        assert ((0.93 <= covered) & (covered <= 0.97)).all(), covered


def test_sizes_of_effects_are_recovered():
    found = report.analyse(ratings(np.concatenate([simulated(400, 5), careless(80, 5)])))
    assert found["raters"]["kept"] == 400
    for row in found["conditions"]:
        true = TRUTH[:, CONDITIONS.index(row["name"])].mean()
        assert row["mean"] == pytest.approx(true, abs=1.5) and row["median"] == pytest.approx(true, abs=2)
    for pair in found["pairs"]:
        a, b = (TRUTH[:, CONDITIONS.index(pair[name])].mean() for name in "ab")
        assert pair["difference"] == pytest.approx(a - b, abs=2)
        assert (pair["holm"] < 0.05) == ({pair["a"], pair["b"]} != {"c", "d"})
        assert pair["wins"] + pair["losses"] + pair["ties"] == 400 * ITEMS
        assert (pair["wins"] > pair["losses"]) == (pair["difference"] > 0)
    assert found["friedman"]["p"] < 1e-10 and len(found["friedman"]["conditions"]) == 6


def test_equal_conditions_are_found_different_in_no_more_than_5_of_100_tests():
    """Friedman, and any pair after Holm's correction."""
    random = np.random.default_rng(0)
    friedman, any_pair = [], []
    for _ in range(200):
        scores = np.clip(np.round(random.normal(60, 10, (30, ITEMS, 4))), 0, 100)
        friedman.append(statistics.friedman(scores.mean(1))[1] < 0.05)
        any_pair.append(min(pair.holm for pair in statistics.pairs(scores)) < 0.05)
    assert 0.02 < np.mean(friedman) < 0.09
    assert 0.005 < np.mean(any_pair) < 0.07


def test_screening_is_at_the_limits_of_the_standard():
    reference, anchor = np.full((8, 20), 100.0), np.full((8, 20), 60.0)
    reference[0, :3] = 89  # 15 %: may stay
    reference[1, :4] = 89
    reference[2, :] = 90
    anchor[3, :3] = 91
    anchor[4, :4] = 91
    anchor[5, :] = 90
    kept = statistics.screen(reference, anchor).kept
    assert kept.tolist() == [True, False, True, True, False, True, True, True]


def test_an_item_whose_mid_anchor_is_too_good_drops_nobody():
    reference, anchor = np.full((8, 5), 100.0), np.full((8, 5), 60.0)
    anchor[:3, 0] = 95  # three of eight
    anchor[:2, 1] = 95  # two of eight: the item counts
    screening = statistics.screen(reference, anchor)
    assert screening.counted.tolist() == [False, True, True, True, True]
    assert screening.kept.tolist() == [False, False] + [True] * 6  # one of four is over 15 %
    assert screening.high_anchors.tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


def test_median_interval_is_between_the_order_statistics_that_enclose_it():
    values = np.sort(np.random.default_rng(0).normal(size=(32, 1)), 0)
    median, low, high = statistics.median_interval(values)
    # coverage of [10th, 23rd] is 97.99 %, of [11th, 22nd] 94.99 %
    assert values[9, 0] < low[0] < values[10, 0] and values[21, 0] < high[0] < values[22, 0]
    assert low[0] == pytest.approx(values[10, 0], abs=0.02) and median[0] == np.median(values)
    for n in (1, 5):
        assert np.isnan(statistics.median_interval(values[:n])[1:]).all()
    assert not np.isnan(statistics.median_interval(values[:6])[1:]).any()


def test_an_interval_moves_and_stretches_with_its_values():
    values = np.random.default_rng(4).random((9, 3))
    found = statistics.median_interval(values)
    for moved, before in zip(statistics.median_interval(50 + 7 * values), found, strict=True):
        np.testing.assert_allclose(moved, 50 + 7 * before)


def test_wilcoxon_is_exact_for_few_raters():
    scores = np.zeros((5, 1, 2))
    scores[:, 0, 0] = [1, 2, 3, 4, 5]
    (pair,) = statistics.pairs(scores)
    assert pair.p == pytest.approx(2 / 2**5)  # all five of one sign


def test_wilcoxon_is_exact_up_to_fifty_differences_that_differ(monkeypatch):
    methods = []

    class Found:
        pvalue = 0.5

    monkeypatch.setattr(statistics.stats, "wilcoxon", lambda values, method: methods.append(method) or Found)
    for values in (np.arange(1, 51), np.arange(1, 52), np.array([1.0, -1.0, 2.0]), np.array([0.0, 1.0, 2.0])):
        statistics._wilcoxon(values.astype(float))
    assert methods == ["exact", "approx", "approx", "exact"]
    assert (
        statistics._wilcoxon(np.array([1e-12, 0.0])) == 1.0 and len(methods) == 4
    )  # rounding is no difference


def test_a_rater_may_be_beyond_the_limits_on_fifteen_percent_of_the_items():
    """Of 20 items: three are allowed, four are not; 90 itself is within both limits."""
    reference, anchor = np.full((4, 20), 90.0), np.full((4, 20), 90.0)
    reference[0, :3] = reference[1, :4] = 89.9
    anchor[2, 5:8] = anchor[3, 8:12] = 90.1
    found = statistics.screen(reference, anchor)
    assert found.kept.tolist() == [True, False, True, False] and found.counted.all()


def test_pairs_are_those_of_scipy_and_ties_do_no_harm():
    scores = simulated(20, 3)[:, :, 4:7]
    scores[:, :, 2] = scores[:, :, 0]
    found = {(pair.a, pair.b): pair for pair in statistics.pairs(scores)}
    means = scores.mean(1)
    assert found[0, 1].p == pytest.approx(
        stats.wilcoxon(np.round(means[:, 0] - means[:, 1], 9), method="approx").pvalue, abs=1e-3
    )
    assert (found[0, 2].p, found[0, 2].ties, found[0, 2].difference) == (1, 20 * ITEMS, 0)


def table(path, scores, names=CONDITIONS):
    rows = [
        ("test", "headphones", "", f"r{r}", f"i{i}", name, int(scores[r, i, c]), 1000, "")
        for r in range(scores.shape[0])
        for i in range(scores.shape[1])
        for c, name in enumerate(names)
    ]
    results.write(path, rows, force=True)
    return rows


def test_report_from_the_command_line(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="needs matplotlib (the extra `listen`)")
    scores = np.concatenate([simulated(12, 1), careless(3, 1)])
    table(tmp_path / "r.csv", scores)
    with open(tmp_path / "r.csv", "a") as file:
        file.write("test,,,half,i0,a,50,1000,\n")
    assert main(["listen", "analyse", str(tmp_path / "r.csv"), "-o", str(tmp_path / "report")]) == 0
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(found["raters"]["dropped"]) == {"r12", "r13", "r14", "half"}
    assert found["raters"]["dropped"]["half"] == f"{ITEMS * 10 - 1} scores missing"
    assert found["raters"]["dropped"]["r13"].startswith("mid anchor over 90 on 8 of 8")
    assert found["raters"]["kept"] == 12 and len(found["pairs"]) == 15
    said = (tmp_path / "report" / "report.md").read_text()
    assert said == capsys.readouterr().out
    assert "| reference | 9" in said and "12 of 16 raters" in said
    assert (tmp_path / "report" / "figure3.png").read_bytes().startswith(b"\x89PNG")
    for taken, said in (("report", "--force"), ("r.csv", "r.csv: cannot be made")):
        assert main(["listen", "analyse", str(tmp_path / "r.csv"), "-o", str(tmp_path / taken)]) == 2
        assert said in capsys.readouterr().err


def test_results_of_webmushra_get_their_names_from_the_test(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="needs matplotlib (the extra `listen`)")
    codes = {name: f"C{number}" for number, name in enumerate(CONDITIONS[1:], 1)}
    rows = table(tmp_path / "r.csv", simulated(6, 1), ["reference", *codes.values()])
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "key.json").write_text(
        json.dumps({"test": "t", "references": {}, "versions": {}, "codes": codes})
    )
    with open(tmp_path / "r.csv", "w", newline="") as file:  # its columns, for other questions
        names = ("session_test_id", "age", "gender", *results.RATING)
        csv.writer(file).writerows([names, *rows])
    command = ["listen", "analyse", str(tmp_path / "r.csv"), "-o", str(tmp_path / "report")]
    assert main(command) == 2 and "--test" in capsys.readouterr().err
    assert main([*command, "--test", str(tmp_path / "test")]) == 0
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert {row["name"] for row in found["conditions"]} == set(CONDITIONS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no column"),
        ("a,b\n1,2\n", "has no column rating_score, rating_stimulus, session_uuid, trial_id"),
        ("session_uuid,trial_id,rating_stimulus,rating_score\n", "holds no ratings"),
        ("session_uuid,trial_id,rating_stimulus,rating_score\nr,i,a,nan\n", "line 2: the score 'nan' is not"),
        ("session_uuid,trial_id,rating_stimulus,rating_score\nr,i,a,101\n", "line 2: the score '101' is not"),
        ("session_uuid,trial_id,rating_stimulus,rating_score\nr,i\n", "line 2: says not who"),
        ("session_uuid,trial_id,rating_stimulus,rating_score\nr,i,a,1\nr,i,a,2\n", "line 3: a second score"),
        ("session_uuid,trial_id,rating_stimulus,rating_score\nr,i,a,1\n\xff", "is not a table"),
    ],
)
def test_tables_that_cannot_be_read(content, said, tmp_path):
    (tmp_path / "r.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=said):
        results.read(tmp_path / "r.csv")


def test_a_row_that_is_there_twice_counts_once(tmp_path):
    rows = table(tmp_path / "r.csv", simulated(2, 1))
    results.write(tmp_path / "r.csv", [*rows, *rows], force=True)
    np.testing.assert_array_equal(results.read(tmp_path / "r.csv").scores, simulated(2, 1))


def test_nothing_left_to_analyse_is_said():
    with pytest.raises(UserError, match="all raters are dropped"):
        report.analyse(ratings(careless(1, 0)))
    with pytest.raises(UserError, match="no rater rated everything"):
        report.analyse(ratings(simulated(1, 0)[:0]))


def test_one_condition_has_no_pairs_and_a_figure_all_the_same(tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib (the extra `listen`)")
    few = results.Ratings(
        simulated(1, 0)[:, :, :5], ["r"], [f"i{n}" for n in range(ITEMS)], list(CONDITIONS[:5]), {}
    )
    found = report.analyse(few)
    assert found["pairs"] == []
    report.write(found, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["friedman"]["p"] is None


@pytest.mark.parametrize("tested", [2, 5, 6])
def test_nothing_of_figure3_is_cut_off(tested, tmp_path):
    """The picture's border is white, whatever its panels' shape."""
    image = pytest.importorskip("matplotlib.image", reason="needs matplotlib (the extra `listen`)")
    scores = ratings(simulated(12, 1))
    names = list(CONDITIONS[: 4 + tested])
    found = report.analyse(scores._replace(scores=scores.scores[..., : len(names)], conditions=names))
    report.figure3(tmp_path / "a.png", found)
    picture = image.imread(tmp_path / "a.png")[..., :3]
    assert all((edge == 1).all() for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]))


def test_a_test_that_could_not_be_made_is_not_in_the_text():
    items = [str(number) for number in range(ITEMS)]
    found = report.analyse(results.Ratings(simulated(2, 0), ["a", "b"], items, list(CONDITIONS), {}))
    assert np.isnan(found["friedman"]["p"]) and "nan" not in report.text(found)
    assert "Friedman" in report.text(found | {"friedman": found["friedman"] | {"statistic": 9.0, "p": 0.01}})


def test_friedmans_test_needs_three_raters_and_three_conditions():
    means = np.arange(9.0).reshape(3, 3)
    assert np.isfinite(statistics.friedman(means)).all()
    assert (
        np.isnan(statistics.friedman(means[:2])).all() and np.isnan(statistics.friedman(means[:, :2])).all()
    )
