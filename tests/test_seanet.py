import copy
import math

import numpy as np
import pytest
import torch
from conftest import settled, small_model, tones
from safetensors.torch import load_file, save_file

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.models.seanet import SEANetDecoder, SEANetEncoder

PAPER = config.SEANet()
TINY = config.SEANet(filters=4, width=6, ratios=(4, 2), lstm_layers=1)
SHAPES = [(8, (4, 2)), (6, (3, 2)), (15, (5, 3)), (2, (2,))]


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def tiny(hop=8, kind=SEANetEncoder, **changes) -> torch.nn.Module:
    torch.manual_seed(0)
    return kind(hop, config.SEANet(**(vars(TINY) | changes)))


@pytest.mark.parametrize(("hop", "ratios"), SHAPES)
@torch.inference_mode()
def test_every_length_gives_whole_steps(hop, ratios):
    encoder, decoder = (tiny(hop, kind, ratios=ratios) for kind in (SEANetEncoder, SEANetDecoder))
    assert encoder.width == 6
    for samples in range(1, 5 * hop + 2):
        features = encoder(torch.randn(2, samples))
        assert features.shape == (2, -(-samples // hop), 6)
        assert decoder(features).shape == (2, features.shape[1] * hop)


def test_a_last_step_counts_as_filled_up_with_zeros():
    audio = torch.randn(1, 61)
    encoder = tiny()
    torch.testing.assert_close(encoder(audio), encoder(torch.nn.functional.pad(audio, (0, 3))))


@pytest.mark.parametrize("ratios", [(6, 8), (2, 4, 4), (2, 3, 8), (5, 3)])
@pytest.mark.parametrize("residual_blocks", [0, 1, 3])
def test_steps_are_aligned_with_samples(ratios, residual_blocks):
    """A step sees, and is heard, equally far on both sides of its samples (odd ratio: one more before)."""
    hop = math.prod(ratios)
    settings = {"ratios": ratios, "residual_blocks": residual_blocks, "lstm_layers": 0}
    encoder, decoder = (tiny(hop, kind, **settings).double() for kind in (SEANetEncoder, SEANetDecoder))
    audio = torch.randn(1, 21 * hop, dtype=torch.float64, requires_grad=True)
    (seen,) = torch.autograd.grad(encoder(audio)[0, 10].sum(), audio)
    features = torch.randn(1, 21, 6, dtype=torch.float64)
    changed = features.clone()
    changed[0, 10] += 1
    heard = (decoder(changed) - decoder(features)).abs()

    stride, before, after = 1, 3, 3
    for ratio in reversed(ratios):
        around = sum(2**i for i in range(residual_blocks))
        before += stride * (around + -(-ratio // 2))
        after += stride * (around + ratio // 2)
        stride *= ratio
    for touched in (seen, heard):
        samples = touched[0].nonzero()[:, 0]
        assert samples[0] == 10 * hop - before - 3 * hop
        assert samples[-1] == 11 * hop - 1 + after + 3 * hop


def test_the_papers_model_sees_1907_samples_around_a_step():
    torch.manual_seed(0)
    encoder = SEANetEncoder(512, config.SEANet(filters=2, width=1, lstm_layers=0)).double()
    audio = torch.randn(1, 11 * 512, dtype=torch.float64, requires_grad=True)
    (seen,) = torch.autograd.grad(encoder(audio)[0, 5].sum(), audio)
    samples = seen[0].nonzero()[:, 0]
    assert (samples[0], samples[-1]) == (5 * 512 - 1907, 6 * 512 + 1907 - 1)


def test_the_lstm_looks_backward_only():
    decoder = tiny(kind=SEANetDecoder)
    features = torch.randn(1, 40, 6)
    changed = features.clone()
    changed[0, 20] += 1
    touched = (decoder(changed) - decoder(features))[0].nonzero()[:, 0]
    assert touched[0] >= (20 - 5) * 8
    assert touched[-1] == 40 * 8 - 1


def test_the_papers_sizes():
    encoder, decoder = SEANetEncoder(512, PAPER), SEANetDecoder(512, PAPER)
    assert (parameters(encoder), parameters(decoder)) == (7_622_400, 7_622_626)
    with torch.inference_mode():
        features = encoder(torch.randn(1, 20 * 512))
        assert features.shape == (1, 20, 128)
        assert decoder(features).shape == (1, 20 * 512)


def test_published_encodec_has_as_many_parameters():
    """`transformers.EncodecModel(EncodecConfig())`, whose ratios are 8, 5, 4, 2, counted once."""
    settings = config.SEANet(ratios=(8, 5, 4, 2))
    assert parameters(SEANetEncoder(320, settings)) == 7_425_792
    assert parameters(SEANetDecoder(320, settings)) == 7_426_018


def test_gradients_reach_every_parameter():
    encoder, decoder = tiny(), tiny(kind=SEANetDecoder)
    decoder(encoder(torch.randn(2, 100))).square().sum().backward()
    for module in (encoder, decoder):
        for name, parameter in module.named_parameters():
            assert parameter.grad.abs().max() > 0, name


def test_one_batch_is_learned():
    encoder = tiny(filters=8, width=16)
    decoder = tiny(kind=SEANetDecoder, filters=8, width=16)
    audio = torch.from_numpy(np.stack([tones(0.05, seed=seed) for seed in range(2)])) * 5
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 3e-3)
    for _ in range(200):
        error = (decoder(encoder(audio))[:, : audio.shape[1]] - audio).square().mean() / audio.square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert error < 0.02


@pytest.mark.parametrize("kind", [SEANetEncoder, SEANetDecoder])
def test_copies_and_files_keep_the_model(kind, tmp_path):
    module = tiny(kind=kind)
    given = torch.randn(1, 50) if kind is SEANetEncoder else torch.randn(1, 7, 6)
    expected = module(given)
    copied = copy.deepcopy(module)
    save_file(module.state_dict(), tmp_path / "model.safetensors")
    for parameter in module.parameters():
        parameter.data.zero_()
    assert torch.equal(copied(given), expected)
    torch.manual_seed(1)
    loaded = kind(8, TINY)
    assert not torch.equal(loaded(given), expected)
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(loaded(given), expected)


@pytest.mark.parametrize("kind", [SEANetEncoder, SEANetDecoder])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ratios": (4, 4)}, "4 x 4 .* hop, 8"),
        ({"ratios": (8, 1)}, "2 or more"),
        ({"ratios": (-4, -2)}, "2 or more"),
        ({"ratios": ()}, "ratios: needs one value"),
        ({"filters": 1}, "filters: must be 2 or more, not 1"),
        ({"width": 0}, "width"),
        ({"residual_blocks": -1}, "residual_blocks"),
        ({"lstm_layers": -1}, "lstm_layers"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(kind, changes, words):
    with pytest.raises(UserError, match=words):
        tiny(kind=kind, **changes)


def test_half_precision_keeps_the_waveform_in_full():
    decoder = tiny(kind=SEANetDecoder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert decoder(torch.randn(1, 7, 6)).dtype == torch.float32


def test_a_codec_of_seanets_codes_and_loads(tmp_path):
    part = config.SEANet(filters=4, width=8, lstm_layers=1)
    codec = settled(small_model(encoder=part, decoder=part))
    audio = tones(7.0)
    events = codec.encode(audio, 22050)
    assert 0.2 < events.density < 0.8
    assert codec.decode(events).shape == audio.shape
    codec.save(tmp_path / "model")
    assert type(codec).load(tmp_path / "model").encode(audio, 22050) == events
