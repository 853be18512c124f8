"""The entropy model of a thermometer: lossless, causal, the same in floats and integers, the same bits everywhere."""

import hashlib
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
import soundfile
import torch
from safetensors.numpy import save_file
from test_mdct import codec, tones
from threadpoolctl import threadpool_info, threadpool_limits

from snn_codec.errors import UserError
from snn_codec.models.lapped import phase
from snn_codec.storage.entropy import EntropyError
from snn_codec.storage.entropy_model import Coded, EntropyModel, Side
from snn_codec.storage.entropy_model.thermometer import ThermometerModel
from snn_codec.storage.entropy_model.thermometer_coding import cells_of
from snn_codec.storage.entropy_model.thermometer_inputs import (
    PASSES,
    Past,
    Pasts,
    log_magnitudes,
    turns,
)
from snn_codec.storage.entropy_model.thermometer_network import Steps
from snn_codec.thermometer import Layout
from snn_codec.training.thermometer_rate import ThermometerNetwork, ThermometerRateTraining, train, train_for

EDGES, COUNTS, BINS = (12, 24), (5, 2), 24
LAYOUT = Layout(EDGES, COUNTS)
LEVEL_STEPS = 2.0 ** (np.arange(4) / 2)


def network(seed=0, scale=0.4):
    torch.manual_seed(seed)
    made = ThermometerNetwork(LAYOUT, LEVEL_STEPS, 8, (5, 7))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += scale * torch.randn_like(parameter)
    return made


@pytest.fixture(scope="module")
def model():
    return network().integers(EDGES, COUNTS, "0123456789abcdef")


def magnitudes(steps, seed=0, often=0.4):
    random = np.random.default_rng(seed)
    signed = random.geometric(0.5, (steps, BINS)) * random.choice([-1, 1], (steps, BINS))
    most = np.repeat(COUNTS, np.diff([0, *EDGES]))
    return (np.clip(signed, -most, most) * (random.random((steps, BINS)) < often)).astype(np.int16)


@pytest.mark.parametrize("often", [0.0, 0.05, 0.4, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 17])
def test_what_is_encoded_is_decoded(model, steps, often):
    events = LAYOUT.events(magnitudes(steps, often=often))
    for side in (Side(), Side(3, 0), Side(3, 5), Side(3, 24), Side(3, 255)):
        data = model.encode(events, side)
        assert np.array_equal(model.decode(data, steps, side), events)
        assert 8 * len(data) <= model.bits(events, side) + 16


def test_chunks_side_by_side_are_those_one_by_one(model):
    """Of any lengths, levels and order; and their codes are the same from lists of events."""
    shapes = [(3, None), (17, 8), (1, 0), (17, 24), (9, 255)]
    chunks = [(magnitudes(steps, n), Side(1, level)) for n, (steps, level) in enumerate(shapes)]
    coded = [Coded(model.encode(LAYOUT.events(m), side), len(m), side) for m, side in chunks]
    for one, (signed, side), cells in zip(coded, chunks, model.decode_several(coded), strict=True):
        assert np.array_equal(cells.window(0, one.steps), model.decode(*one))
        assert np.array_equal(LAYOUT.magnitudes(model.decode(*one)), signed)
        assert model.encode_sparse(cells, side) == one.data
    assert model.decode_several([]) == []


def test_products_of_numpy_take_one_thread(model, monkeypatch):
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    seen, rows = set(), Steps._rows

    def observed(*arguments):
        seen.update(threads())
        return rows(*arguments)

    monkeypatch.setattr(Steps, "_rows", observed)
    with threadpool_limits(2, "blas"):
        before = threads()
        coded = model.encode(LAYOUT.events(magnitudes(6)))
        model.decode(coded, 6)
        assert threads() == before
    if not before:
        pytest.skip("threadpoolctl does not know this NumPy's library of products")
    assert before != {1} and seen == {1}


