"""The search for better events: better, priced, and the same however the sound arrives."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from conftest import settled, small_model, tones

from snn_codec import settings as config
from snn_codec.chunks import Grid, windows
from snn_codec.cli import main
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.evaluation import coders
from snn_codec.levels import UNREACHED
from snn_codec.metrics import si_snr
from snn_codec.rate_control import at_quality, at_rate
from snn_codec.search import Search

GRID = Grid(512, 256, 8)
RATE = 22050


@pytest.fixture(scope="module")
def sound():
    return tones(14.0)


@pytest.fixture(scope="module")
def found(codec, sound):
    return codec.encode(sound, RATE, search=6)


def quality(codec, events, sound):
    return si_snr(codec.decode(events), sound)


def test_events_decode_better_than_the_encoders(codec, sound, found):
    plain = codec.encode(sound, RATE)
    assert found.events.shape == plain.events.shape and found.fingerprint == plain.fingerprint
    assert 0.001 < (found.events != plain.events).mean() < 0.5
    assert quality(codec, found, sound) > quality(codec, plain, sound) + 0.1
    more = codec.encode(sound, RATE, search=25)
    assert quality(codec, more, sound) > quality(codec, found, sound)


def test_each_chunk_is_better_also_at_its_borders(codec, sound, found):
    decoded = {"plain": codec.decode(codec.encode(sound, RATE)), "found": codec.decode(found)}
    size = 256 * 512
    for start in (0, size - 8 * 512, size, 2 * size - 8 * 512):
        part = slice(start, start + (size if start % size == 0 else 16 * 512))
        assert si_snr(decoded["found"][part], sound[part]) > si_snr(decoded["plain"][part], sound[part])


def test_events_do_not_depend_on_blocks_batches_or_threads(codec, sound, found):
    blocks = [sound[start : start + 9001] for start in range(0, len(sound), 9001)]
    assert codec.encode_blocks(blocks, RATE, search=6) == found
    assert codec.encode(sound, RATE, search=6, batch_size=3) == found
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        other = torch.get_num_threads()
        assert codec.encode(sound, RATE, search=6) == found
        assert torch.get_num_threads() == other
    finally:
        torch.set_num_threads(threads)


def test_the_chunk_before_is_taken_as_it_was_stored(codec, sound, found):
    """A later chunk compensates for the events before it: others before it, others in it."""
    first, second, _ = windows([sound], GRID)
    search, none = Search(codec, 6), np.zeros(0, np.uint8)
    past, _ = search(first, none, torch.zeros(80, 0))
    chunk, _ = search(second, none, past[:, -8:])
    other, _ = search(second, none, 1 - past[:, -8:])
    np.testing.assert_array_equal(chunk.numpy() > 0.5, found.events[:, 256:512])
    assert not torch.equal(chunk, other)


def test_a_price_keeps_the_events_cheap(sound):
    codec = settled(small_model(bottleneck=config.Spiking(groups=1)))
    with torch.no_grad():  # a sparse raster, in which an event costs more than none
        codec.bottleneck.norms[0].bias -= 1.5
    (window,) = windows([sound[: 256 * 512]], GRID)
    none, past = np.zeros(0, np.uint8), torch.zeros(80, 0)
    amounts = [
        Search(codec, 10, price=price)(window, none, past)[0].sum().item() for price in (0.0, 3.0, 100.0)
    ]
    assert amounts == sorted(amounts, reverse=True) and amounts[0] > 1.05 * amounts[2]


def test_an_event_costs_what_the_entropy_model_says_or_else_its_unit_s_rate(codec):
    """Bits more with the event than without it, as a share of the bits of all cells."""
    spikes = torch.zeros(80, 4)
    spikes[0, 0] = 1
    model = SimpleNamespace(probabilities=lambda events: np.full(events.shape, 0.25))
    bits = 2 + 319 * np.log2(4 / 3)
    prices = Search(codec, 1, entropy_model=model)._prices(spikes)
    np.testing.assert_allclose(prices, np.full((80, 4), np.log2(3) / bits), rtol=1e-6)
    often, never = 1.5 / 5, 0.5 / 5
    bits = -np.log2(often) - 3 * np.log2(1 - often) - 316 * np.log2(1 - never)
    prices = Search(codec, 1)._prices(spikes)
    np.testing.assert_allclose(prices[0], np.full(4, np.log2((1 - often) / often) / bits), rtol=1e-6)
    np.testing.assert_allclose(prices[1:], np.full((79, 4), np.log2((1 - never) / never) / bits), rtol=1e-6)


def test_at_level_0_bits_have_no_price(prompted, sound):
    codec = Codec.load(prompted)
    (window,) = windows([sound[: 256 * 512]], GRID)

    def amount(code, price):
        return (
            Search(codec, 5, price=price)(window, np.full(3, code, np.uint8), torch.zeros(80, 0))[0]
            .sum()
            .item()
        )

    assert amount(0, 0.0) == amount(0, 300.0) and amount(UNREACHED, 300.0) == amount(0, 0.0)
    assert amount(120, 0.0) != amount(120, 300.0)


def test_a_codec_is_left_as_it_was(codec, sound, found):
    before = codec.fingerprint
    codec.train()
    try:
        assert codec.encode(sound, RATE, search=6) == found
        assert codec.training and codec.bottleneck.norms[0].training
    finally:
        codec.eval()
    assert codec.fingerprint == before and all(p.grad is None or not p.grad.any() for p in codec.parameters())


@pytest.mark.parametrize("samples", [1, 700, 256 * 512 + 1])
def test_short_and_silent_sounds(codec, samples):
    for sound in (np.zeros(samples, np.float32), tones(7.0)[:samples]):
        events = codec.encode(sound, RATE, search=2)
        assert events.n_samples == samples and np.isfinite(codec.decode(events)).all()


def test_rvq_can_be_searched_too(sound):
    pytest.importorskip("vector_quantize_pytorch")
    torch.manual_seed(0)
    codec = Codec(small_model(bottleneck=config.RVQ()))
    for _ in range(5):
        codec(torch.randn(4, 64 * 512))
    codec.eval()
    plain, found = codec.encode(sound, RATE), codec.encode(sound, RATE, search=8)
    assert quality(codec, found, sound) > quality(codec, plain, sound) + 0.05


def test_neurons_that_remember_are_searched_as_they_fire(sound):
    leaky = config.Spiking(groups=2, beta=0.6, reset="subtract", threshold=0.5)
    codec = settled(small_model(bottleneck=leaky))
    (window,) = windows([sound[: 256 * 512]], GRID)
    search = Search(codec, 1)
    plain = codec.encode(sound[: 256 * 512], RATE)
    found, audio = search(window, np.zeros(0, np.uint8), torch.zeros(80, 0))
    assert 0 < (found.numpy() != plain.events).mean() < 0.5
    assert si_snr(audio, window.audio) >= si_snr(codec.decode(plain), sound[: 256 * 512]) - 1e-3


def test_what_cannot_be_searched(codec, sound):
    for steps in (-1, 100_000):
        with pytest.raises(UserError, match="1 to 1000 steps"):
            codec.encode(sound, RATE, search=steps)
    mel = Codec(
        small_model(
            encoder=config.Mel(channels=4, width=16), bottleneck=config.MelBits(), units=128, margin_steps=8
        )
    )
    with pytest.raises(UserError, match="mel_bits has no events"):
        mel.encode(sound, RATE, search=1)


def test_rate_and_guarantee_hold_with_a_search(prompted, sound):
    codec = Codec.load(prompted)
    rated = at_rate(codec, lambda: [sound], RATE, 2.5, search=2)
    assert rated.kbps == pytest.approx(2.5, rel=0.05)
    level = rated.events.levels[0] / 8
    assert rated.events == codec.encode(sound, RATE, level=level, search=2)

    def held(search, wanted):
        guaranteed = at_quality(codec, lambda: [sound], RATE, wanted, search=search)
        decoded = codec.decode(guaranteed.events)
        size = 256 * 512
        for chunk, start in enumerate(range(0, len(sound), size)):
            if chunk not in guaranteed.unreached:
                assert si_snr(decoded[start : start + size], sound[start : start + size]) >= wanted
        return guaranteed

    reached = codec.decode(codec.encode(sound, RATE, level=0))
    wanted = min(si_snr(reached[k : k + 256 * 512], sound[k : k + 256 * 512]) for k in (0, 256 * 512)) + 0.2
    alone, helped = held(0, wanted), held(4, wanted)
    assert len(helped.unreached) < len(alone.unreached)
    assert (helped.events.levels[helped.unreached] == UNREACHED).all()
    assert held(2, 99.0).unreached == [0, 1, 2]


def test_from_the_command_line(checkpoint, sound, tmp_path, capsys):
    path = tmp_path / "a.wav"
    soundfile.write(path, sound, RATE, subtype="FLOAT")
    asked = ["encode", str(path), "--model", str(checkpoint), "--json"]
    assert main([*asked, "-o", str(tmp_path / "a.spk"), "--search", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["seconds"] == pytest.approx(14)
    assert (
        main(["decode", str(tmp_path / "a.spk"), "--model", str(checkpoint), "-o", str(tmp_path / "b.wav")])
        == 0
    )
    assert main([*asked, "-o", str(tmp_path / "c.spk"), "--search", "-3"]) == 2
    assert "1 to 1000 steps, not -3" in capsys.readouterr().err and not (tmp_path / "c.spk").exists()


def test_evaluated_beside_the_encoders_events(checkpoint, prompted):
    clip = tones(256 * 512 / RATE)
    plain, found = (coders.load(f"{checkpoint}{more}") for more in ("", "+search:4"))
    assert found.asked.search == 4 and found.fingerprint == f"{plain.fingerprint}-search4"
    assert si_snr(found.code(clip).audio, clip) > si_snr(plain.code(clip).audio, clip)
    leveled = coders.load(f"{prompted}+search:2@3")
    assert (leveled.asked.level, leveled.asked.search) == (3, 2)
