"""Stimuli of a listening test: as loud, as long and as late as each other, and told apart by nothing."""

import json
import re

import numpy as np
import pytest
import soundfile
from conftest import tones
from scipy import signal

from snn_codec.cli import main
from snn_codec.errors import UserError
from snn_codec.listening import build, conditions, signals
from snn_codec.listening.signals import RATE
from snn_codec.metrics import si_snr

BUILT_IN = {"reference", "anchor35", "anchor70", "degraded"}


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """A quiet stereo item at 44.1 kHz, and a loud one that is longer than an excerpt."""
    folder = tmp_path_factory.mktemp("items")
    sound = 0.1 * tones(1.5, 44100, seed=1)
    soundfile.write(folder / "quiet.wav", np.stack([sound, sound], 1), 44100)
    soundfile.write(folder / "loud.flac", np.tanh(5 * tones(4, 22050, seed=2)), 22050)
    return folder


@pytest.fixture(scope="module")
def made(items, checkpoint, tmp_path_factory):
    """A test with our model, and the same recordings made late and quieter by another program."""
    renders = tmp_path_factory.mktemp("renders")
    for path in items.iterdir():
        sound, rate = soundfile.read(path, always_2d=True)
        late = np.pad(sound[:, 0], (rate // 100, 0))
        soundfile.write(renders / f"{path.stem}.wav", 0.3 * late, rate, subtype="FLOAT")
    output = tmp_path_factory.mktemp("tests") / "mine"
    assert main(["listen", "build", "--items", str(items), "--seconds", "2", "-o", str(output),
                 "--conditions", f"small={checkpoint},late={renders}"]) == 0  # fmt: skip
    return output


def sounds(made):
    """Samples by item and condition."""
    key = json.loads((made / "key.json").read_text())
    read = {
        (version["item"], version["condition"]): soundfile.read(made / "audio" / f"{token}.wav")[0]
        for token, version in key["versions"].items()
    }
    return read, key


@pytest.mark.parametrize(("frequency", "lufs"), [(997, -3.01), (100, -4.84)])
def test_loudness_of_a_sine_is_that_of_the_standard(frequency, lufs):
    """BS.1770-4: 0 dB at 997 Hz reads -3.01; at 100 Hz the weighting takes 1.14 dB and gives no 0.69 dB."""
    time = np.arange(4 * RATE) / RATE
    assert signals.loudness(np.sin(2 * np.pi * frequency * time)) == pytest.approx(lufs, abs=0.05)


def test_loudness_leaves_pauses_out_and_silence_has_none():
    tone = np.sin(2 * np.pi * 997 * np.arange(4 * RATE) / RATE)
    quiet = np.concatenate([tone, 1e-3 * tone, np.zeros(8 * RATE)])
    assert signals.loudness(quiet) == pytest.approx(-3.01, abs=0.3)
    assert signals.loudness(np.zeros(RATE)) == -np.inf == signals.loudness(tone[:1000])


@pytest.mark.parametrize("late", [-700, 0, 1, 4321])
def test_lag_is_found_also_in_noise_and_beside_an_inverted_copy(late):
    random = np.random.default_rng(0)
    reference = random.standard_normal(RATE)
    moved = signals.shifted(reference, -late, RATE + 5000) + 0.3 * random.standard_normal(RATE + 5000)
    moved -= 2 * signals.shifted(reference, -2000, RATE + 5000)  # louder, but with the wrong sign
    assert signals.lag(moved, reference) == late
    assert len(signals.shifted(moved, late, RATE)) == RATE


@pytest.mark.parametrize("corner", [3500, 7000])
def test_anchors_are_as_steep_as_the_standard_asks_and_not_late(corner):
    impulse = np.zeros(RATE // 4)
    impulse[6000] = 1
    response = signals.low_pass(impulse, corner)
    assert np.argmax(response) == 6000
    frequency, gain = signal.freqz(response, fs=RATE, worN=1 << 15)
    decibels = 20 * np.log10(np.abs(gain) + 1e-12)
    assert np.abs(decibels[frequency <= corner]).max() < 0.1
    assert (
        decibels[frequency >= corner + 500].max() < -25 and decibels[frequency >= corner + 1000].max() < -50
    )


def test_every_version_has_the_loudness_length_and_delay_of_the_reference(made):
    read, key = sounds(made)
    assert {condition for _, condition in read} == BUILT_IN | {"small", "late"}
    for item, seconds in (("quiet", 1.5), ("loud", 2)):
        reference = read[item, "reference"]
        assert len(reference) == seconds * RATE
        for condition in BUILT_IN | {"small", "late"}:
            sound = read[item, condition]
            assert len(sound) == len(reference) and np.abs(sound).max() <= 0.99
            assert signals.loudness(sound) == pytest.approx(signals.loudness(reference), abs=0.1), condition
            assert abs(sound[0]) < 1e-3 and abs(sound[-1]) < 1e-3
        np.testing.assert_allclose(read[item, "late"], reference, atol=5e-3)  # to a fraction of a sample
    lags = {row["lag"] for row in key["versions"].values() if row["condition"] == "late"}
    assert lags == {479, 480}  # 220 samples at 22 050 Hz, 441 at 44 100 Hz
    rates = [row["kbps"] for row in key["versions"].values() if row["condition"] == "small"]
    assert all(3 < rate < 6 for rate in rates)


def test_the_hidden_reference_is_the_reference(made):
    _, key = sounds(made)
    for token, row in key["versions"].items():
        if row["condition"] == "reference":
            shown = made / "audio" / f"{key['references'][row['item']]}.wav"
            assert shown.read_bytes() == (made / "audio" / f"{token}.wav").read_bytes()


def test_files_tell_nothing(made):
    _, key = sounds(made)
    files = sorted((made / "audio").iterdir())
    assert len(files) == 2 * 6 + 2
    assert all(re.fullmatch(r"[0-9a-f]{16}\.wav", path.name) for path in files)
    assert len({path.stat().st_mtime for path in files}) == 1
    for item in key["references"]:
        tokens = [t for t, row in key["versions"].items() if row["item"] == item] + [key["references"][item]]
        assert len({(made / "audio" / f"{token}.wav").stat().st_size for token in tokens}) == 1
    told = (made / "webmushra.yaml").read_text()
    assert not any(
        name in told.replace("reference:", "") for name in ("small", "late", "anchor35:", "degraded")
    )


def test_webmushra_is_given_the_same_test(made):
    yaml = pytest.importorskip("yaml")
    _, key = sounds(made)
    (random, *pages), finish = yaml.safe_load((made / "webmushra.yaml").read_text())["pages"]
    assert (random, finish["type"]) == ("random", "finish")
    assert {page["id"] for page in pages} == {"quiet", "loud"}
    for page in pages:
        assert page["reference"] == f"audio/{key['references'][page['id']]}.wav"
        assert not page["createAnchor35"] and page["randomize"]
        assert len(page["stimuli"]) == 5  # it hides a reference itself
        for condition, code in key["codes"].items():
            token = page["stimuli"][code][6:-4]
            assert (key["versions"][token]["item"], key["versions"][token]["condition"]) == (
                page["id"],
                condition,
            )


def test_a_lower_rate_of_the_reference_takes_its_band(items, checkpoint, tmp_path):
    build.build(items, [str(checkpoint)], tmp_path / "t", seconds=1, reference_rate=8000)
    read, _ = sounds(tmp_path / "t")
    spectrum = np.abs(np.fft.rfft(read["quiet", "reference"]))
    assert spectrum[4200:].max() < 1e-2 * spectrum.max()  # 1 Hz a bin


@pytest.mark.parametrize("text", ["opus:12", "mp3:16"])
def test_other_codecs_are_rendered_in_time_and_at_their_rate(text):
    pytest.importorskip("av", reason="needs PyAV (the extra `listen`)")
    name, render = conditions.parse(text)
    sound = tones(2.0, RATE)
    rendered = render(conditions.Item("x", None, 0, 2, sound, RATE))
    assert name == text and not rendered.exact
    assert rendered.kbps == pytest.approx(int(text.split(":")[1]), rel=0.1)
    aligned = signals.shifted(rendered.audio, signals.lag(rendered.audio, sound), len(sound))
    assert np.corrcoef(aligned, sound)[0, 1] > 0.95


def test_a_model_is_heard_at_each_level_and_with_each_decoder_that_is_named():
    sound = tones(3.0, RATE)
    item = conditions.Item("x", None, 0, 3, sound, RATE)
    texts = "wide@4", "wide@20.5", "low=wide+filling@20.5"
    heard = {name: render(item) for name, render in conditions.parse_all(texts).items()}
    assert list(heard) == ["wide@4", "wide@20.5", "low"]
    fine, coarse, filled = heard.values()
    assert fine.kbps > 2 * coarse.kbps and len(fine.audio) == len(sound)
    assert si_snr(fine.audio, sound) > si_snr(coarse.audio, sound) + 6
    assert filled.kbps == pytest.approx(coarse.kbps, rel=0.2) and not np.array_equal(
        filled.audio, coarse.audio
    )


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["nothing"], "no such model"),
        (["opus:x"], "6 to 320 kbps"),
        (["reference=free"], "cannot name"),
        (["a b=free"], "cannot name"),
        (["free", "x/=free", "free"], "cannot name"),
        (["free", "free"], "two conditions"),
        (["wide@4", "low=wide@11", "wide@4"], "two conditions 'wide@4'"),
        (["wide@32"], "wide has the levels 0 to 31"),
        (["wide+gan@4"], "has no decoder 'gan'"),
        ([], "give 1 to 8"),
        ([f"c{n}=free" for n in range(9)], "give 1 to 8"),
    ],
)
def test_conditions_that_cannot_be(texts, said):
    with pytest.raises(UserError, match=said):
        conditions.parse_all(texts)


