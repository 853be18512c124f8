import math

import numpy as np
import pytest
import torch
from conftest import tones

from snn_codec import settings as config
from snn_codec.metrics import batch_si_snr
from snn_codec.models.network import Output
from snn_codec.training.losses import LEAST, signed_si_snr, training_loss


def pair(correlation, batch=1):
    """Two sounds of this correlation, `[batch, samples]` each."""
    axis = np.arange(8000) / 8000
    wanted, other = (torch.tensor(np.sin(2 * np.pi * hertz * axis)) for hertz in (50, 90))
    found = correlation * wanted + math.sqrt(1 - correlation**2) * other
    return found.expand(batch, -1), wanted.expand(batch, -1)


@pytest.mark.parametrize("correlation", [LEAST + 1e-3, 0.5, 0.99])
def test_the_loss_of_sounds_alike_is_si_snr(correlation):
    found, wanted = pair(correlation, batch=2)
    expected = 10 * math.log10(correlation**2 / (1 - correlation**2))
    torch.testing.assert_close(
        signed_si_snr(3 * found, wanted), torch.full((2,), expected, dtype=torch.float64)
    )
    torch.testing.assert_close(signed_si_snr(found, wanted), batch_si_snr(found, wanted))


def test_the_loss_leads_from_an_inverted_sound_to_the_sound():
    """It rises all the way, with a slope that neither jumps nor grows without bound."""
    places = torch.linspace(-1, 0.2, 241, dtype=torch.float64)
    values = torch.cat([signed_si_snr(*pair(place.item())) for place in places])
    slopes = values.diff() / places.diff()
    assert slopes.min() > 40 and slopes.max() < 20 / math.log(10) / (LEAST * (1 - LEAST**2)) * 1.01
    assert slopes.diff().abs().max() < 6
    assert batch_si_snr(*pair(-0.9)) == pytest.approx(batch_si_snr(*pair(0.9)).item())  # which does not rise


@pytest.mark.parametrize("silent", ["found", "wanted"])
def test_silence_has_no_polarity(silent):
    found, wanted = (audio.clone() for audio in pair(-0.5))
    {"found": found, "wanted": wanted}[silent].zero_()
    found.requires_grad_()
    value = signed_si_snr(found, wanted)
    torch.testing.assert_close(value, batch_si_snr(found, wanted))
    value.sum().backward()
    assert found.grad.isfinite().all()


def test_training_turns_an_inverted_sound_round():
    """For SI-SNR itself, it ends at the inverted sound."""
    target = torch.from_numpy(tones(0.5)).float()[None]
    gains = torch.tensor([-1.0, 0.3], requires_grad=True)
    optimiser = torch.optim.Adam([gains], lr=0.02)
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0)) * target.std()
    for _ in range(150):
        audio = gains[0] * target + gains[1] * noise
        loss, _ = training_loss(
            Output(audio, *[torch.zeros(())] * (len(Output._fields) - 1)), target, config.Loss()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert gains[0] > 0.8 and gains[1].abs() < 0.2
