"""The interactive page, in a browser: it plays, zooms, and shows what hovering and clicking should show."""

import base64
import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import tones
from test_study import matrix, recording, study

from snn_codec.analysis import readout, report
from snn_codec.analysis.rows import rows_of
from snn_codec.events import EventMatrix

BROWSER = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)


# Keeps where each upright text on a canvas is: canvas, text, left and right in CSS pixels, width of the canvas.
RECORD = """
window.texts = [];
const original = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const wide = this.measureText(text).width, left = x - {left: 0, center: wide / 2, right: wide}[this.textAlign];
  if (!this.getTransform().b) texts.push([this.canvas.id, text, left, left + wide, this.canvas.clientWidth]);
  original.call(this, text, x, y);
};
"""
TITLE = "A <b> & c</script><!--<script>"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """20 s of the planted recording; unit u < 5 fires with key 40 + u."""
    path = tmp_path_factory.mktemp("report") / "a.html"
    found = study((recording(seed) for seed in range(3)), "planted")
    _, events, score = recording(0)
    events = matrix(events.events[:, :862], loudness=False)
    sound = tones(20.0)
    report.write(path, found, events, score, {"original": sound, "decoded": sound / 2}, title=TITLE)
    return path, found, events, score


def test_steps_longer_than_a_window_have_a_spectrogram():
    sound = tones(5.0)
    events = EventMatrix(np.zeros((3, 27), bool), 22050, 4096, len(sound))
    assert report._spectrograms([sound], events)[0].shape == (report.BANDS, 27)
    assert readout.mel(sound, 22050, 4096, 40).shape == (40, 27)


def data_of(text):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])


def test_the_page_stands_alone(page_file):
    text = page_file[0].read_text(encoding="utf-8")
    outside = re.findall(
        r"(?:src|href)\s*=|https?://|@import|fetch\(|XMLHttpRequest", re.sub(r"audio\.src = ", "", text)
    )
    assert outside == []
    assert text.count("<!--") == 0 and text.count("<script") == text.count("</script>")
    data = data_of(text)
    assert data["title"] == TITLE and data["units"] == 12 and data["steps"] == 862
    notes = data["notes"]
    assert len(set(map(len, notes.values()))) == 1 and len(notes["key"]) > 50 and max(notes["step"]) < 862
    assert [sound["name"] for sound in data["sounds"]] == ["original", "decoded"]


def test_a_decoded_sound_that_is_softer_looks_softer(page_file):
    data = data_of(page_file[0].read_text(encoding="utf-8"))
    original, half = (
        np.frombuffer(base64.b64decode(sound["spectrogram"]), np.uint8).astype(int)
        for sound in data["sounds"]
    )
    assert original.max() == 255 and len(half) == report.BANDS * 862
    softer = (original - half)[half > 0] * 80 / 255  # decibels, of cells that are not at the floor
    assert softer == pytest.approx(20 * np.log10(2), abs=0.4)


def test_a_louder_sound_is_cut_at_the_loudest_of_the_first_and_silence_is_black():
    events, sound = matrix(np.zeros((3, 44), bool), loudness=False), tones(1.0)
    first, louder, silent = report._spectrograms([sound, 4 * sound, 0 * sound], events)
    assert first.max() == louder.max() == 255 and (louder >= first).all() and not silent.any()
    assert not report._spectrograms([0 * sound], events)[0].any()


def test_the_spectrogram_is_where_the_tone_is():
    time = np.arange(22050) / 22050
    events = matrix(np.zeros((3, 44), bool), loudness=False)
    cells = report._spectrograms([np.sin(2 * np.pi * 1000 * time)], events)[0]
    frequencies = np.geomspace(report.LOWEST_HZ, report.HIGHEST_HZ, report.BANDS)
    assert cells.shape == (report.BANDS, 44) and cells.max() == 255
    assert frequencies[cells[:, 20].argmax()] == pytest.approx(1000, rel=0.03)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip("no Chromium or Chrome on PATH (CHROMIUM=/path/to/it chooses one)")
    with playwright.sync_playwright() as program:
        # no sandbox, as tests may run as root; the page is ours
        launched = program.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield launched
        launched.close()


