import pytest
import torch

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.models.discriminators import Discriminators, spectrum

SMALL = config.Discriminators(windows=(256, 128), channels=2)


def test_each_window_gives_logits_and_layers():
    audio = torch.randn(3, 2000)
    judgements = Discriminators(SMALL)(audio)
    assert len(judgements) == 2
    for window, judgement in zip(SMALL.windows, judgements, strict=True):
        frames = (2000 - window) // (window // 2) + 1
        assert judgement.logits.shape[:3] == (3, 1, frames) and len(judgement.features) == 5
        assert judgement.features[0].shape[:3] == (3, 2, frames)


def test_the_spectrum_is_compressed_in_magnitude_and_keeps_its_phase():
    audio, window = torch.randn(2, 1024, dtype=torch.float64).float(), torch.hann_window(256)
    plain, compressed = (torch.view_as_complex(
        spectrum(audio, window, 64, power).permute(0, 2, 3, 1).contiguous()
    ) for power in (1.0, 0.3))  # fmt: skip
    expected = (
        torch.stft(audio, 256, 64, window=window, center=False, return_complex=True).transpose(1, 2) / 16
    )
    torch.testing.assert_close(plain, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compressed.abs(), plain.abs() ** 0.3, rtol=0.02, atol=0.02)
    turned = (compressed * plain.conj()).angle()[plain.abs() > 0.1]
    torch.testing.assert_close(turned, torch.zeros_like(turned), rtol=0, atol=1e-4)


def test_gradients_are_those_of_finite_differences():
    """By the audio and by every weight, of a network in double precision."""
    torch.manual_seed(0)
    network = Discriminators(config.Discriminators(windows=(64,), channels=2)).double()
    audio = torch.randn(1, 160, dtype=torch.float64, requires_grad=True)
    names, weights = zip(*network.named_parameters(), strict=True)

    def judged(audio, *weights):
        (judgement,) = torch.func.functional_call(network, dict(zip(names, weights, strict=True)), (audio,))
        return judgement.logits.sum(), judgement.features[1].square().mean()

    assert torch.autograd.gradcheck(judged, (audio, *weights), eps=1e-6, atol=1e-4, fast_mode=True)


def test_sizes_of_no_network_are_refused():
    for change in ({"windows": ()}, {"windows": (16,)}, {"channels": 0}, {"overlap": 0}):
        with pytest.raises(UserError, match=f"Discriminators.{next(iter(change))}"):
            config.Discriminators(**change)


def test_those_of_the_paper_have_five_scales():
    settings = config.PRESETS["paper-gan"].phase.discriminators
    assert sum(p.numel() for p in Discriminators(settings).parameters()) == 5 * 85_090
