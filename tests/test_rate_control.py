import io
import math
import weakref

import numpy as np
import pytest
import torch
from conftest import SMALL, small_model, tones
from test_mdct import codec as mdct_codec
from test_mdct import tones as mdct_tones

from snn_codec import audio
from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.levels import UNREACHED
from snn_codec.metrics import si_snr
from snn_codec.rate_control import at_quality, at_rate, kbps
from snn_codec.storage import spk

RATE = 22050
LEVELS = 16


@pytest.fixture(scope="module")
def mu():
    """A model that has learned nothing but what a level does to its density: its sound is that of the encoder."""
    torch.manual_seed(0)
    codec = Codec(
        small_model(
            encoder=SMALL,
            bottleneck=config.Spiking(groups=1),
            conformer=config.Conformer(layers=1, heads=2, feedforward=16, window=3),
            levels=LEVELS,
        )
    )
    audio = torch.randn(4, 64 * 512)
    for _ in range(20):
        codec(audio, torch.rand(4, 1) * (LEVELS - 1))
    with torch.no_grad():  # a direction that lowers all membranes alike
        down = torch.linalg.lstsq(codec.bottleneck.encode_weight, -torch.ones(80)).solution
        codec.before.prompt += torch.linspace(0, 6, LEVELS)[:, None] * down
        codec.after.prompt += torch.linspace(0, 1, LEVELS)[:, None]
    return codec.eval()


@pytest.fixture(scope="module")
def sound():
    return tones(20.0)


def size(codec, events):
    file = io.BytesIO()
    spk.write(file, events, entropy_model=codec.entropy_model)
    return len(file.getvalue())


def test_levels_change_the_rate_and_travel(mu, sound):
    rates = [size(mu, mu.encode(sound, RATE, level=level)) for level in (0, 5, 10, 15)]
    assert sorted(rates, reverse=True) == rates and rates[0] > 1.2 * rates[-1]
    events = mu.encode(sound, RATE, level=2.5)
    assert events.levels.tolist() == [20] * 4
    file = io.BytesIO()
    spk.write(file, events)
    file.seek(0)
    assert spk.read(file) == events


def test_a_chunk_is_coded_by_its_own_level_alone(mu, sound):
    mixed = mu.encode(sound, RATE, level=np.array([0, 120, 0, 120], np.uint8))
    low, high = (mu.encode(sound, RATE, level=level).events for level in (0, 15))
    np.testing.assert_array_equal(mixed.events[:, :256], low[:, :256])
    np.testing.assert_array_equal(mixed.events[:, 256:512], high[:, 256:512])


def test_levels_do_not_depend_on_blocks_or_batches(mu, sound):
    codes = np.array([0, 120, 60, 3], np.uint8)
    whole = mu.encode(sound, RATE, level=codes)
    blocks = [sound[start : start + 7001] for start in range(0, len(sound), 7001)]
    assert mu.encode_blocks(blocks, RATE, level=codes) == whole
    assert mu.encode(sound, RATE, level=codes, batch_size=3) == whole


def test_the_decoder_hears_the_level(mu, sound):
    events = mu.encode(sound, RATE, level=0)
    other = events.replace(levels=np.full(4, 120, np.uint8))
    assert np.abs(mu.decode(other) - mu.decode(events)).max() > 1e-4


@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
def test_a_rate_is_met_in_true_bytes(mu, sound, share):
    most, least = (size(mu, mu.encode(sound, RATE, level=level)) for level in (0, LEVELS - 1))
    wanted = (share * most + (1 - share) * least) * 8 / 20 / 1000
    found = at_rate(mu, lambda: [sound], RATE, wanted)
    assert found.kbps == pytest.approx(wanted, rel=0.05)
    assert found.kbps == size(mu, found.events) * 8 / found.events.duration / 1000


def test_of_all_that_is_tried_for_a_rate_the_nearest_alone_is_held(mu, sound, monkeypatch):
    made, held, encode = [], [], mu.encode_blocks

    def encoded(*args, **how):
        held.append(sum(each() is not None for each in made))
        events = encode(*args, **how)
        made.append(weakref.ref(events))
        return events

    monkeypatch.setattr(mu, "encode_blocks", encoded)
    most, least = (size(mu, mu.encode(sound, RATE, level=level)) for level in (0, LEVELS - 1))
    at_rate(mu, lambda: [sound], RATE, (most + least) / 2 * 8 / 20 / 1000)
    assert len(held) > 4 and max(held) == 1


def test_a_rate_out_of_reach_is_an_error_that_says_what_can_be_had(mu, sound):
    with pytest.raises(UserError, match="to .* kbps"):
        at_rate(mu, lambda: [sound], RATE, 50.0)
    with pytest.raises(UserError, match="more than 0"):
        at_rate(mu, lambda: [sound], RATE, float("nan"))


