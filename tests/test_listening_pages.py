"""The pages of listening tests in a real browser: a whole test is taken, and what sounds is measured."""

import base64
import json
import os
import shutil
import threading
from contextlib import closing

import numpy as np
import pytest
import soundfile
from conftest import tones

from snn_codec.cli import main
from snn_codec.listening import keys, results
from snn_codec.listening.build import build

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra `dev`)")
waitress = pytest.importorskip("waitress", reason="needs Flask and waitress (the extra `listen`)")
pytest.importorskip("flask", reason="needs Flask and waitress (the extra `listen`)")

from snn_codec.listening.server import HOST, application  # noqa: E402

pytestmark = pytest.mark.once

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run",
             "--autoplay-policy=no-user-gesture-required"]  # fmt: skip
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH")
    with playwright.sync_playwright() as run:
        launched = run.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def made(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("items")
    for number in range(2):
        soundfile.write(folder / f"piece{number}.wav", tones(2.0, seed=number), 22050)
    build(folder, [f"free={checkpoint}", f"sparse={checkpoint}"], folder / "test")
    return folder / "test"


@pytest.fixture(scope="module")
def address(made):
    server = waitress.create_server(application(made), host=HOST, port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield f"http://{HOST}:{server.effective_port}/"
    server.close()
    thread.join(10)


@pytest.fixture
def open_page(browser):
    """A page in a window of its own memory; whatever goes wrong in it fails the test."""
    contexts, problems = [], []

    def opened(address, viewport=DESKTOP, **options):
        context = browser.new_context(
            viewport=viewport, device_scale_factor=2 if viewport is PHONE else 1, **options
        )
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda said: said.type == "error" and "503" not in said.text and problems.append(said.text),
        )
        page.requests = []
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(address)
        contexts.append(context)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def begin(page):
    page.get_by_label("headphones").check()
    page.get_by_label("music").check()
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("heading", name="Training").wait_for()
    page.locator("input.score").first.wait_for()


def listen_and_rate(page, scores):
    """Play, hear every version by its key, and give it a score."""
    page.get_by_role("button", name="Play").click()
    for index, score in enumerate(scores):
        page.keyboard.press("ABCDEFGHIJKL"[index])
        page.locator("input.score").nth(index).fill(str(score))


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def screenshot(page, name):
    """Kept for a person to look at, if SNN_CODEC_SCREENSHOTS names a folder."""
    folder = os.environ.get("SNN_CODEC_SCREENSHOTS")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_whole_test_is_taken_and_analysed(made, address, open_page, viewport, tmp_path, request):
    name = request.node.callspec.id
    page = open_page(address, viewport)
    assert page.get_by_role("button", name="Begin").is_disabled()
    screenshot(page, f"{name}-1-welcome")
    begin(page)
    assert page.locator("input.score").count() == 6
    assert page.get_by_role("button", name="Start the test").is_disabled()
    listen_and_rate(page, [50] * 6)
    screenshot(page, f"{name}-2-training")
    page.get_by_role("button", name="Start the test").click()
    state = json.loads(page.evaluate("localStorage[memory.name]"))
    known = keys.read(made)["versions"]
    levels = {"reference": 100, "free": 70, "sparse": 60, "anchor70": 50, "anchor35": 30, "degraded": 5}
    for number, trial in enumerate(state["trials"]):
        page.get_by_text(f"Item {number + 1} of 2").wait_for()
        scores = [
            levels[known[version]["condition"]] + number - (number == 1) for version in trial["versions"]
        ]
        following = page.get_by_role("button", name="Finish" if number else "Next")
        page.get_by_text("To do: listen to A, B, C, D, E, F; rate A").wait_for()
        listen_and_rate(page, scores[:5])
        assert following.is_disabled() and page.get_by_text("To do: listen to F; rate F").is_visible()
        page.reload()  # nothing rated is lost, all must be heard again
        page.get_by_text("To do: listen to A, B, C, D, E, F; rate F").wait_for()
        listen_and_rate(page, scores)
        screenshot(page, f"{name}-{3 + number}-item")
        assert overflow(page) <= 0
        following.click()
    page.get_by_role("heading", name="Thank you").wait_for()
    screenshot(page, f"{name}-5-done")
    page.reload()
    assert page.get_by_role("heading", name="Thank you").is_visible()

    assert main(["listen", "export", str(made), "-o", str(tmp_path / "r.csv")]) == 0
    table = results.read(tmp_path / "r.csv")
    rater = table.raters.index(state["session"])
    assert {c: table.of(c)[rater].tolist() for c in table.conditions} == {
        c: [s, s] for c, s in levels.items()
    }
    assert all(url.startswith((address, "data:")) for url in page.requests)
    hints = ("anchor", "degraded", "sparse", "free", "piece", "reference")
    assert not any(hint in url for url in page.requests for hint in hints)
    source = page.content() + page.evaluate("JSON.stringify({...localStorage})")
    assert not any(hint in source for hint in ("anchor", "degraded", "sparse", "piece"))


def test_ratings_wait_in_the_browser_while_the_server_is_away(made, address, open_page):
    page = open_page(address)
    begin(page)
    state = json.loads(page.evaluate("localStorage[memory.name]"))
    page.evaluate(
        "state.results.forEach((r, n) => state.trials[n].versions.forEach((v) => (r.scores[v] = 1)))"
    )
    page.route("**/api/results", lambda route: route.fulfill(status=503, json={"error": "away"}), times=1)
    page.evaluate("go('sending')")
    page.get_by_text("could not be sent (away)").wait_for()
    page.get_by_role("button", name="Send again").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    assert json.loads(page.evaluate("localStorage[memory.name]"))["session"] == state["session"]
    page.evaluate("go('sending')")  # as if the answer had been lost
    page.get_by_role("heading", name="Thank you").wait_for()


def test_sounds_that_do_not_come_are_asked_for_again(address, open_page):
    page = open_page(address)
    page.route("**/audio/*.wav", lambda route: route.fulfill(status=503), times=1)
    page.get_by_label("headphones").check()
    page.get_by_label("music").check()
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("button", name="Try again").click()
    page.locator("input.score").first.wait_for()


def test_keys_play_switch_rate_and_loop(address, open_page):
    page = open_page(address)
    begin(page)
    press = page.keyboard.press

    def player(what):
        return page.evaluate(f"trial.player.{what}")

    assert not player("playing")
    press("Space")
    assert player("playing") and player("selected") == 0
    press("c")
    assert player("selected") == 3 and page.locator("input.score").nth(2).evaluate(
        "e => e === document.activeElement"
    )
    press("ArrowUp")
    press("PageDown")
    assert page.locator("output").nth(2).text_content() == "41"
    press("Space")  # the slider has the focus
    assert not player("playing")
    page.evaluate("trial.player.offset = 1.0")
    press(".")
    assert player("loop") == [0, 1]
    page.evaluate("trial.player.offset = 0.25")
    press(",")
    assert player("loop") == [0.25, 1]
    press("Escape")
    assert player("loop") == [0, 2]
    press("r")
    assert player("selected") == 0
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20)
    page.mouse.up()
    assert player("loop") == pytest.approx([1, 1.8], abs=0.02)


