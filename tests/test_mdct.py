"""Codecs of kind `mdct`: levels scale the quantiser, windows agree, and training among coefficients helps."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import small_model

from snn_codec import decoders
from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.metrics import si_snr
from snn_codec.models.mdct import MdctDecoder, MdctEncoder
from snn_codec.parallel import fabric_of
from snn_codec.thermometer import Layout
from snn_codec.training.coefficients import CoefficientsPhase
from snn_codec.training.gan import GanPhase
from snn_codec.training.phase import Setup
from snn_codec.training.sampled import SampledPhase

RATE = 22050
PART = config.Mdct(width=64, refined=32, channels=4, blocks=1)
THERMOMETER = config.Thermometer(edges=(16, 64), thresholds=(12, 5), uniform=4, scales=3)


def model(**changes):
    settings = {
        "hop": 256,
        "units": Layout(THERMOMETER.edges, THERMOMETER.thresholds).units,
        "encoder": PART,
        "bottleneck": THERMOMETER,
        "decoder": PART,
        "chunk_steps": 16,
        "margin_steps": 6,
        "levels": 32,
    }
    return config.Model(**(settings | changes))


def codec(seed=0, **changes):
    torch.manual_seed(seed)
    made = Codec(model(**changes))
    with torch.no_grad():
        made.decoder.output.weight.normal_(0, 0.02)
    return made.eval()


def tones(samples, seed=0):
    random = np.random.default_rng(seed)
    t = np.arange(samples) / RATE
    partials = [random.uniform(0.1, 1) * np.sin(2 * np.pi * f * t + f) for f in random.uniform(100, 2000, 6)]
    return (0.1 * sum(partials) * (0.3 + np.abs(np.sin(3 * t)))).astype(np.float32)


@pytest.mark.parametrize("hop", [512, 1024, 2048])
def test_without_a_bottleneck_the_audio_comes_back(hop):
    part = config.Mdct(width=hop, refined=hop)
    audio = torch.from_numpy(tones(5 * hop))[None]
    encoder, decoder = MdctEncoder(hop, part), MdctDecoder(hop, part)
    level = torch.full((1, 1), 3.0)
    assert torch.allclose(decoder(encoder(audio, level), level), audio, atol=1e-6)


def test_the_level_scales_the_quantisers_step_continuously():
    made, audio = codec(), tones(40 * 256)
    events = [made.encode(audio, RATE, level=level).n_events for level in (0, 7, 7.125, 14, 31)]
    assert events == sorted(events, reverse=True) and len(set(events)) > 3
    features = [made.analyse(torch.from_numpy(audio)[None], torch.full((1, 1), float(x))) for x in (3, 10)]
    assert torch.allclose(features[0], 2 * features[1], rtol=1e-5)  # seven levels double the step


def test_finer_levels_decode_better():
    made, audio = codec(), tones(60 * 256)
    with torch.no_grad():
        made.decoder.output.weight.zero_()
    quality = [si_snr(made.decode(made.encode(audio, RATE, level=level)), audio) for level in (14, 21, 28)]
    assert quality[0] > quality[1] + 2 > quality[2] + 4


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 16 * 256, 16 * 256 + 1, 50 * 256 + 77])
def test_events_and_sound_are_the_same_however_audio_is_cut(samples):
    made, audio = codec(), tones(samples)
    whole = made.encode(audio, RATE, level=4)
    blocks = (audio[at : at + 777] for at in range(0, samples, 777))
    assert made.encode_blocks(blocks, RATE, level=4, batch_size=3) == whole
    decoded = made.decode(whole)
    assert decoded.shape == (samples,)
    assert np.array_equal(np.concatenate(list(made.decode_blocks(whole))), decoded)


def test_inner_chunks_decode_as_the_whole_recording_in_one_piece():
    """The refinement and the transform see no further than the margin."""
    made, audio = codec(), tones(64 * 256)
    events = made.encode(audio, RATE, level=2)
    flat = events.replace(loudness=np.full_like(events.loudness, events.loudness.max()))
    features = made.reconstruct(torch.from_numpy(flat.events[None].astype(np.float32)))
    with torch.no_grad():
        whole = made.decoder(features, torch.full((1, 1), 2.0))[0].numpy()
    gain = 10 ** ((int(flat.loudness[0]) - 160) / 20)
    assert np.allclose(made.decode(flat), whole * gain, atol=1e-5)


def test_without_gradients_events_and_read_out_are_the_same():
    made = codec()
    features = made.analyse(torch.from_numpy(tones(20 * 256))[None], torch.zeros(1, 1))
    with torch.no_grad():
        few, read = made.bottleneck.encode(features), made.bottleneck.quantise(features)
    every = made.bottleneck.encode(features)
    assert torch.equal(few, every.detach()) and few.any()
    assert torch.allclose(made.bottleneck.decode(every).detach(), read, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(made.bottleneck.decode(few), read, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_without_gradients_the_refinement_is_the_same(steps):
    """Though it is worked out only where there are events: anywhere, nowhere, at the first and the last bin."""
    made = codec()
    read = torch.zeros(3, steps, 64)
    read[0] = torch.from_numpy(np.random.default_rng(0).integers(-3, 4, (steps, 64)))
    read[1, steps // 2, [0, 31]] = torch.tensor([2.0, -5.0])
    octaves = torch.linspace(-1, 2, steps)[None, :, None].expand(3, steps, 1)
    with torch.no_grad():
        for parameter in made.decoder.parameters():
            parameter.normal_(0, 0.3)
        few = made.decoder.correction(read, octaves)
    whole = made.decoder.correction(read, octaves).detach()
    assert torch.allclose(few, whole, atol=1e-4 * whole.abs().max()) and whole.abs().max() > 0.1


def test_without_gradients_events_are_listed():
    """Lists of events, and the read-out of such a list, are those of the dense way."""
    made = codec()
    features = made.analyse(
        torch.from_numpy(np.stack([tones(20 * 256, n) for n in (0, 1)])), torch.zeros(2, 1)
    )
    with torch.inference_mode():
        dense = made.quantise(features)
        lists = made.quantise_sparse(features)
        for spikes, events in zip(dense, lists, strict=True):
            assert np.array_equal(spikes.numpy() > 0.5, events.window(0, 20)) and events.n_events
            assert torch.equal(made.dequantise(spikes[None]), made.dequantise_sparse(events))


@pytest.mark.parametrize("build, expected", [(codec, 1), (lambda: Codec(small_model()).eval(), 3)])
def test_threads_work_where_steps_are_large(build, expected, monkeypatch):
    """Listed events take many small steps, for which threads would wait longer than they work."""
    made = build()
    threads, seen, analyse, synthesise = torch.get_num_threads(), set(), made.analyse, made.synthesise

    def watched(compute):
        def compute_and_tell(*given, **named):
            seen.add(torch.get_num_threads())
            return compute(*given, **named)

        return compute_and_tell

    monkeypatch.setattr(made, "analyse", watched(analyse))
    monkeypatch.setattr(made, "synthesise", watched(synthesise))
    try:
        torch.set_num_threads(3)
        made.decode(made.encode(tones(20 * 256), RATE))
        assert seen == {expected} and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_a_batch_is_learned_through_surrogate_gradients():
    """Thresholds, scales, read-out and refinement all move, and the error falls."""
    made = codec().train()
    audio = torch.from_numpy(np.stack([tones(16 * 256, seed) for seed in range(2)])) * 8
    optimiser = torch.optim.Adam(made.parameters(), 0.01)
    before = {name: value.detach().clone() for name, value in made.named_parameters()}
    losses = []
    for _ in range(25):
        output = made(audio, torch.full((2, 1), 12.0))
        loss = (output.audio - audio).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    still = [name for name, value in made.named_parameters() if torch.equal(value, before[name])]
    assert still == []


def test_all_that_is_trained_among_coefficients_has_a_gradient(monkeypatch):
    """Several devices wait for the gradient of every parameter that requires one."""
    setup = Setup(
        config.Config(model(), config.Training(), config.Coefficients()),
        fabric_of("--accelerator", accelerator="cpu", devices=1),
        None,
    )
    phase = CoefficientsPhase(setup)
    reached = []
    monkeypatch.setattr(
        phase.optimisation,
        "step",
        lambda step: reached.extend(
            p.grad is not None for p in phase.optimisation.network.parameters() if p.requires_grad
        ),
    )
    phase.train_step(0, torch.randn(2, 16 * 256), logged=False)
    assert reached and all(reached)


def test_a_saved_model_loads_with_the_same_fingerprint(tmp_path):
    made = codec()
    made.save(tmp_path / "model")
    again = Codec.load(tmp_path / "model")
    audio = tones(3000)
    assert again.fingerprint == made.fingerprint and again.encode(audio, RATE) == made.encode(audio, RATE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"units": 80}, "has 864 units"),
        ({"hop": 32}, "as many bins"),
        ({"decoder": dataclasses.replace(PART, refined=65)}, "refined no more than width"),
    ],
)
def test_settings_that_contradict_are_refused(changes, words):
    with pytest.raises(UserError, match=words):
        Codec(model(**changes))


def test_edges_that_do_not_rise_are_refused():
    with pytest.raises(UserError, match="edges must rise"):
        config.Thermometer(edges=(5, 3), thresholds=(2, 2))


def later_phase(kind, tmp_path, settings):
    """A phase that trains a decoder for a small codec of this kind, and the codec."""
    made = codec()
    made.save(tmp_path / "codec")
    fabric = fabric_of("--accelerator", accelerator="cpu", devices=1)
    crops = [torch.from_numpy(tones(16 * 256, seed)) for seed in range(16)]
    setup = Setup(
        config.Config(made.settings, config.Training(), settings), fabric, crops, str(tmp_path / "codec")
    )
    return kind(setup), made, torch.stack(crops[:4])


def test_further_decoders_are_trained_on_sound_at_the_level_of_its_events(tmp_path):
    """Their decoder applies the level: without it, the sound would be as soft as the level is high."""
    adversarial, made, batch = later_phase(
        GanPhase, tmp_path, config.Gan(discriminators=config.Discriminators((256,), channels=2))
    )
    level = adversarial.setup.level_prompts(3, batch)
    with torch.no_grad():
        expected = made.synthesise(
            made.dequantise(made.quantise(made.analyse(batch, level), level), level), level
        )
        torch.testing.assert_close(adversarial._decoded(3, batch)[0], expected)
    flow, _, _ = later_phase(SampledPhase, tmp_path / "flow", config.Flow(window=512, width=8, blocks=1))
    torch.testing.assert_close(flow._plain(3, batch, flow.features(3, batch)), expected)


def test_a_flow_whose_frames_are_no_whole_steps_is_refused():
    with pytest.raises(UserError, match=r"not of 384; use --set phase.window=512"):
        decoders.build(config.Flow(window=384), codec())
