"""The first page of a report: its links lead to files, and what there is none of is a dash."""

import html
import re
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest
from rasters import matrix
from test_study import recording

from snn_codec.analysis import command, index, report, results
from snn_codec.analysis.study import study


@pytest.fixture(scope="module")
def silent():
    """A study in which no key could be tested."""
    events = matrix(np.zeros((3, 300), bool), loudness=False)
    score = recording(0)[2]
    return study([("a", events, score)], "silent"), events, score


def test_links_lead_to_files_of_any_name(silent, tmp_path):
    name = 'silent-Prelude #1 100%25 a&b "x" é?.html'
    index.write(tmp_path / "index.html", [silent[0]], {0: [("Prelude", tmp_path / name)]})
    (link,) = re.findall(r'href="([^"]*)"', (tmp_path / "index.html").read_text(encoding="utf-8"))
    assert unquote(html.unescape(link)) == name and not set(link) & set('#?" &')


def test_names_that_are_not_utf8_are_written_with_what_stands_for_them(silent, tmp_path):
    name = "caf\udce9"
    index.write(tmp_path / "index.html", [silent[0]], {0: [(name, tmp_path / f"{name}.html")]})
    assert r'<a href="caf%E9.html">caf\udce9</a>' in (tmp_path / "index.html").read_text(encoding="utf-8")
    results.write_units(tmp_path / "units.csv", [replace(silent[0], model=name)])
    assert (tmp_path / "units.csv").read_text(encoding="utf-8").splitlines()[1].startswith(r"caf\udce9,0,")


def test_the_reason_says_that_recordings_are_too_short_for_the_lags(silent):
    _, events, score = recording(0)
    short = study([("a", matrix(events.events[:, :215], loudness=False), score)]).summary()
    assert short["onsets"] == 0 and "needs 2.97 s of sound before and after it" in index.why(short)
    assert "No onset counts" not in index.why(silent[0].summary())
    many = study(
        [(str(part), matrix(events.events[:, :215], loudness=False), score) for part in range(30)]
    ).summary()
    assert many["onsets"] == 0 and "smaller --lags-ms. 8 of 88 keys have the 20 onsets" in index.why(many)


@pytest.mark.parametrize(
    ("minutes", "words"), [(0.2, "12 seconds"), (3.0, "3.0 minutes"), (44.4, "44 minutes")]
)
def test_a_short_time_is_not_zero_minutes(silent, minutes, words):
    found = silent[0].summary() | {"minutes_needed": minutes}
    assert f"would show after about {words} of such music" in index.why(found)


def test_a_short_recording_is_not_zero_minutes_long(silent, tmp_path):
    """300 steps are 7 s, in the index, on a page and in the command's lines."""
    index.write(tmp_path / "index.html", [silent[0]], {})
    assert "<td>1, 7 seconds, " in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert dict(report._data(*silent, {}, "")["summary"])["recordings"] == "1, 7 seconds"
    assert next(command.lines({"models": [silent[0].summary()]})).startswith(
        "silent: 1 recordings, 7 seconds, "
    )


def test_a_figure_that_is_not_there_is_a_dash(silent, tmp_path):
    index.write(tmp_path / "index.html", [silent[0]], {})
    shown = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<th>mean prominence</th><td>–, by chance" in shown
    rows = dict(report._data(*silent, {}, "")["summary"])
    assert rows["prominence: chance, mean"].endswith(", –") and rows["largest prominence"] == "–"
    assert "nan" not in shown + str(rows)


@pytest.mark.parametrize(
    ("keys", "said"), [(0, "None of 88 keys has"), (1, "1 of 88 keys has"), (2, "2 of 88 keys have")]
)
def test_how_many_keys_could_be_tested_is_a_sentence(keys, said):
    found = {"onsets": 50, "tested_keys": keys, "minutes_needed": None, "selective_units": [0]}
    assert index.why(found).startswith(said + " the 20 onsets that a test needs; ")
