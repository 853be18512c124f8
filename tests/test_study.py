"""A study of planted events, its tables and figures."""

import csv
import struct
import warnings

import h5py
import numpy as np
import pytest
from rasters import matrix, raster

from snn_codec.analysis import correlation, figures, notes, results
from snn_codec.analysis.notes import Score
from snn_codec.analysis.rows import rows_of
from snn_codec.analysis.study import study
from snn_codec.analysis.times import Times
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix

STEPS = 6000


def recording(seed, answering=5, units=12):
    """Unit u < `answering` fires one step after key 40 + u, nearly always; the others whenever they like."""
    random = np.random.default_rng(seed)
    onset = np.sort(random.choice(np.arange(50, STEPS - 50), 700, replace=False)) * 512 + 256
    pitch = random.integers(61, 71, 700)
    score = Score(onset, onset + 5000, pitch, pitch * 0 + 70, np.zeros((0, 2), np.int64), 22050)
    grid = score.grid(STEPS, 22050, 512)
    events = raster(units, STEPS, 0.03, seed + 100)
    for unit in range(answering):
        steps = grid.onset[grid.key == 40 + unit] + 1
        events[unit, steps[random.random(len(steps)) < 0.9]] = True
    return f"r{seed}", matrix(events, loudness=False), score


@pytest.fixture(scope="module")
def studies():
    return [
        study((recording(seed, answering) for seed in range(4)), name)
        for name, answering in (("tied", 5), ("free", 0))
    ]


def test_planted_units_are_counted(studies):
    tied, free = (one.summary() for one in studies)
    assert (tied["recordings"], tied["units"], tied["tested_pairs"]) == (4, 12, 120)
    estimate, low, high = tied["selective_units"]
    assert estimate == 5 and low <= 5 <= high < 8
    assert free["selective_units"][0] == free["selective_pairs"][0] == 0
    assert free["mean_prominence"] == pytest.approx(tied["chance"], abs=2e-3)
    peak, *interval = tied["max_prominence"]
    assert peak > 1.5 * free["max_prominence"][0] and np.isnan(interval).all()  # a maximum has none
    # 0.9 answers on a background of 0.03 and the answers to other onsets of the key: 11.7 in 1000 steps
    rate = 0.03 + 0.9 * 0.0117
    assert np.mean(studies[0].prominence[range(5), range(40, 45)]) == pytest.approx(
        (0.9 + 13 * rate) / (0.9 + 257 * rate), rel=0.05
    )
    assert tied["median_lag_steps"] == 1
    assert studies[0].tuning.best[:5].tolist() == [40, 41, 42, 43, 44]
    assert studies[0].tuning.latency[:5].tolist() == [1] * 5


def test_many_recordings_share_groups(studies, monkeypatch):
    monkeypatch.setattr("snn_codec.analysis.study.GROUPS", 2)
    grouped = study((recording(seed) for seed in range(4)), "tied")
    assert len(grouped.parts) == 2
    np.testing.assert_allclose(grouped.jitter.variance, studies[0].jitter.variance)
    np.testing.assert_array_equal(grouped.counts, studies[0].counts)


def test_results_can_be_read_by_others(studies, tmp_path):
    results.save(tmp_path / "a.h5", studies)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["0"].attrs["model"] == "tied" and file["1/counts"].shape == (12, 88, 257)
        np.testing.assert_array_equal(file["0/jitter/z"], studies[0].jitter.z())
        assert file["0/lag"][128] == 0 and file["0/midi"][39] == 60
    results.write_units(tmp_path / "units.csv", studies)
    results.write_pairs(tmp_path / "pairs.csv", studies)
    units, pairs = (list(csv.DictReader(open(tmp_path / f"{name}.csv"))) for name in ("units", "pairs"))
    assert len(units) == 24 and units[1]["best_note"] == "D4" and units[1]["selective_keys"] == "1"
    assert len(pairs) == 240
    found = [row for row in pairs if float(row["q_jitter"]) <= 0.05 and float(row["z_jitter"]) > 0]
    assert [(row["model"], int(row["unit"]), int(row["midi"])) for row in found] == [
        ("tied", unit, 61 + unit) for unit in range(5)
    ]
    with pytest.raises(UserError, match="exists already"):
        results.save(tmp_path / "a.h5", studies)