def test_items_that_cannot_be(items, checkpoint, tmp_path):
    model = str(checkpoint)
    for folder, settings, said in (
        (tmp_path / "none", {}, "no such folder"),
        (tmp_path, {}, "holds no recording"),
        (items, {"seconds": 13}, "give 1 to 12 s"),
        (items, {"start": 1}, "a second is the least"),
        (items, {"start": 100}, "a second is the least"),
        (items, {"start": float("nan")}, "from 0 s or later"),
        (items, {"start": float("inf")}, "from 0 s or later"),
        (items, {"seconds": float("nan")}, "give 1 to 12 s"),
        (items, {"reference_rate": -5}, "a reference rate of -5 Hz: give 1000 to 192000 Hz"),
        (items, {"reference_rate": 0}, "a reference rate of 0 Hz"),
    ):
        with pytest.raises(UserError, match=said):
            build.build(folder, [model], tmp_path / "out", **settings)
    soundfile.write(tmp_path / "silent.wav", np.zeros(44100), 22050)
    with pytest.raises(UserError, match=r"silent.wav: is silent as reference"):
        build.build(tmp_path, [model], tmp_path / "out")
    with pytest.raises(UserError, match="has 0 recordings named"):
        build.build(items, [f"other={tmp_path}"], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["silent.wav"]  # nothing half made
    with pytest.raises(UserError, match="exists already"):
        build.build(items, [model], tmp_path)