def rendered(page, script, seconds=1.0):
    """What an offline context of 48 kHz plays when `script` has used `player`; versions are in `sounds`."""
    text = page.evaluate(
        """async ([script, seconds]) => {
            const context = new OfflineAudioContext(1, 48000 * seconds, 48000);
            const version = (value) => {
                const buffer = context.createBuffer(1, 48000, 48000);
                buffer.getChannelData(0).forEach((_, n, samples) => (samples[n] = value(n)));
                return buffer;
            };
            new Function("context", "version", script)(context, version);
            const samples = (await context.startRendering()).getChannelData(0);
            let bytes = "";
            new Uint8Array(samples.buffer).forEach((byte) => (bytes += String.fromCharCode(byte)));
            return btoa(bytes);
        }""",
        [script, seconds],
    )
    return np.frombuffer(base64.b64decode(text), np.float32)


@pytest.fixture(scope="module")
def graph(browser, address):
    with closing(browser.new_page()) as page:
        page.goto(address)
        yield page


COUNTING = "const player = new Player(context, [version((n) => n / 48000), version((n) => -n / 48000)]);"


def test_switching_is_synchronous_to_the_sample(graph):
    """Versions that count samples, one up and one down, tell at every sample where in them it is."""
    sound = rendered(graph, COUNTING + "player.play(0.1); player.select(1, 0.3); player.select(0, 0.35);")
    start = 4800
    count = np.arange(len(sound) - start) / 48000
    np.testing.assert_array_equal(sound[:start], 0)
    settled = slice(480, 9600 - 1)  # after the fade at the start
    np.testing.assert_allclose(sound[start:][settled], count[settled], atol=1e-6)
    switched = slice(9600 + 241, 12000 - 1)
    np.testing.assert_allclose(sound[start:][switched], -count[switched], atol=1e-6)
    back = slice(12000 + 241, None)
    np.testing.assert_allclose(sound[start:][back], count[back], atol=1e-6)


