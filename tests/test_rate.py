import numpy as np
import pytest
import torch
from rasters import bursty, raster

from snn_codec import corpus
from snn_codec.codec import Codec
from snn_codec.training import rate
from snn_codec.training.rate import ContextNetwork, RateTraining, bits_per_cell, events_of, train_context

QUICK = RateTraining(history=2, layers=(24,), steps=300, batch=8, crop_steps=64, learning_rate=1e-2)


def test_a_trained_model_costs_what_the_float_network_says_and_beats_the_adaptive_one():
    events, held_out = [bursty(20, 3000, seed) for seed in range(2)], [bursty(20, 1000, 2)]
    seen = []
    model = train_context(events, QUICK, progress=lambda step, bits: seen.append(bits))
    costs = bits_per_cell(held_out, model, 250)
    assert len(seen) == 3 and seen[-1] < 0.9 * seen[0]
    assert costs["learned"] < costs["adaptive"] < costs["counted"] < 1
    assert costs["learned"] == pytest.approx(
        sum(model.bits(held_out[0][:, start : start + 250]) for start in range(0, 1000, 250)) / 20_000
    )
    data = model.encode(held_out[0])
    np.testing.assert_array_equal(model.decode(data, 1000), held_out[0])


def test_integers_cost_what_floats_do():
    torch.manual_seed(0)
    network = ContextNetwork(12, 3, (16, 8))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    events = raster(12, 100, 0.3)
    bits = network(torch.from_numpy(events[None].astype(np.float32))).sum().item()
    assert network.integers().bits(events) == pytest.approx(bits, rel=5e-3)


def test_bits_are_causal_and_differentiable():
    torch.manual_seed(0)
    network = ContextNetwork(5, 2, (7,))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    spikes = torch.from_numpy(raster(5, 12, 0.5)[None].astype(np.float32)).requires_grad_()
    bits = network(spikes)
    assert bits.shape == spikes.shape and (bits > 0).all()
    for unit, step in ((0, 0), (2, 5), (4, 11)):
        (gradient,) = torch.autograd.grad(bits[0, unit, step], spikes, retain_graph=True)
        assert gradient[0, unit, step] != 0
        later = torch.ones(5, 12, dtype=torch.bool)
        later[:, :step] = False
        later[: unit + 1, step] = False
        assert not gradient[0][later].any()
        older = gradient[0, :, : max(0, step - 2)]
        assert not older.any()


def test_the_seed_decides_and_bad_input_is_refused():
    events = [bursty(6, 300)]
    short = RateTraining(history=1, layers=(4,), steps=20, batch=2, crop_steps=32)
    assert train_context(events, short).fingerprint == train_context(events, short).fingerprint
    for wrong in ([], [events[0], bursty(7, 300)]):
        with pytest.raises(ValueError, match="needs events"):
            train_context(wrong, short)


def test_events_to_learn_from_are_of_all_levels(prompted, music):
    codec = Codec.load(prompted)
    paths = corpus.paths(music, "train") * 3
    densities = [events.mean() for events in events_of(codec, paths, 1.0)]
    assert len(densities) == len(paths) and max(densities) > 1.3 * min(densities)


def test_a_short_recording_does_not_make_all_crops_short():
    random = np.random.default_rng(0)
    events = [np.zeros((3, 100), bool), np.zeros((3, 1), bool)]
    assert rate._crops(events, QUICK, random).shape == (8, 3, 64)
    assert rate._crops([*events[1:], events[0][:, :50]], QUICK, random).shape == (8, 3, 1)
