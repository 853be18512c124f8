"""The other shipped models do on the shipped recording what their cards say."""

import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from snn_codec import audio, checkpoints, rate_control
from snn_codec.codec import Codec
from snn_codec.levels import UNREACHED
from snn_codec.metrics import si_snr
from snn_codec.storage import spk

DATA = Path(__file__).parent.parent / "data"
RECORDING = DATA / "recording" / "bach-bwv846.flac"


@pytest.fixture(scope="module")
def sound():
    return audio.read(RECORDING)[0]


@pytest.fixture(scope="module", params=["free-plain", "sparse", "mu-sparse", "rvq", "wide"])
def model(request):
    if request.param == "rvq":
        pytest.importorskip("vector_quantize_pytorch")
    return request.param, Codec.load(request.param)


@pytest.fixture(scope="module")
def mu():
    return Codec.load("mu-sparse")


def test_cards_and_files_are_of_the_same_model(model):
    name, codec = model
    assert codec.fingerprint in (DATA / "checkpoints" / name / "README.md").read_text()
    assert checkpoints.shipped(codec.fingerprint) == name
    assert codec.entropy_model is not None and codec.entropy_model.checkpoint == codec.fingerprint


def test_their_files_are_smaller_than_dense_and_decode(model, sound):
    _, codec = model
    events = codec.encode(sound, 22050)
    file = io.BytesIO()
    spk.write(file, events, entropy_model=codec.entropy_model)
    assert events.kbps(len(file.getvalue())) < 0.99 * events.kbps(events.costs["dense"] / 8)
    file.seek(0)
    back = spk.read(file, entropy_model=codec.entropy_model)
    decoded = codec.decode(back)
    assert back == events and si_snr(decoded, sound) > 5
    # of its level and polarity, which SI-SNR does not tell
    assert 0.5 < decoded @ sound / (sound @ sound) < 1.1


def test_sparse_is_sparse_and_says_what_its_card_says(sound):
    codec = Codec.load("sparse")
    events = codec.encode(sound, 22050)
    assert events.density < 0.1
    assert rate_control.kbps(codec, events) < 0.9


@pytest.mark.parametrize("name", ["free", "sparse", "mu-sparse"])
def test_a_search_gains_quality_for_few_bytes(sound, name):
    codec, part = Codec.load(name), sound[: 300 * 512]
    plain, found = codec.encode(part, 22050), codec.encode(part, 22050, search=10)
    assert si_snr(codec.decode(found), part) > si_snr(codec.decode(plain), part) + 1.2
    assert rate_control.kbps(codec, found) < 1.1 * rate_control.kbps(codec, plain)


def test_levels_trade_bytes_for_quality(mu, sound):
    found = []
    for level in (0, 8, 14, 20, 26, 31):  # 0 to 6 are nearly one point
        events = mu.encode(sound, 22050, level=level)
        found.append((rate_control.kbps(mu, events), si_snr(mu.decode(events), sound), events.density))
    kbps, quality, density = np.transpose(found)
    assert (np.diff(kbps) < 0).all() and (np.diff(quality) < 0).all() and (np.diff(density) < 0.01).all()
    assert kbps[0] > 2.5 and kbps[-1] < 0.3


@pytest.mark.parametrize("wanted", [0.5, 1.0, 2.0, 2.5])
def test_rates_are_met(mu, sound, wanted):
    found = rate_control.at_rate(mu, lambda: [sound], 22050, wanted)
    assert found.kbps == pytest.approx(wanted, rel=0.05)


def test_a_quality_is_held(mu):
    blocks = partial(audio.read_blocks, RECORDING)
    found = rate_control.at_quality(mu, blocks, 22050, 6.0)
    sound, decoded = audio.read(RECORDING)[0], mu.decode(found.events)
    size = 256 * 512
    for number, start in enumerate(range(0, len(sound), size)):
        held = si_snr(decoded[start : start + size], sound[start : start + size]) >= 6
        assert held or number in found.unreached
    assert (found.events.levels == UNREACHED).sum() == len(found.unreached) < found.events.n_chunks


def test_wide_says_more_than_free_in_fewer_bytes(sound):
    """At the same true rate, and with a third of it."""
    free, wide = Codec.load("free"), Codec.load("wide")
    events = free.encode(sound, 22050)
    rate, quality = rate_control.kbps(free, events), si_snr(free.decode(events), sound)
    found = rate_control.at_rate(wide, lambda: [sound], 22050, rate)
    assert si_snr(wide.decode(found.events), sound) > quality + 7
    third = rate_control.at_rate(wide, lambda: [sound], 22050, rate / 3)
    assert si_snr(wide.decode(third.events), sound) > quality


def test_wide_is_a_thermometer_of_few_events(sound):
    wide = Codec.load("wide")
    events = wide.encode(sound, 22050, level=14)
    assert events.density < 0.002 and events.events_per_second < 800
    assert wide.bottleneck.layout.magnitudes(events.window(0, 64)) is not None