def test_events_that_no_coefficient_makes_have_no_code(model):
    events = np.zeros((LAYOUT.units, 3), bool)
    events[1] = True
    assert model.encode(events) is None and model.bits(events) == np.inf


def test_its_file_is_read_back(model, tmp_path):
    model.save(tmp_path / "context.safetensors")
    again = EntropyModel.of(tmp_path, "0123456789abcdef")
    assert isinstance(again, ThermometerModel) and again.fingerprint == model.fingerprint


@pytest.mark.parametrize(("name", "value"), [("layout_edges", np.zeros(0)), ("known", np.zeros(()))])
def test_tensors_of_another_shape_are_named(model, tmp_path, name, value):
    tensors = model.tensors() | {name: value.astype(model.tensors()[name].dtype)}
    save_file(tensors, tmp_path / "a", {"format": model.KIND, "version": model.VERSION})
    with pytest.raises(UserError, match="a: is a damaged entropy model"):
        EntropyModel.load(tmp_path / "a")


def test_bits_are_those_of_the_float_network(model):
    signed = magnitudes(40)
    with torch.no_grad():
        floats = network()(signed[None], np.array([2]), slice(0, 40), BINS).item()
    assert model.bits(LAYOUT.events(signed), Side(None, 16)) == pytest.approx(floats, rel=0.02)


def test_a_step_is_coded_by_what_is_known_then(model):
    """Bits of the first steps are the same whatever follows."""
    signed = magnitudes(12)
    other = signed.copy()
    other[7:] = magnitudes(5, seed=9)
    cells = [cells_of(model.network, LAYOUT, part, Side(None, 8)) for part in (signed[:7], other[:7])]
    whole = cells_of(model.network, LAYOUT, signed, Side(None, 8))
    for part in cells:
        assert np.array_equal(part[1], whole[1][: len(part[1])])


def test_the_past_is_the_same_step_by_step_and_at_once():
    chunks = [magnitudes(9), magnitudes(9, seed=1)]
    past, at_once = Past(2, BINS, margin=3), [Pasts(signed, margin=3) for signed in chunks]
    for step in range(9):
        for number, whole in enumerate(at_once):
            assert np.array_equal(past.padded[number], whole.padded[step])
            assert np.array_equal(past.seen()[number], whole.seen()[step])
        assert np.array_equal(past.seen(), past.inputs.any(-1))
        past.add(np.stack([signed[step] for signed in chunks]))


def test_turns_are_the_signs_of_the_lapped_transforms_phase():
    for steps in (0, 1, 2):
        angle = phase(30) * (1 + 2 * steps)
        cosine, sine = turns(30, steps)
        assert np.array_equal(cosine, np.sign(torch.cos(angle).numpy()))
        assert np.array_equal(sine, np.sign(torch.sin(angle).numpy()))


def test_no_log_magnitude_is_near_a_rounding_border():
    values = 8 * np.log2(1 + np.arange(256))
    assert np.abs(values - np.floor(values) - 0.5).min() > 1e-3
    assert log_magnitudes()[[0, 1, 3, 255]].tolist() == [0, 8, 16, 64]


def test_every_bin_is_in_one_pass_and_sees_earlier_passes_only():
    bins = np.zeros(64, int)
    for chosen in PASSES:
        bins[chosen] += 1
    assert np.all(bins == 1)


