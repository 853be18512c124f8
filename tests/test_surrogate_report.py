"""What a study of surrogates says, from a grid whose every number is known."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.stats import holm
from snn_codec.surrogate_study import figures, level_curve
from snn_codec.surrogate_study import report as surrogate_report
from snn_codec.surrogate_study.equal_bytes import AtEqualBytes, at_equal_bytes, over_levels
from snn_codec.surrogate_study.grid import Cell, Study
from snn_codec.surrogate_study.results import collect, seconds_per_step
from snn_codec.training.plain import COLUMNS as LOGGED

COLUMNS = ("step", "seconds", *LOGGED)

GAIN = {"fast_sigmoid:2": 0.0, "atan:2": 1.0, "triangular:1": -3.0}


def study(choices=tuple(GAIN), seeds=4, settings=("free", "sparse")):
    base = config.load("cpu-free-plain", ["training.steps=200"])
    return Study({setting: base for setting in settings}, (), tuple(choices), seeds)


def score(cell):
    """Seeds differ by much, choices by their gain, and both together by little."""
    noise = 0.1 * math.sin(7 * cell.seed + 3 * list(GAIN).index(cell.choice))
    return 8 + 2 * cell.seed + GAIN[cell.choice] + noise - 2 * (cell.setting == "sparse")


def fill(root, planned, skip=(), failed=()):
    for cell in planned.cells():
        if cell in skip:
            continue
        folder = cell.folder(root)
        folder.mkdir(parents=True)
        status = "failed" if cell in failed else "done"
        (folder / "result.json").write_text(json.dumps({"status": status, "reason": "training diverged"}))
        with open(folder / "log.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for step in (50, 100, 150, 200):
                row = {
                    "step": step, "seconds": step * 0.2, "loss": 1.0, "gradient": 2.0, "encoder_gradient": step / 100,
                    "dead_units": cell.seed, "saturated_units": 0,
                }  # fmt: skip
                if step % 100 == 0:
                    row["seconds"] += 30  # what validations take does not count as training
                    row |= {
                        "validation_si_snr": score(cell) - (200 - step) / 100,
                        "validation_stft": 1 - 0.01 * score(cell),
                        "validation_density": 0.5 if cell.setting == "free" else 0.1, "validation_kbps": 3.0,
                        "validation_coded_kbps": 2.5, "validation_dead_units": 1, "validation_saturated_units": 0,
                    }  # fmt: skip
                else:
                    row["seconds"] += 30 * (step // 100)
                writer.writerow(row)


@pytest.fixture
def found(tmp_path):
    fill(tmp_path, study())
    return collect(study(), tmp_path)


@pytest.mark.parametrize("text", ["[]", "5", '{"status": "failed"}', '{"status": "do'])
def test_a_run_whose_result_is_damaged_has_not_ended(tmp_path, text):
    fill(tmp_path, study())
    cell = study().cells()[3]
    (cell.folder(tmp_path) / "result.json").write_text(text)
    assert collect(study(), tmp_path).missing == [cell]


@pytest.mark.parametrize("file, content", [("log.csv", b""), ("log.csv", b"\xff"), ("levels.csv", b"a\n1\n")])
def test_a_run_whose_tables_are_damaged_is_named(tmp_path, file, content):
    fill(tmp_path, study())
    place = study().cells()[3].folder(tmp_path)
    (place / file).write_bytes(content)
    with pytest.raises(UserError, match=f"{place}: its log.csv or levels.csv is damaged"):
        collect(study(), tmp_path)


def test_rows_are_runs_and_validated_steps(found):
    assert len(found.rows) == 2 * 3 * 4 * 2 and len(found.cells) == 2 * 3 * 4
    row = next(
        row for row in found.rows if (row["setting"], row["choice"], row["seed"]) == ("free", "atan:2", 2)
    )
    cell = Cell("free", "atan:2", 2)
    assert (row["step"], row["si_snr"]) == (100, pytest.approx(score(cell) - 1))
    assert row["events_per_second"] == pytest.approx(0.5 * 80 * 22050 / 512)


def test_units_are_dead_that_no_validation_clip_wakes(tmp_path, found):
    """In a training batch a unit that is rare seems dead; logs of before have nothing else."""
    assert {row["dead_units"] for row in found.rows} == {1}
    fill(tmp_path / "before", study())
    for path in (tmp_path / "before").rglob("log.csv"):
        with open(path, newline="") as file:
            log = [
                {name: value for name, value in row.items() if "validation_dead" not in name}
                for row in csv.DictReader(file)
            ]
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, log[0])
            writer.writeheader()
            writer.writerows(log)
    assert {(row["seed"], row["dead_units"]) for row in collect(study(), tmp_path / "before").rows} == {
        (seed, seed) for seed in range(4)
    }


def test_means_and_intervals_are_students(found):
    for setting in ("free", "sparse"):
        values = [score(Cell(setting, "atan:2", seed)) for seed in range(4)]
        row = found.of(setting, "atan:2")["si_snr"]
        low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((np.mean(values), low, high))
    assert found.of("free", "atan:2")["encoder_gradient"]["mean"] == 1.25  # the median over steps
    assert found.of("free", "atan:2")["seconds_per_step"]["mean"] == pytest.approx(0.2)


def test_choices_are_ranked_and_set_against_ours(found):
    assert found.choices("free") == ["atan:2", "fast_sigmoid:2", "triangular:1"]
    assert found.reference == "fast_sigmoid:2"
    against = found.against("free", "si_snr", found.reference)
    assert set(against) == {"atan:2", "triangular:1"}
    scores = {name: [score(Cell("free", name, seed)) for seed in range(4)] for name in GAIN}
    by_hand = {choice: stats.ttest_rel(scores[choice], scores[found.reference]) for choice in against}
    for choice, row in against.items():
        assert row["p"] == pytest.approx(by_hand[choice].pvalue)
        assert (row["low"], row["high"]) == pytest.approx(tuple(by_hand[choice].confidence_interval()))
        assert row["low"] < row["difference"] < row["high"]
    assert against["atan:2"]["difference"] == pytest.approx(1, abs=0.15)
    assert against["triangular:1"]["difference"] == pytest.approx(-3, abs=0.15)
    smaller, larger = sorted(row["p"] for row in against.values())
    assert sorted(row["p_holm"] for row in against.values()) == pytest.approx(
        [2 * smaller, max(2 * smaller, larger)]
    )
    # seeds differ by 2 dB a step: unpaired, atan's 1 dB would be nothing
    values = [[score(Cell("free", name, seed)) for seed in range(4)] for name in ("atan:2", "fast_sigmoid:2")]
    assert against["atan:2"]["p_holm"] < 0.01 < 0.5 < stats.ttest_ind(*values).pvalue


def test_another_reference_turns_signs(tmp_path):
    fill(tmp_path, study())
    found = collect(study(), tmp_path, "triangular:1")
    against = found.against("free", "si_snr", "triangular:1")
    assert against["atan:2"]["difference"] == pytest.approx(4, abs=0.2) and len(against) == 2
    assert collect(study(("atan:2", "triangular:1")), tmp_path).reference == "atan:2"


def test_all_pairs_are_corrected_together(found):
    rows = [row for row in found.pairs if (row["setting"], row["measure"]) == ("sparse", "stft_distance")]
    assert [(row["a"], row["b"]) for row in rows] == [
        ("fast_sigmoid:2", "atan:2"), ("fast_sigmoid:2", "triangular:1"), ("atan:2", "triangular:1"),
    ]  # fmt: skip
    assert [row["holm"] for row in rows] == holm([row["p"] for row in rows])
    assert min(row["holm"] for row in rows) == pytest.approx(3 * min(row["p"] for row in rows))


def test_only_seeds_that_both_have_are_paired(tmp_path):
    fill(tmp_path, study(), skip=[Cell("free", "atan:2", 3)], failed=[Cell("free", "atan:2", 0)])
    found = collect(study(), tmp_path)
    pair = next(row for row in found.pairs if (row["setting"], row["b"]) == ("free", "atan:2"))
    differences = [
        -score(Cell("free", "atan:2", s)) + score(Cell("free", "fast_sigmoid:2", s)) for s in (1, 2)
    ]
    assert pair["seeds"] == 2 and pair["difference"] == pytest.approx(np.mean(differences))
    assert found.of("free", "atan:2")["seeds"] == 2
    assert found.failed == {Cell("free", "atan:2", 0): "training diverged"}


def test_the_best_is_found_among_seeds_that_all_have(tmp_path):
    """The choice with the easiest seeds alone has the highest mean, and is worse in each pair."""
    planned = study(choices=("fast_sigmoid:2", "atan:2"), seeds=5, settings=("free",))
    # atan is better by 1 dB, and misses the two easy seeds (they differ by 2 dB each)
    fill(tmp_path, planned, skip=[Cell("free", "atan:2", seed) for seed in (3, 4)])
    found = collect(planned, tmp_path)
    means = {choice: found.of("free", choice)["si_snr"]["mean"] for choice in planned.choices}
    assert means["fast_sigmoid:2"] > means["atan:2"]
    assert found.choices("free") == ["atan:2", "fast_sigmoid:2"]
    said = surrogate_report.text(planned, found)
    assert "have: `atan:2`." in said and "Worse than the best: `fast_sigmoid:2`." in said


def test_one_seed_tests_nothing(tmp_path):
    planned = study(seeds=1, settings=("free",))
    fill(tmp_path, planned)
    said = surrogate_report.text(planned, collect(planned, tmp_path))
    assert "| `atan:2` | 1 |" in said and "told apart" not in said and "Best" not in said


def test_what_starts_from_a_run_that_failed_has_failed(tmp_path):
    cells = [Cell(setting, "atan:2", 0) for setting in ("free", "sparse")]
    fill(tmp_path, study(), skip=cells[1:], failed=cells[:1])
    found = collect(study(), tmp_path)
    assert found.failed[cells[1]] == "its FREE run failed" and not found.missing


def test_a_surrogate_that_cannot_be_drawn_leaves_its_place_empty(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    (tmp_path / "half_a_gauss.py").write_text(
        "import torch\n\n\nclass H(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, u):\n"
        "        ctx.save_for_backward(u)\n        return (u > 0).to(u.dtype)\n\n    @staticmethod\n"
        "    def backward(ctx, g):\n        (u,) = ctx.saved_tensors\n"
        "        return g * torch.where(u.abs() > 3.2, torch.nan, torch.exp(-u * u))\n\n\ngauss = H.apply\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    figures.derivatives(tmp_path / "a.png", ["half_a_gauss:gauss", "not_here_at_all:gauss", "atan:2"])
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_seconds_of_a_step_are_those_between_validations():
    def line(step, seconds, validated=""):
        return {"step": str(step), "seconds": str(seconds), "validation_si_snr": validated}

    assert (
        seconds_per_step([line(50, 10), line(100, 40, "8"), line(150, 50), line(200, 65), line(250, 75)])
        == 0.2
    )
    assert seconds_per_step([line(10, 5, "8"), line(20, 30, "8")]) == 1.5
    paused = [line(50, 10, "8"), line(100, 20, "8"), line(150, 130, "8"), line(200, 140, "8")]
    assert seconds_per_step(paused) == 0.2


def test_stretches_of_a_step_do_not_make_the_time_of_one():
    """A validation before each logged row, of runs whose logs give tenths of a second."""

    def line(step, seconds, validated=""):
        return {"step": str(step), "seconds": str(seconds), "validation_si_snr": validated}

    log = [
        line(49, 5.0, "8"),
        line(50, 5.0),
        line(98, 10.0, "8"),
        line(99, 10.0),
        line(100, 10.0, "8"),
        line(150, 20.0),
    ]
    assert seconds_per_step(log) == 0.2


# --- the report ---


def test_the_report(tmp_path, found):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "report"
    surrogate_report.write(study(), found, folder)
    surrogate_report.write(study(), found, folder)  # what is there is made anew
    assert {path.name for path in folder.iterdir()} == {
        "runs.csv", "summary.csv", "summary.json", "pairs.csv", "report.md",
        "learning.png", "ranking.png", "derivatives.png", "tradeoff.png",
    }  # fmt: skip
    text = (folder / "report.md").read_text()
    assert (
        "## FREE (200 steps of 8 crops)" in text
        and "## SPARSE (200 steps of 8 crops, each from its FREE" in text
    )
    assert (
        text.index("| `atan:2` | 4 |")
        < text.index("| `fast_sigmoid:2` | 4 |")
        < text.index("| `triangular:1`")
    )
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {7, 14}  # at equal bytes, and else
    with open(folder / "runs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48 and float(rows[0]["si_snr"]) == pytest.approx(found.rows[0]["si_snr"], rel=1e-4)
    with open(folder / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and float(rows[1]["si_snr_low"]) < float(rows[1]["si_snr_mean"])
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["against_reference"]["free"]["atan:2"]["p_holm"] < 0.05
    assert all((folder / name).stat().st_size > 10_000 for name in ("learning.png", "ranking.png"))


def test_a_study_on_several_machines_says_which(tmp_path, found):
    assert "Trained on" not in surrogate_report.text(study(), found)  # none is known
    for cell in study().cells():
        path = cell.folder(tmp_path) / "result.json"
        machine = "CPU, 32-true" if cell.seed == 0 else "NVIDIA H200, bf16-mixed"
        path.write_text(json.dumps({"status": "done", "reason": "", "trained_on": machine}))
    results = collect(study(), tmp_path)
    said = "Trained on: CPU, 32-true (seed 0); NVIDIA H200, bf16-mixed (seed 1, 2, 3); "
    assert said + "no difference is between machines. ms a step" in surrogate_report.text(study(), results)
    surrogate_report.write(study(), results, tmp_path / "report")
    noted = json.loads((tmp_path / "report/summary.json").read_text())["trained_on"]
    assert len(noted) == len(study().cells()) and noted[-1]["trained_on"] == "NVIDIA H200, bf16-mixed"

    path = Cell("sparse", "atan:2", 2).folder(tmp_path) / "result.json"  # by an earlier version
    path.write_text('{"status": "done", "reason": ""}')
    said = surrogate_report.text(study(), collect(study(), tmp_path))
    assert "; not known (seed 2); some differences are between machines, too." in said


def test_a_report_of_one_seed_and_of_failures(tmp_path):
    pytest.importorskip("matplotlib")
    planned = study(seeds=1)
    broken = [Cell("free", "triangular:1", 0), Cell("sparse", "triangular:1", 0)]
    fill(tmp_path, planned, skip=broken[1:], failed=broken[:1])
    found = collect(planned, tmp_path)
    surrogate_report.write(planned, found, tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "- FREE, triangular:1, seed 0: training diverged" in text and "nan" not in text
    json.loads((tmp_path / "report" / "summary.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert "nan" not in (tmp_path / "report" / "pairs.csv").read_text()


def test_nothing_to_report(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(UserError, match="no run is finished"):
        surrogate_report.write(study(), collect(study(), tmp_path), tmp_path / "report")


def test_a_choice_that_failed_is_not_the_reference(tmp_path):
    """Of ours, all runs failed; so did SPARSE of the one that was asked for."""
    planned = study()
    ours = [Cell(setting, "fast_sigmoid:2", seed) for setting in ("free", "sparse") for seed in range(4)]
    fill(tmp_path, planned, failed=[*ours, *(Cell("sparse", "triangular:1", seed) for seed in range(4))])
    assert collect(planned, tmp_path).reference == "atan:2"
    found = collect(planned, tmp_path, "triangular:1")
    assert found.reference == "atan:2" and found.against("sparse", "si_snr", "atan:2") == {}
    said = surrogate_report.text(planned, found, "triangular:1")
    assert (
        "`triangular:1` has no finished run in some setting" in said and "Differences are to `atan:2`" in said
    )
    assert "no finished run in some setting" not in surrogate_report.text(planned, found)


def with_rates(results, rates):
    """The rows of SPARSE runs with these coded kbps, by choice, and an SI-SNR that is log2 of them plus the gain."""
    rows = []
    for choice, of_steps in rates.items():
        for seed in range(3):
            for step, kbps in enumerate(of_steps):
                value = (
                    math.log2(kbps) + GAIN[choice] + 0.1 * seed + 0.01 * (seed == 2) * (choice == "atan:2")
                )
                names = {"setting": "sparse", "choice": choice, "seed": seed, "step": step}
                rows.append(names | {"coded_kbps": kbps, "si_snr": value})
    return replace(results, rows=rows)


def test_choices_are_read_at_equal_bytes(found):
    results = with_rates(
        found, {"fast_sigmoid:2": (4.0, 2.0, 1.0), "atan:2": (3.0, 0.5), "triangular:1": (2.0, 1.0)}
    )
    equal = at_equal_bytes(results)
    assert equal.kbps == 1.0
    assert [row["choice"] for row in equal.rows] == ["atan:2", "fast_sigmoid:2", "triangular:1"]
    atan, ours, triangular = equal.rows
    assert (
        ours["si_snr"]["mean"] == pytest.approx(0.1) and "against" not in ours
    )  # log2(1) and the mean of seeds
    assert atan["si_snr"]["mean"] == pytest.approx(1.1 + 0.01 / 3)  # between 3 and 0.5 kbps
    assert atan["against"]["difference"] == pytest.approx(1 + 0.01 / 3)
    assert triangular["against"]["difference"] == pytest.approx(-3)
    assert all(row["seeds"] == 3 for row in equal.rows)


def test_a_choice_that_was_never_above_the_rate_has_no_value(found):
    rates = {"fast_sigmoid:2": (4.0, 2.0), "atan:2": (4.0, 1.5), "triangular:1": (1.0, 0.5)}
    assert [row["choice"] for row in at_equal_bytes(with_rates(found, rates)).rows] == [
        "atan:2",
        "fast_sigmoid:2",
    ]
    assert at_equal_bytes(with_rates(found, {"atan:2": (4.0, 1.5), "triangular:1": (1.0, 0.5)})) is None
    assert at_equal_bytes(replace(found, rows=[])) is None


def with_curves(results, curves):
    """The rows of SPARSE runs of three seeds with these (coded kbps, SI-SNR), by choice."""
    rows = [
        {"setting": "sparse", "choice": choice, "seed": seed, "step": step, "coded_kbps": kbps, "si_snr": score + seed}
        for choice, curve in curves.items()
        for seed in range(3)
        for step, (kbps, score) in enumerate(curve)
    ]  # fmt: skip
    return replace(results, rows=rows)


def test_a_run_that_is_better_later_in_fewer_bytes_is_read_there(found):
    early, late = [(3.0, 8.0), (1.2, 2.0), (1.1, 3.0), (1.05, 3.5)], [(3.0, 8.0), (2.0, 5.0), (1.2, 2.5)]
    equal = at_equal_bytes(with_curves(found, {"fast_sigmoid:2": late, "atan:2": early}))
    assert equal.kbps == 1.2
    assert [(row["choice"], row["si_snr"]["mean"]) for row in equal.rows] == [
        ("atan:2", pytest.approx(4.5)),
        ("fast_sigmoid:2", pytest.approx(3.5)),
    ]


def test_runs_of_unequal_rates_are_no_ranking(tmp_path):
    fill(tmp_path, study())
    for path in (tmp_path / "sparse" / "atan-2").rglob("log.csv"):
        path.write_text(path.read_text().replace(",2.5,", ",3.5,"))
    free, sparse = surrogate_report.text(study(), collect(study(), tmp_path)).split("## SPARSE (")
    said = "Runs ended at 2.50 to 3.50 coded kbps. More bytes sound better"
    assert said in sparse and said not in free


def test_the_table_at_equal_bytes_says_at_which_step_each_run_is_read(found):
    early, late = [(3.0, 8.0), (1.2, 5.0), (1.1, 3.0)], [(3.0, 8.0), (2.0, 5.0), (1.15, 2.5)]
    results = with_curves(found, {"fast_sigmoid:2": late, "atan:2": early})
    equal = at_equal_bytes(results)
    assert equal.kbps == 1.15
    assert {row["choice"]: row["steps"] for row in equal.rows} == {"fast_sigmoid:2": (2, 2), "atan:2": (2, 2)}
    equal = at_equal_bytes(with_curves(found, {"fast_sigmoid:2": late, "atan:2": [(3.0, 8.0), (1.1, 3.0)]}))
    assert {row["choice"]: row["steps"] for row in equal.rows} == {"fast_sigmoid:2": (2, 2), "atan:2": (1, 1)}
    lines = surrogate_report.text(
        study(), results, None, AtEqualBytes(equal, dict.fromkeys(("free", "sparse"), []))
    )
    table = lines.split("at equal bytes")[1]
    assert "| p | read at step |" in table
    assert [line.split("|")[-2].strip() for line in table.splitlines() if line.startswith("| `")] == [
        "1",
        "2",
    ]


def test_a_choice_that_is_not_sparse_does_not_set_the_rate_and_is_named(tmp_path, found):
    sparse, dense = [(3.4, 8.0), (1.0, 3.0)], [(3.4, 8.0), (3.2, 8.2)]
    results = with_curves(found, {"fast_sigmoid:2": sparse, "atan:2": sparse, "triangular:1": dense})
    equal = at_equal_bytes(results)
    assert equal.kbps == 1.0 and [row["choice"] for row in equal.rows] == ["fast_sigmoid:2", "atan:2"]
    assert equal.left_out == {"triangular:1": (3.2, 3.4)}
    text = surrogate_report.text(study(), results)
    assert "Left out, as their runs never had this rate: `triangular:1` stayed above (3.20 to 3.40)." in text


def test_models_with_levels_are_read_between_their_levels(tmp_path):
    planned = study(seeds=3, settings=("free",))
    fill(tmp_path, planned)
    for cell in planned.cells():
        scale = 1 + 0.1 * (cell.choice == "atan:2")  # more bytes for the same sound
        rows = [
            {
                "level": level,
                "kbps": scale * 2.0**-level,
                "si_snr": 10 - 3 * level + 0.1 * cell.seed + 0.01 * (cell.seed == 2) * (scale > 1),
            }
            for level in range(5)
        ]
        level_curve.write(cell.folder(tmp_path), rows)
    results = collect(planned, tmp_path)
    fine, coarse = over_levels(results, "free")
    low, high = 1.1 / 16, 1.0
    assert fine.kbps == round(low * (high / low) ** 0.75, 2) and coarse.kbps < 0.2
    for found in (fine, coarse):
        (atan,) = (row for row in found.rows if row["choice"] == "atan:2")
        assert atan["against"]["difference"] == pytest.approx(-3 * math.log2(1.1) + 0.01 / 3)
        (ours,) = (row for row in found.rows if row["choice"] == "fast_sigmoid:2")
        assert ours["si_snr"]["mean"] == pytest.approx(10.1 + 3 * math.log2(found.kbps))
    text = surrogate_report.text(replace(planned, entropy_model="/somewhere/wide"), results)
    assert f"## FREE at equal bytes ({fine.kbps:.2f} kbps)" in text and "the entropy model of wide" in text
    assert over_levels(results, "sparse") == over_levels(replace(results, curves={}), "free") == []


def test_what_is_missing_is_not_called_failed_in_the_figure(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    missing, failed = Cell("sparse", "atan:2", 0), Cell("sparse", "triangular:1", 0)
    fill(tmp_path, study(seeds=1), skip=[missing], failed=[failed])
    axis = figure.subplots()
    figures._forest(axis, collect(study(seeds=1), tmp_path), "sparse", "si_snr", list(GAIN))
    assert [text.get_text() for text in axis.texts if text.get_text() in ("missing", "failed")] == [
        "missing",
        "failed",
    ]


def test_a_partial_report_says_what_is_missing(tmp_path):
    planned = study(seeds=3)
    missing = [Cell("sparse", "atan:2", 1), Cell("sparse", "atan:2", 2), Cell("free", "triangular:1", 2)]
    fill(tmp_path, planned, skip=missing)
    results = collect(planned, tmp_path)
    text = surrogate_report.text(planned, results)
    assert "**Partial:** 3 of 18 runs have not ended" in text
    assert "SPARSE `atan:2` seed 1, 2" in text and "FREE `triangular:1` seed 2" in text
    assert "Partial" not in surrogate_report.text(planned, replace(results, missing=[]))
    assert "SPARSE at equal bytes (2.50 coded kbps)" in text
