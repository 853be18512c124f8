import pytest
import torch
from conftest import SMALL

from snn_codec import settings as config
from snn_codec.models.spectral import Block, SpectralDecoder, SpectralEncoder


@pytest.mark.parametrize("n", [1, 2, 511, 512, 513, 1024, 5000])
def test_every_length_has_its_steps(n):
    features = SpectralEncoder(512, SMALL)(torch.randn(3, n))
    assert features.shape == (3, -(-n // 512), 16)


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_the_decoder_gives_a_hop_for_each_step(steps):
    assert SpectralDecoder(512, SMALL)(torch.randn(2, steps, 16)).shape == (2, steps * 512)


@pytest.mark.parametrize("exponent", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("n", [512, 700, 20 * 512])
def test_the_two_transforms_are_each_others_inverse(exponent, n):
    """With the networks between them taken out, audio comes back as it was, edges too."""
    settings = config.Spectral(width=2050, blocks=0, magnitude_exponent=exponent)
    encoder, decoder = SpectralEncoder(512, settings).double(), SpectralDecoder(512, settings).double()
    for module in (encoder, decoder):
        module.stack = torch.nn.Identity()
        module.project = torch.nn.Identity()
    audio = torch.randn(2, n, dtype=torch.float64)
    decoded = decoder(encoder(audio))[:, :n]
    torch.testing.assert_close(decoded.double(), audio, atol=2e-3, rtol=0)


def test_a_step_looks_at_its_own_samples_from_the_middle():
    encoder = SpectralEncoder(512, config.Spectral(width=8, blocks=0))
    audio = torch.randn(1, 20 * 512, requires_grad=True)
    encoder(audio)[0, 10, 0].backward()
    reached = audio.grad[0].nonzero().flatten()
    assert reached.min() - 10 * 512 == pytest.approx(-768, abs=2)
    assert reached.max() - 11 * 512 == pytest.approx(768, abs=2)


def test_the_block_is_convnext():
    """The layout tricks change nothing: a plain depthwise conv1d gives the same."""
    block, x = Block(6, 5, 2), torch.randn(2, 11, 6)
    weight = block.depthwise.weight.squeeze(3)
    y = torch.nn.functional.conv1d(x.transpose(1, 2), weight, block.depthwise.bias, padding=2, groups=6)
    y = block.narrow(torch.nn.functional.silu(block.widen(block.norm(y.transpose(1, 2)))))
    torch.testing.assert_close(block(x), x + block.scale * y)


def test_the_default_context_covers_what_the_networks_see():
    """Then chunks are computed as if the recording were one piece (half a window of steps, and the kernels)."""
    settings = config.Spectral()
    reach = settings.blocks * (settings.kernel // 2) + -(-(settings.window - 512) // 2 // 512)
    assert reach <= config.Model().margin_steps