def test_what_is_saved_says_what_its_rows_steps_and_recordings_are(tmp_path):
    _, events, score = recording(0, 4, 4)
    hertz = 440 * 2 ** (np.array([0, 0, 1, 2]) / 12)
    names = ["K. 545", "caf\udce9.wav"]  # a name that is not UTF-8
    found = study([(name, events, score) for name in names], rows=rows_of(hertz, 4))
    results.save(tmp_path / "a.h5", [found, study([recording(0)])])
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["0"].attrs["step_rate"] == pytest.approx(22050 / 512)
        assert file["0/name"].asstr()[:].tolist() == ["A4 band", "B♭4 band", "B4 band"]
        assert file["0/hertz"][:] == pytest.approx(hertz[1:]) and "hertz" not in file["1"]
        assert file["0/recording"].asstr()[:].tolist() == ["K. 545", r"caf\udce9.wav"]
        assert file["1/name"].asstr()[0] == "unit 0"


def test_tables_without_rows_have_their_columns(tmp_path):
    pandas = pytest.importorskip("pandas")
    _, _, score = recording(0)
    short = study([("a", matrix(raster(12, 300, 0.1), loudness=False), score)])
    results.write_pairs(tmp_path / "pairs.csv", [short])
    columns = list(results.pairs(short).columns)
    assert list(pandas.read_csv(tmp_path / "pairs.csv").columns) == columns
    assert columns[:4] == ["model", "unit", "midi", "note"] and len(results.pairs(short)) == 0


def test_tables_in_python_are_those_of_the_files(studies, tmp_path):
    pandas = pytest.importorskip("pandas")
    for name, make, write in (
        ("units", results.units, results.write_units),
        ("pairs", results.pairs, results.write_pairs),
    ):
        table = make(*studies)
        write(tmp_path / f"{name}.csv", studies)
        read = pandas.read_csv(tmp_path / f"{name}.csv", keep_default_na=False, na_values=[""])
        assert list(table.columns) == list(read.columns) and len(table) == len(read)
        for column in table:
            if table[column].dtype.kind in "fi":
                np.testing.assert_allclose(table[column], read[column].astype(float), rtol=1e-4)
    assert results.units(studies[0]).selective_keys[:5].tolist() == [1] * 5


def test_figure5_for_one_and_two_models(studies, tmp_path):
    pytest.importorskip("matplotlib")
    assert figures.best_pairs(studies[0], 5) != figures.best_pairs(studies[1], 5)
    assert sorted(figures.best_pairs(studies[0], 5)) == [(unit, 40 + unit) for unit in range(5)]
    example = recording(0)[1:]
    for some in (studies[:1], studies):
        figures.figure5(tmp_path / "a.png", some, [example] * len(some), force=True)
        width, height = struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24])
        assert (width, height) == ((1.5 + 5 * len(some)) * 150, 1650)


def test_a_panel_of_figure5_without_anything_tested_says_why_and_leaves_scales_alone(
    studies, tmp_path, drawn
):
    example, short = recording(0)[1:], matrix(raster(12, 300, 0.1), loudness=False)
    rare = study([("a", short, example[1])], "rare")
    silent = study([("a", matrix(np.zeros((12, STEPS), bool), loudness=False), example[1])], "silent")
    some = [studies[0], rare, silent]
    figures.figure5(tmp_path / "a.png", some, [example, (short, example[1]), example])
    panels = np.array(drawn[0].axes[:15]).reshape(5, 3)
    for row in (2, 4):
        assert [[text.get_text() for text in panel.texts if len(text.get_text()) > 1] for panel in panels[row]] == [
            [], ["no key has the 20 onsets that a test needs"], ["no unit's events can be tested"]
        ]  # fmt: skip
        assert panels[row, 0].has_data() and not panels[row, 1].has_data()
    assert panels[4, 0].get_ylim()[1] < 0.2  # the scale of prominence, not that of an empty axis


