import copy

import pytest
import torch

from snn_codec import config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.models.seanet import SEANetDecoder, SEANetEncoder

TINY = config.SEANet(filters=4, width=8, ratios=(4, 2, 2), lstm_layers=1)


def encoder(settings=TINY, hop=16, seed=0):
    torch.manual_seed(seed)
    return SEANetEncoder(hop, settings).eval()


@pytest.mark.parametrize("n", range(1, 50))
def test_every_length_has_its_steps(n):
    with torch.inference_mode():
        assert encoder()(torch.randn(2, n)).shape == (2, -(-n // 16), 8)


@pytest.mark.parametrize("steps", [1, 2, 3, 17])
def test_the_decoder_gives_a_hop_for_each_step(steps):
    with torch.inference_mode():
        assert SEANetDecoder(16, TINY)(torch.randn(2, steps, 8)).shape == (2, steps * 16)


def test_a_step_looks_at_its_own_samples_from_the_middle():
    """Without the LSTM, what reaches step t lies around [t hop, (t + 1) hop), as much before as after."""
    net = encoder(config.SEANet(filters=4, width=8, ratios=(4, 2, 2), lstm_layers=0))
    audio = torch.randn(1, 40 * 16, requires_grad=True)
    net(audio)[0, 20].sum().backward()
    reached = audio.grad[0].nonzero().flatten()
    before, after = 20 * 16 - reached.min().item(), reached.max().item() - (21 * 16 - 1)
    assert before > 0 and abs(before - after) <= 16


def test_the_papers_sizes():
    """2^17 samples are 256 steps; with EnCodec's ratios the sizes are those of its published 24 kHz networks."""
    codec = Codec(config.PRESETS["paper-free"].model)
    with torch.inference_mode():
        features = codec.encoder(torch.randn(1, 2**17))
    assert features.shape == (1, 256, 128)
    count = sum(p.numel() for p in codec.parameters())
    assert 14e6 < count < 17e6


def test_weights_survive_copy_and_state():
    one, other = encoder(), encoder(seed=1)
    audio = torch.randn(1, 100)
    with torch.inference_mode():
        expected = one(audio)
        assert not torch.equal(other(audio), expected)
        other.load_state_dict(one.state_dict())
        torch.testing.assert_close(other(audio), expected)
        torch.testing.assert_close(copy.deepcopy(one)(audio), expected)


def test_one_batch_is_learned():
    torch.manual_seed(0)
    model = config.Model(hop=16, encoder=TINY, decoder=TINY, units=8)
    codec = Codec(model)
    audio = torch.sin(torch.arange(256) * 0.3)[None]
    optimizer = torch.optim.AdamW(codec.parameters(), 5e-3)
    first = None
    for _ in range(120):
        loss = (codec(audio).audio - audio).square().mean()
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first


def test_ratios_must_fit_the_hop():
    with pytest.raises(UserError, match="512"):
        SEANetEncoder(512, config.SEANet(ratios=(8, 8, 4)))
