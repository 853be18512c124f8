"""The lapped transform reconstructs perfectly, is orthogonal, and turns sinusoids as its docstring says."""

import math

import pytest
import torch

from snn_codec.models.lapped import inverse_mdct, mdct, phase, shifted, turned


@pytest.mark.parametrize("frame", [512, 1024, 2048])
@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_the_inverse_gives_the_audio_back(frame, steps):
    audio = torch.randn(2, steps * frame, generator=torch.Generator().manual_seed(0))
    coefficients = mdct(audio, frame)
    assert coefficients.shape == (2, steps, frame)
    assert torch.allclose(inverse_mdct(coefficients), audio, atol=1e-6 * 8)
    double = mdct(audio.double(), frame)
    assert torch.allclose(inverse_mdct(double), audio.double(), atol=1e-12)


def test_the_energy_of_coefficients_is_that_of_the_audio():
    audio = torch.randn(8192, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert mdct(audio, 1024).square().sum().item() == pytest.approx(audio.square().sum().item())


def test_it_is_the_mdct_with_the_sine_window():
    """Against the textbook's sum, for a block that has two neighbours."""
    frame = 64
    audio = torch.randn(5 * frame, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    n, k = torch.arange(2 * frame, dtype=torch.float64), torch.arange(frame, dtype=torch.float64)[:, None]
    basis = torch.cos(math.pi / frame * (n + 0.5 - frame / 2) * (k + 0.5)) * math.sqrt(2 / frame)
    window = torch.sin(math.pi * (n + 0.5) / (2 * frame))
    start = 2 * frame - frame // 2
    expected = basis @ (window * audio[start : start + 2 * frame])
    assert torch.allclose(mdct(audio, frame)[2], expected, atol=1e-12)


def test_a_partial_at_a_bins_centre_turns_as_foretold():
    """Neighbours sum up to its phase; a step later it has turned by what `turned` takes for granted."""
    frame, bin = 256, 40
    t = torch.arange(20 * frame, dtype=torch.float64)
    coefficients = mdct(torch.cos(math.pi / frame * (bin + 0.5) * t + 0.7), frame)
    around = slice(bin - 1, bin + 2)  # one bin sees a real part only; its neighbours see the imaginary part
    real, imaginary = (part[..., around].sum(-1) for part in turned(coefficients, 0))
    phases = torch.atan2(imaginary, real)
    centre = (10.5 - 0.5 / frame) * math.pi * (bin + 0.5) + 0.7
    assert math.cos(phases[10] - centre) > 0.9
    assert math.cos(phases[10] - phases[9] - math.pi * (bin + 0.5)) > 0.9
    before = torch.complex(*turned(coefficients, 1))[10, bin]
    expected = torch.complex(*turned(coefficients, 0))[9, bin] * torch.polar(
        torch.ones((), dtype=torch.float64), torch.tensor(math.pi * (bin + 0.5), dtype=torch.float64)
    )
    assert abs(before - expected) < 1e-9


def test_neighbouring_bins_see_a_partial_in_quadrature():
    assert torch.allclose(torch.diff(phase(9)), torch.full((8,), math.pi / 2, dtype=torch.float64))


@pytest.mark.parametrize("steps", [-3, -1, 0, 1, 2, 5])
def test_steps_are_shifted_with_zeros_outside(steps):
    values = torch.arange(1.0, 13).view(1, 4, 3)
    moved = shifted(values, steps)
    for step in range(4):
        source = step - steps
        expected = values[0, source] if 0 <= source < 4 else torch.zeros(3)
        assert torch.equal(moved[0, step], expected)


def test_gradients_pass_through():
    audio = torch.randn(2048, requires_grad=True)
    mdct(audio, 512).square().sum().backward()
    assert torch.allclose(audio.grad, 2 * audio, atol=1e-4)


def test_gradients_pass_what_was_first_used_without_them():
    audio = torch.randn(1, 3 * 24)  # a length that no other test has
    with torch.inference_mode():
        mdct(audio, 24)
    audio.requires_grad_(True)
    mdct(audio, 24).square().sum().backward()
    assert torch.allclose(audio.grad, 2 * audio, atol=1e-5)  # an orthogonal transform