def test_integers_stay_exact_in_float32(model):
    """The first layer, worked out in Python's integers and in fractions, is what float32 gives."""
    signed = magnitudes(6, often=1.0)
    past = Pasts(signed, model.past.shape[-1] // 2)
    network = model.network
    steps = Steps(network, past, network.at(np.full(6, 1)))
    bins = np.array([0, 11, 23])
    sums = steps.sums(0, np.full(3, 5), bins) + steps.biases.base[0, bins]
    padded = past.padded[5]
    for bin, row in zip(bins, sums, strict=True):
        for unit in range(8):
            exact = int(model.bias[unit, bin]) + int(model.level[1, unit])
            exact += sum(
                int(model.past[unit, c, tap]) * int(padded[bin + tap, c])
                for c in range(11)
                for tap in range(5)
            )
            assert Fraction(float(row[unit])) * 256 - 128 == exact  # 128 rounds


def test_weights_that_could_round_are_refused(model):
    parts = {name: getattr(model, name) for name in model.tensors()}
    parts["past"] = np.full_like(model.past, 32000)
    with pytest.raises(ValueError, match="too large to be exact"):
        ThermometerModel(**parts)
    parts = {name: getattr(model, name) for name in model.tensors()} | {"bias": model.bias[:, :-1]}
    with pytest.raises(ValueError, match="bias must be int32"):
        ThermometerModel(**parts)


def test_other_bytes_give_other_magnitudes_or_an_error(model):
    events = LAYOUT.events(magnitudes(9))
    data = model.encode(events)
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 16
        try:
            assert not np.array_equal(model.decode(bytes(damaged), 9), events)
        except EntropyError:
            pass


def test_the_code_is_the_same_on_every_machine(model):
    """Fixed weights and magnitudes, fixed bytes."""
    random = np.random.default_rng(3)
    parts = {
        name: random.integers(-300, 300, part.shape).astype(part.dtype) if name[:6] != "layout" else part
        for name, part in model.tensors().items()
    }
    data = ThermometerModel(**parts).encode(LAYOUT.events(magnitudes(20)))
    assert hashlib.sha256(data).hexdigest()[:16] == "b72c39763635b13e"


def test_training_makes_the_code_shorter():
    """Partials that go on from step to step, with signs that alternate."""
    random = np.random.default_rng(0)
    tones = np.zeros((12, 40, BINS), np.float32)
    for chunk in tones:
        chunk[:, random.integers(2, BINS - 2, 3)] = 3.0
        chunk[1::2] *= -1

    def quantise(coefficients, levels):
        return np.rint(np.clip(coefficients, -2, 2)).astype(np.int16)

    settings = ThermometerRateTraining(
        hidden=16, taps=(5, 7), steps=90, batch=4, frames=16, learning_rate=0.02
    )
    losses = []
    trained = train(tones, LAYOUT, quantise, LEVEL_STEPS, settings, progress=lambda *row: losses.append(row))
    again = train(tones, LAYOUT, quantise, LEVEL_STEPS, settings)
    signed = quantise(tones[0], None)
    bits = trained.integers(EDGES, COUNTS).bits(LAYOUT.events(signed))
    assert bits < 0.5 * np.count_nonzero(signed) * 3  # a sign and a further threshold alone are two bits each
    assert trained.integers(EDGES, COUNTS).fingerprint == again.integers(EDGES, COUNTS).fingerprint


def test_train_entropy_makes_the_model_of_a_codec(tmp_path):
    """The command's way: chunks of recordings, at any level, and kbps of the validation split."""
    made, music = codec(), tmp_path / "music"
    music.mkdir()
    for number in range(3):
        soundfile.write(music / f"{number}.wav", tones(60 * 256, number), 22050)
    paths, shown = sorted(music.glob("*.wav")), []

    @contextmanager
    def bar(text, total):
        yield lambda done: shown.append((text, done / total))

    model, lines = train_for(made, paths, paths[:1], hours=0.001, steps=100, seed=0, bar=bar)
    assert model.checkpoint == made.fingerprint and model.n_units == made.settings.units
    assert len(lines) == 6 and "level  0" in lines[1]
    assert max(done for _, done in shown) == 1 and len({text for text, _ in shown}) == 2
    events = made.encode(tones(16 * 256, 5), 22050, level=8)
    data = model.encode(events.events, Side(None, 64))
    assert np.array_equal(model.decode(data, events.n_steps, Side(None, 64)), events.events)