def opened(browser, path):
    shown = browser.new_page(viewport={"width": 1300, "height": 850})
    shown.add_init_script(RECORD)
    shown.errors = []
    shown.on("pageerror", lambda error: shown.errors.append(str(error)))
    shown.route("http*://**", lambda route: shown.errors.append(route.request.url))
    shown.goto(path.as_uri())
    shown.wait_for_function("report.drawn > 0")
    return shown


@pytest.fixture(scope="module")
def page(page_file, browser):
    return opened(browser, page_file[0])


def spot(page, expression):
    """A place in the window from `[x, y]` within the lanes."""
    box = page.locator("#lanes").bounding_box()
    x, y = page.evaluate(expression)
    return box["x"] + x, box["y"] + y


@pytest.mark.once
def test_it_draws(page):
    """Raster, roll and spectrogram are there: each lane has several colours, and the bits are the events."""
    for lane in ("sound", "roll", "raster"):
        colours = page.evaluate(
            f"""new Set(new Uint32Array(context.getImageData(60, lane.{lane}.y + 5, 600,
            lane.{lane}.h - 10).data.buffer)).size"""
        )
        assert colours > 1, lane
    assert page.title() == TITLE
    assert page.errors == []


@pytest.mark.once
def test_the_bits_are_the_events(page, page_file):
    cells = page.evaluate("Array.from({length: N}, (_, u) => Array.from({length: T}, (_, t) => fired(u, t)))")
    np.testing.assert_array_equal(np.array(cells, bool), page_file[2].events)


@pytest.mark.once
def test_it_plays_and_switches(page):
    page.click("#play")
    page.wait_for_function("report.audio.currentTime > 0.3", timeout=20_000)
    first = page.locator("#head").evaluate("e => e.getBoundingClientRect().x")
    page.get_by_role("button", name="decoded").click()
    assert page.get_by_role("button", name="decoded").get_attribute("aria-pressed") == "true"
    page.wait_for_function("report.audio.currentTime > 0.8 && !report.audio.paused", timeout=20_000)
    page.click("#play")
    page.wait_for_function("report.audio.paused")
    assert page.locator("#head").evaluate("e => e.getBoundingClientRect().x") > first
    assert page.evaluate("report.audio.duration") == pytest.approx(20.0, abs=0.05)
    x, y = spot(page, "[toX(5), lane.sound.y + 20]")
    page.mouse.click(x, y)
    page.wait_for_function("Math.abs(report.audio.currentTime - 5) < 0.1")
    assert page.errors == []


@pytest.mark.once
def test_hovering_shows_the_unit(page):
    page.mouse.move(*spot(page, "[toX(3), rowY(2) + 3]"))
    page.wait_for_function("report.state.unit === 2")
    assert page.inner_text("#unit-name") == "Unit 2"
    facts = page.inner_text("#unit-facts")
    assert re.search(r"best note\s+E♭4", facts) and re.search(r"latency\s+23 ms", facts)
    assert "unit 2" in page.inner_text("#tip")


@pytest.mark.once
def test_clicking_a_note_shows_its_units(page):
    """The first in the list is the unit planted on that key, and it counts."""
    place = page.evaluate("data.notes.key.findIndex((key, i) => key === 43 && data.notes.onset[i] > 1)")
    page.evaluate(f"look(data.notes.onset[{place}] - 1, 4)")
    page.mouse.click(*spot(page, f"[toX(data.notes.onset[{place}]) + 2, rollY(43) + 2]"))
    page.wait_for_function("report.state.note !== null")
    assert page.evaluate("data.notes.key[report.state.note]") == 43
    rows = page.locator("#note-table tbody tr")
    assert rows.first.inner_text().split()[:2] == ["●", "3"]
    rows.first.click()
    assert page.inner_text("#unit-name") == "Unit 3"
    page.click("#clear")
    assert page.evaluate("report.state.note === null && report.state.unit === null")


