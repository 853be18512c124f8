"""The search of a thermometer: better at equal bytes, never worse by its own measure, the same in any blocks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from snn_codec import read_audio
from snn_codec.chunks import Grid, windows
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.metrics import si_snr
from snn_codec.models.thermometer import Thermometer
from snn_codec.rate_control import at_quality, at_rate, kbps
from snn_codec.rate_distortion import Choice
from snn_codec.search import Search, searcher
from snn_codec.storage.entropy_model import Side

RATE = 22050
RECORDING = Path(__file__).parent.parent / "data/recording/bach-bwv846.flac"


@pytest.fixture(scope="module")
def wide():
    return Codec.load("wide")


@pytest.fixture(scope="module")
def sound():
    audio, rate = read_audio(RECORDING)
    assert rate == RATE
    return audio[: 14 * RATE]


@pytest.fixture(scope="module")
def found(wide, sound):
    return wide.encode(sound, RATE, level=6, search=1)


def rated(codec, events, sound):
    return np.log2(kbps(codec, events)), si_snr(codec.decode(events), sound)


def test_it_is_better_than_other_levels_at_equal_bytes(wide, sound, found):
    plain = [rated(wide, wide.encode(sound, RATE, level=level), sound) for level in (8, 7, 6, 5, 4)]
    bytes_, quality = rated(wide, found, sound)
    assert quality > np.interp(bytes_, *np.transpose(plain)) + 0.05


def test_events_do_not_depend_on_blocks_batches_or_threads(wide, sound, found):
    blocks = [sound[start : start + 9001] for start in range(0, len(sound), 9001)]
    assert wide.encode_blocks(blocks, RATE, level=6, search=1, batch_size=3) == found
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        assert wide.encode(sound, RATE, level=6, search=1) == found
    finally:
        torch.set_num_threads(threads)


def test_a_chunk_alone_has_the_events_that_it_has_among_others(wide, sound, found):
    choice, codes = searcher(wide, 1, wide.entropy_model), np.full(3, 48, np.uint8)
    window = list(windows([sound], Grid.of(wide.settings)))[1]
    events, decoded = choice(window, codes, choice.nothing())
    assert np.array_equal(events.indices(), found.cells.part(64, 128).indices())
    samples = slice(window.before * 2048, (window.before + window.steps) * 2048)
    assert si_snr(decoded[samples], window.audio[samples]) > 15


def test_what_it_counts_is_what_the_code_costs(wide, sound):
    window = next(iter(windows([sound], Grid.of(wide.settings))))
    counted = []

    class Watched(Choice):
        def _pass(self, target, chunks):
            signed, bits = super()._pass(target, chunks)
            counted.append((signed[0], bits[0]))
            return signed, bits

    choice = Watched(wide, 2, wide.entropy_model)
    choice(window, np.full(3, 48, np.uint8), None)
    for signed, bits in counted:
        real = wide.entropy_model.bits(choice.layout.cells(signed), Side(window.loudness, 48))
        assert bits == pytest.approx(real, rel=1e-9)


def test_it_is_never_worse_than_the_encoders_events(wide, sound):
    """By the refined coefficients' error and the price of the bits; and the higher the price, the fewer the events."""
    window = next(iter(windows([sound], Grid.of(wide.settings))))
    step = wide.settings.encoder.finest * 2 ** (10 / 7)
    level = wide.level_tensor(np.array([[80]], np.uint8))

    def score(events, price):
        with torch.inference_mode():
            coefficients = wide.decoder.coefficients(wide.dequantise_sparse(events, level), level)[0]
            features = wide.analyse(torch.from_numpy(window.audio[None]), level)[0, : window.steps]
        error = (
            (features - coefficients / step)[:-2].square().sum().item()
        )  # the last two see the next chunk's
        return error + price * wide.entropy_model.bits(events, Side(None, 80))

    plain, counts = wide.encode(sound, RATE, level=10).cells.part(0, 64), []
    for price in (0.0, 0.065, 0.5):
        found, _ = Choice(wide, 2, wide.entropy_model, price)(window, np.full(3, 80, np.uint8), None)
        assert score(found, price) < score(plain, price)
        counts.append(len(found.indices()[0]))
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize("samples", [1, 700, 64 * 2048 + 1])
def test_short_and_silent_sounds(wide, sound, samples):
    for audio in (np.zeros(samples, np.float32), sound[:samples]):
        events = wide.encode(audio, RATE, search=2)
        assert events.n_samples == samples and np.isfinite(wide.decode(events)).all()


def test_a_rate_and_a_quality_can_be_met_with_it(wide, sound):
    audio = sound[: 6 * RATE]
    rated_ = at_rate(wide, lambda: [audio], RATE, 2.0, search=1)
    assert rated_.kbps == pytest.approx(2.0, rel=0.05)
    plain, found = (at_quality(wide, lambda: [audio], RATE, 14.0, search=search) for search in (0, 1))
    assert (found.si_snr >= 14).all() and kbps(wide, found.events) < kbps(wide, plain.events)


def test_a_long_search_ends_when_a_pass_brings_nothing(wide, sound):
    window, passes = next(iter(windows([sound], Grid.of(wide.settings)))), []

    class Watched(Choice):
        def _pass(self, target, chunks):
            passes.append(len(chunks))
            return super()._pass(target, chunks)

    Watched(wide, 1000, wide.entropy_model)(window, np.full(3, 48, np.uint8), None)
    assert 1 < len(passes) < 20


def test_without_an_entropy_model_there_is_no_search(wide):
    with pytest.raises(UserError, match="needs the checkpoint's entropy model"):
        searcher(wide, 1, None)
    with pytest.raises(UserError, match="1 to 1000 steps, not 1001"):
        searcher(wide, 1001, wide.entropy_model)


def test_other_models_have_the_search_by_gradients(codec):
    assert type(searcher(codec, 1)) is Search and not hasattr(Thermometer, "search_step")