def test_a_key_without_onsets_in_the_interior_is_no_best_pair():
    """24 onsets of a key, all in the first 3 s, at which a unit fires, and 30 of another; a unit fires by chance."""
    early, late = np.arange(5, 125, 5), np.linspace(200, 1800, 30).astype(int)
    onset = np.concatenate([early, late])
    key = np.concatenate([np.full(24, 60), np.full(30, 64)])
    score = notes.Score(onset * 512, onset * 512 + 2048, key, key, np.zeros((0, 2), int), 22050)
    events = np.zeros((2, 2000), bool)
    events[0, early + 1] = events[1, ::50] = True
    found = study([("a", matrix(events, loudness=False), score)], "early")
    assert (
        found.jitter.tested[:, 60 - notes.LOWEST].any()
        and np.isnan(found.corrected[:, 60 - notes.LOWEST]).all()
    )
    assert figures.best_pairs(found) == [(1, 64 - notes.LOWEST)]


def test_a_unit_that_fires_once_at_a_note_is_not_the_best_of_those_that_are_not_clear():
    """Unit 0 fires once, at an onset, so that its prominence is 1; unit 1 at 16 of 62 onsets and at random."""
    onset = np.arange(200, 1970, 29)
    key = np.full(len(onset), 60)
    score = notes.Score(onset * 512, onset * 512 + 2048, key, key, np.zeros((0, 2), int), 22050)
    events = np.zeros((2, 2200), bool)
    events[0, onset[30]] = events[1, onset[::4]] = True
    events[1, np.random.default_rng(0).integers(0, 2200, 60)] = True
    found = study([("a", matrix(events, loudness=False), score)], "rare")
    assert found.prominence[:, 60 - notes.LOWEST].argmax() == 0
    assert (found.jitter.z()[:, 60 - notes.LOWEST] < 3).all()
    assert [unit for unit, _ in figures.best_pairs(found)] == [1, 0]


def test_figure5_says_that_recordings_are_too_short_for_the_lags(tmp_path, drawn):
    _, events, score = recording(0)
    score = score.within(215, 22050, 512)
    short = [(str(seed), matrix(events.events[:, :215], loudness=False), score) for seed in range(30)]
    found = study(short, "short")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.figure5(tmp_path / "a.png", [found], [short[0][1:]])
    assert found.jitter.tested.any()
    assert [text.get_text() for text in drawn[0].axes[4].texts] == [
        "no onset has 2.97 s of sound before and after it"
    ]


def test_silent_units_and_short_recordings(tmp_path):
    """Nothing to test is not an error, and nothing warns."""
    silent = matrix(np.zeros((3, 300), bool), loudness=False)
    found = study([("a", silent, recording(0)[2])], "silent")
    summary = found.summary()
    assert summary["selective_units"][0] == 0 and np.isnan(summary["max_prominence"][0])
    results.write_units(tmp_path / "units.csv", [found])
    results.write_pairs(tmp_path / "pairs.csv", [found])
    assert figures.best_pairs(found) == []