@pytest.mark.once
def test_a_note_that_is_too_rare_shows_no_table_and_its_hint_goes(page):
    hint = page.inner_text("#note-hint")
    # of no key anything is known for a moment
    page.evaluate("window.kept = z.slice(); z.fill(NaN); showNote(0); z.set(kept)")
    assert page.inner_text("#note-hint").startswith("Played too rarely") and page.is_hidden("#note-table")
    page.click("#clear")
    assert page.inner_text("#note-hint") == hint and page.is_hidden("#note-table")


@pytest.mark.once
def test_what_is_not_defined_is_a_dash_and_times_are_rounded_once(page):
    assert page.evaluate("[number(NaN, 4), number(null), number(-0.5, 1)]") == ["–", "–", "−0.5"]
    assert page.evaluate("[time(59.96, 1), time(59.94, 1), time(119.6, 0)]") == ["1:00.0", "0:59.9", "2:00"]


@pytest.mark.once
def test_zooming_keeps_the_place_under_the_cursor(page):
    page.click("#all")
    x, y = spot(page, "[toX(8), lane.raster.y + 50]")
    page.mouse.move(x, y)
    page.mouse.wheel(0, -600)
    page.wait_for_function("report.state.span < 8")
    assert page.evaluate("toTime(toX(8))") == pytest.approx(8)
    box = page.locator("#lanes").bounding_box()
    assert page.evaluate(f"toTime({x - box['x']})") == pytest.approx(8, abs=0.02)
    start = page.evaluate("report.state.start")
    page.mouse.down()
    page.mouse.move(x - 200, y, steps=4)
    page.mouse.up()
    assert page.evaluate("report.state.start") > start
    page.keyboard.press("Home")
    assert page.evaluate("report.state.start") == 0
    assert page.errors == []


@pytest.fixture(scope="module")
def bins_file(tmp_path_factory):
    """5 s of 12 bins up to 10 772 Hz, whose names are long; the pedal is down from 1 to 2 s."""
    path = tmp_path_factory.mktemp("bins") / "a.html"
    _, events, score = recording(0)
    found = study([("a", events, score)], "bins", rows=rows_of(np.linspace(10_761, 10_772, 12), 12, "bin"))
    pressed = replace(score, pedal=np.array([[22050, 44100]]))
    report.write(path, found, matrix(events.events[:, :215], loudness=False), pressed, {})
    return path


@pytest.mark.once
def test_no_label_is_cut_off(browser, bins_file):
    """Names of rows, first and last times to 10 ms, keys below the tuning: all within, names beside the word `band`."""
    page = opened(browser, bins_file)
    page.evaluate("texts.length = 0; look(1, 1.2); showUnit(3)")
    page.wait_for_function("texts.some(([id]) => id === 'lane')")
    texts = page.evaluate("texts")
    shown = {text for _, text, *_ in texts}
    assert {"10771 Hz", "0:01.00", "0:02.20", "C8"} <= shown
    assert [row for row in texts if row[2] < 0 or row[3] > row[4]] == []
    names = [left for _, text, left, *_ in texts if text.endswith("Hz")]
    assert names and min(names) >= 16
    assert page.errors == []


@pytest.mark.once
def test_the_legend_names_what_is_drawn(page, browser, bins_file):
    """Sound, notes and events of units; where rows are bands, their greys instead; the pedal where there is one."""
    assert page.locator("#legend > :visible").all_inner_texts() == [
        "−80 to 0 dB of the original sound's loudest", "notes, soft to loud", "event of a unit"
    ]  # fmt: skip
    bands = opened(browser, bins_file)
    assert bands.locator("#legend > :visible").all_inner_texts() == [
        "notes, soft to loud", "sustain pedal down", "1 to 32 or more units of a band fire at once"
    ]  # fmt: skip