def test_a_quality_is_guaranteed_or_the_chunks_are_named(mu, sound):
    qualities = chunk_qualities(mu, mu.encode(sound, RATE, level=0), sound)
    floor = float(np.median(qualities))
    found = at_quality(mu, lambda: [sound], RATE, floor)
    measured = chunk_qualities(mu, found.events, sound)
    np.testing.assert_allclose(measured, found.si_snr, atol=1e-3)
    unreached = [number for number, code in enumerate(found.events.levels) if code == UNREACHED]
    assert unreached == found.unreached
    assert all(measured[n] >= floor for n in range(4) if n not in unreached)
    assert len(unreached) < 4


@pytest.mark.parametrize("peak", [3e-5, 3e-4, 1.5])
def test_a_quality_is_that_of_the_file_that_is_written(peak, tmp_path):
    made, recording = mdct_codec(), mdct_tones(96 * 256)
    recording *= np.float32(peak / np.abs(recording).max())
    events = made.encode(recording, RATE, level=14)
    wanted = si_snr(made.decode(events), recording)
    found = at_quality(made, lambda: [recording], RATE, wanted)
    audio.write(tmp_path / "back.wav", made.decode_blocks(found.events), RATE)
    back, _ = audio.read(tmp_path / "back.wav")
    chunk = found.events.chunk_steps * found.events.hop
    measured = [
        si_snr(back[at : at + chunk], recording[at : at + chunk]) for at in range(0, len(back), chunk)
    ]
    np.testing.assert_allclose(measured, found.si_snr, atol=1e-4)
    assert [n for n, quality in enumerate(measured) if quality < wanted] == found.unreached


def test_an_easy_quality_takes_the_fewest_bytes(mu, sound):
    found = at_quality(mu, lambda: [sound], RATE, -200.0)
    assert not found.unreached
    sizes = [size(mu, mu.encode(sound, RATE, level=level)) for level in range(LEVELS)]
    assert size(mu, found.events) <= min(sizes) * 1.01


def test_an_impossible_quality_names_every_chunk(mu, sound):
    found = at_quality(mu, lambda: [sound], RATE, 200.0)
    assert found.unreached == [0, 1, 2, 3]
    assert found.events.levels.tolist() == [UNREACHED] * 4
    np.testing.assert_array_equal(found.events.events, mu.encode(sound, RATE, level=0).events)


def test_silent_chunks_cost_nothing(mu):
    sound = np.concatenate([tones(5.944), np.zeros(131072, np.float32)])
    found = at_quality(mu, lambda: [sound], RATE, 200.0)
    assert found.events.levels[1] == (LEVELS - 1) * 8 and np.isnan(found.si_snr[1])


def test_models_without_levels_say_so(codec, sound):
    for call in (at_rate, at_quality):
        with pytest.raises(UserError, match="no levels"):
            call(codec, lambda: [sound], RATE, 1.0)


def test_a_quality_that_is_no_finite_number_is_not_tried(mu, sound):
    for asked in (math.nan, math.inf):
        with pytest.raises(UserError, match="give a finite"):
            at_quality(mu, lambda: [sound], RATE, asked)


def chunk_qualities(codec, events, sound):
    decoded = codec.decode(events)
    return [si_snr(decoded[i : i + 131072], sound[i : i + 131072]) for i in range(0, len(sound), 131072)]


def test_a_level_that_scales_the_quantiser_is_found_by_halving():
    made, recording = mdct_codec(), mdct_tones(96 * 256)

    def blocks():
        return [recording]

    wanted = si_snr(made.decode(made.encode(recording, RATE, level=14)), recording) - 1
    found = at_quality(made, blocks, RATE, wanted)
    assert not found.unreached and (found.si_snr >= wanted).all()
    worse = np.minimum(found.events.levels.astype(int) + 16, 248).astype(np.uint8)
    decoded = made.decode(made.encode(recording, RATE, level=worse))
    assert si_snr(decoded, recording) < found.si_snr.max()
    assert at_quality(made, blocks, RATE, 60.0).unreached == list(range(6))


def test_a_rate_of_such_a_model_takes_few_tries(monkeypatch):
    made, recording, tried = mdct_codec(), mdct_tones(200 * 256), []
    rate = kbps(made, made.encode(recording, RATE, level=15.25))
    encode = made.encode_blocks

    def counted(*args, **options):
        tried.append(options["level"])
        return encode(*args, **options)

    monkeypatch.setattr(made, "encode_blocks", counted)
    assert at_rate(made, lambda: [recording], RATE, rate).kbps == pytest.approx(rate, rel=0.05)
    assert len(tried) <= 7