def test_units_of_one_note_answer_together():
    """Each of a key's units fires at a quarter of its onsets, so that only all four together show it."""
    parts = []
    for seed in range(4):
        name, events, score = recording(seed, units=5)
        dealt = np.random.default_rng(seed).integers(4, size=events.events.shape)
        spread = np.stack([events.events & (dealt == part) for part in range(4)], 1).reshape(20, -1)
        parts.append((name, matrix(spread, loudness=False), score))
    hertz = np.repeat(440 * 2 ** ((np.arange(61, 66) - 69) / 12), 4) * np.tile([0.99, 1, 1, 1.01], 5)
    together = rows_of(hertz, 20)
    found, alone = study(parts, rows=together), study(parts)
    assert [together.name(row) for row in (0, 4)] == ["C♯4 band", "F4 band"]
    whole = study(recording(seed, units=5) for seed in range(4))
    np.testing.assert_array_equal(found.counts, whole.counts)
    assert np.nanmax(found.jitter.z()) > 1.5 * np.nanmax(alone.jitter.z())
    assert found.events == alone.events == whole.events


def test_rows_are_measured_in_parts(studies, monkeypatch):
    monkeypatch.setattr("snn_codec.analysis.study.TOGETHER", 5)
    parted = study((recording(seed) for seed in range(4)), "tied")
    np.testing.assert_array_equal(parted.counts, studies[0].counts)
    np.testing.assert_allclose(parted.jitter.q(), studies[0].jitter.q())
    np.testing.assert_allclose(parted.tuning.velocity, studies[0].tuning.velocity)
    for one, other in zip(parted.parts, studies[0].parts, strict=True):
        np.testing.assert_allclose(one.z(), other.z())


def test_spans_are_milliseconds_whatever_the_hop():
    """The same events on a grid four times as coarse: windows and lags last as long."""
    fine, coarse = Times().on(22050 / 512), Times().on(22050 / 2048)
    assert fine == (6, 128, 43) and coarse == (1, 32, 11)
    assert correlation.chance(*coarse[:2]) == pytest.approx(correlation.chance(*fine[:2]), rel=0.1)
    with pytest.raises(UserError, match="holds all lags"):
        Times(1999, 2000).on(1000 / 1999)
    with pytest.raises(UserError, match="less than the largest lag"):
        Times(3000, 3000)


def test_what_a_unit_needs_is_what_shows_it(studies):
    """A planted unit shows with the onsets that a small part of the recordings says it needs, and not with half."""
    tied, free = studies
    short = study([recording(0)], "short")
    for unit in range(5):
        assert short.needed.key[unit] == 40 + unit
        assert short.needed.onsets[unit] < 2 * short.onsets[40 + unit]
        assert "onsets of" in short.needed.words(unit, short.seconds, "E4")
    assert (
        np.count_nonzero(free.needed.key >= 0) <= 3 and free.summary()["minutes_needed"] > free.seconds / 60
    )
    assert tied.summary()["minutes_needed"] < tied.seconds / 60
    silent = matrix(np.zeros((3, 300), bool), loudness=False)
    nothing = study([("a", silent, recording(0)[2])], "silent").needed
    assert nothing.key.tolist() == [-1] * 3 and "of 0 keys" in nothing.words(0, 1.0, "")


def test_what_does_not_belong_together_is_refused():
    one, other = recording(0), recording(1)
    changed = matrix(other[1].events, loudness=False, fingerprint="f" * 16)
    with pytest.raises(UserError, match="r1: its fingerprint"):
        study([one, ("r1", changed, other[2])])
    with pytest.raises(UserError, match="no recordings"):
        study([])
    assert notes.name(40) == "C♯4"


def test_models_of_too_many_units_are_refused():
    """What is kept of 38 400 units with 88 keys would take 26 GB; of their semitones it is little."""
    name, _, score = recording(0)
    events = EventMatrix.from_indices(
        np.array([3]), np.array([5]), 38_400, sample_rate=22050, hop=512, n_samples=512 * STEPS
    )
    with pytest.raises(UserError, match="r0: its 38400 units are too many"):
        study([(name, events, score)])
    grouped = rows_of(np.geomspace(30, 4000, 38_400), 38_400)
    found = study([(name, events, score)], rows=grouped).summary()
    assert (found["units"], found["rows"], found["n_rows"]) == (38_400, "note", 85)
