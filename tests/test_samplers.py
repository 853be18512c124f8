import math

import numpy as np
import pytest
import torch

from snn_codec.models import samplers


def gaussian_v(mean: float, sd: float):
    """The v that a perfect network gives if the data are N(mean, sd^2)."""

    def network(x, time):
        alpha, sigma = samplers.angles(time[:, None])
        signal = mean + sd**2 * alpha / (sd**2 * alpha**2 + sigma**2) * (x - alpha * mean)
        return (alpha * x - signal) / sigma  # from x = alpha x_t - sigma v

    return network


def gaussian_flow(mean: float, sd: float):
    def network(x, time):
        time = time[:, None]
        variance = (time * sd) ** 2 + (1 - time) ** 2
        return mean + (time * sd**2 - (1 - time)) / variance * (x - time * mean)

    return network


@pytest.fixture
def noise():
    return torch.linspace(-3, 3, 61, dtype=torch.float64)[None]


def test_the_identities_of_v(noise):
    x, random = torch.sin(5 * noise), torch.cos(3 * noise)
    for time in (0.0, 0.2, 0.5, 0.9, 1.0):
        time = torch.tensor(time, dtype=torch.float64)
        alpha, sigma = samplers.angles(time)
        assert alpha**2 + sigma**2 == pytest.approx(1)
        x_t, v = samplers.diffused(x, random, time)
        found, found_noise = samplers.undone(x_t, v, time)
        torch.testing.assert_close(found, x)
        torch.testing.assert_close(found_noise, random)
        # v is how x_t moves with the angle, pi t / 2
        later = samplers.diffused(x, random, time + 1e-6)[0] - samplers.diffused(x, random, time - 1e-6)[0]
        torch.testing.assert_close(later / (2e-6 * math.pi / 2), v, rtol=1e-5, atol=1e-6)


def test_the_flow_is_a_straight_line(noise):
    x = torch.sin(noise)
    for time in (0.0, 0.3, 1.0):
        x_t, v = samplers.flowing(x, noise, torch.tensor(time, dtype=torch.float64))
        torch.testing.assert_close(x_t + (1 - time) * v, x)
        torch.testing.assert_close(x_t - time * v, noise)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_of_data_that_is_one_point_any_number_of_steps_gives_that_point(noise, steps):
    expected = torch.full_like(noise, 0.7)
    torch.testing.assert_close(samplers.ddim(gaussian_v(0.7, 0.0), noise, steps), expected)
    torch.testing.assert_close(samplers.euler(gaussian_flow(0.7, 0.0), noise, steps), expected)


@pytest.mark.parametrize(
    ("sampler", "network"), [(samplers.ddim, gaussian_v), (samplers.euler, gaussian_flow)]
)
@pytest.mark.parametrize("sd", [0.1, 1.0, 2.0])
def test_of_gaussian_data_the_sample_is_the_exact_transport_in_the_limit(noise, sampler, network, sd):
    """The flow of a Gaussian takes e to mean + sd e; a first-order sampler's error halves with each doubling."""
    exact = 0.3 + sd * noise
    errors = [
        float((sampler(network(0.3, sd), noise, steps) - exact).abs().max()) for steps in (50, 100, 200, 3200)
    ]
    assert errors[3] < 0.01
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.1)


def test_ddim_on_standard_gaussian_data_shrinks_by_a_known_factor(noise):
    """There x' = alpha x_t and e' = sigma x_t, so each step is a multiplication by the cosine of its angle."""
    for steps in (1, 5, 20):
        expected = noise * math.cos(math.pi / 2 / steps) ** steps
        torch.testing.assert_close(samplers.ddim(gaussian_v(0.0, 1.0), noise, steps), expected)


def test_the_mean_is_right_for_any_number_of_steps(noise):
    for steps in (1, 3, 10):
        for sampler, network in ((samplers.ddim, gaussian_v), (samplers.euler, gaussian_flow)):
            assert sampler(network(0.4, 1.7), noise, steps).mean() == pytest.approx(0.4)


def test_guidance_goes_from_one_network_to_the_other_and_beyond(noise):
    one, other = (lambda x, time: x + 1), (lambda x, time: x - 1)
    for scale, expected in ((1, 1), (0, -1), (3, 5)):
        torch.testing.assert_close(samplers.guided(one, other, scale)(noise, noise), noise + expected)


def test_a_step_has_its_noise_whatever_the_window():
    whole = samplers.step_noise(3, 0, 700, 4)
    assert whole.shape == (700, 4) and whole.dtype == np.float32
    for first in (0, 100, 255, 256, 257, 400):
        for count in (1, 2, 56, 256, 290):
            np.testing.assert_array_equal(
                samplers.step_noise(3, first, count, 4), whole[first : first + count]
            )
    assert len(np.unique(whole)) > 2790
    assert not np.array_equal(samplers.step_noise(4, 0, 10, 4), whole[:10])
    assert samplers.step_noise(0, 0, 20_000, 4).std() == pytest.approx(1, abs=0.02)