def test_switching_between_equal_versions_is_inaudible(graph):
    sine = "version((n) => 0.5 * Math.sin(n / 10))"
    quiet = f"const player = new Player(context, [{sine}, {sine}, {sine}]); player.play(0.1);"
    switched = quiet + "for (let n = 0; n < 60; n++) player.select((n * 7) % 3, 0.12 + n * 0.0037);"
    np.testing.assert_allclose(rendered(graph, switched, 0.5), rendered(graph, quiet, 0.5), atol=1e-6)


@pytest.mark.parametrize(
    ("script", "turns"),
    [
        ("player.select(1, 0.3);", 2),
        ("player.select(1, 0.3); player.select(0, 0.302); player.select(1, 0.3031);", 2),
        ("player.select(1, 0.3); player.pause(0.302);", 3),
        ("player.pause(0.3); player.play(0.302);", 2),
        ("player.soon = () => 0.3; player.repeat(0.2, 0.8);", 2),
        ("player.soon = () => 0.3; player.seek(0.7);", 2),
    ],
    ids=["switch", "switch in a switch", "pause in a switch", "play in a pause", "new loop", "seek"],
)
def test_nothing_clicks(graph, script, turns):
    """Between versions that stay at +1 and -1 no step is larger than that of a line of 5 ms (a click would be 2)."""
    head = "const player = new Player(context, [version(() => 1), version(() => -1)]); player.play(0.1);"
    sound = rendered(graph, head + script, 0.6)
    assert np.abs(sound).max() <= 1 + 1e-6 and sound[10000] == pytest.approx(1)
    assert np.abs(np.diff(sound)).max() <= turns / 240 + 1e-5


def test_a_loop_repeats_whole_samples_and_fades_in_5_ms(graph):
    sound = rendered(graph, COUNTING + "player.repeat(0.25, 0.75); player.play(0);", 2.2)
    period, first, fade = 24000, 12000, 240
    inside = np.arange(first, first + period) / 48000
    envelope = np.minimum(1, np.minimum(np.arange(period), period - 1 - np.arange(period)) / fade)
    for turn in (1, 2, 3):
        np.testing.assert_allclose(sound[turn * period :][:period], inside * envelope, atol=1e-5)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_versions_are_compared_on_one_page(checkpoint, open_page, tmp_path, viewport, request):
    pytest.importorskip("matplotlib", reason="needs matplotlib (the extra `listen`)")
    sound = tones(3.0, 22050)
    soundfile.write(tmp_path / "a.wav", sound, 22050)
    soundfile.write(tmp_path / "late.flac", 0.5 * np.pad(sound, (2205, 0)), 22050)
    assert (
        main(
            ["encode", str(tmp_path / "a.wav"), "-o", str(tmp_path / "ours.spk"), "--model", str(checkpoint)]
        )
        == 0
    )
    names = [str(tmp_path / name) for name in ("a.wav", "late.flac", "ours.spk")]
    command = ["listen", "compare", *names, "--model", str(checkpoint), "-o", str(tmp_path / "page.html")]
    assert main(command) == 0
    assert main(command) == 2  # it exists
    page = open_page((tmp_path / "page.html").as_uri(), viewport)
    page.get_by_text("was 100.00 ms late, made 6.0 dB louder").wait_for()
    assert page.locator("img.raster").count() == 1 and page.locator("img").count() == 4
    assert all(
        width > 100 for width in page.locator("img").evaluate_all("all => all.map((e) => e.naturalWidth)")
    )
    difference = """() => {
        const [a, b, c] = player.buffers.map((buffer) => buffer.getChannelData(0));
        return [a.length, b.length, c.length, a.reduce((most, x, n) => Math.max(most, Math.abs(x - b[n])), 0)];
    }"""
    *lengths, largest = page.evaluate(difference)
    assert lengths == [3 * 48000] * 3 and largest < 2e-3
    page.keyboard.press("Space")
    page.keyboard.press("3")
    moving = "const look = () => (player.position() > 0.3 ? done() : requestAnimationFrame(look)); look();"
    page.evaluate(f"() => new Promise((done) => {{ {moving} }})")
    assert page.evaluate("[player.selected, player.playing]") == [2, True]
    page.locator(".strip").nth(1).click(position={"x": 200, "y": 50})
    assert page.evaluate("player.selected") == 1
    page.keyboard.press("Space")
    screenshot(page, f"{request.node.callspec.id}-6-compare")
    assert overflow(page) <= 0
    assert [url for url in page.requests if not url.startswith(("data:", "file:"))] == []
