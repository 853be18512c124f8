import numpy as np
import pytest
import torch

from snn_codec import settings as config
from snn_codec.models.flow import LARGEST, FlowDecoder, embedding

SMALL = config.Flow(crossover=0, window=128, width=24, blocks=1, kernel=3, expansion=2)


def untrained(**changes):
    torch.manual_seed(0)
    network = FlowDecoder(64, 8, config.Flow(**(vars(SMALL) | changes)), 22050)
    torch.nn.init.normal_(network.velocity.weight, std=0.1)
    return network.eval()


@pytest.mark.parametrize("window", [128, 256])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_gains_of_nothing_change_nothing(steps, window):
    network = FlowDecoder(64, 8, config.Flow(crossover=0, window=window, width=8, blocks=0), 22050).double()
    audio = torch.randn(2, 64 * steps, dtype=torch.float64)
    sound = network._sound(network._spectrum(audio), torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(sound, audio, rtol=0, atol=1e-3)


def test_an_untrained_network_gives_noise_in_the_gains_and_none_without():
    network = FlowDecoder(64, 8, SMALL, 22050)
    features, plain, noise = torch.randn(1, 200, 8), torch.randn(1, 200 * 64), torch.randn(1, 200, 65)
    with torch.no_grad():
        silent, noisy = (network.sample(features, plain, scale * noise) for scale in (0, 1))
    torch.testing.assert_close(silent, plain, rtol=0, atol=1e-4)
    assert (noisy - plain).std() == pytest.approx(SMALL.temperature, rel=0.5)


def test_gains_come_in_over_the_octave_above_the_crossover():
    network = untrained(crossover=2756.25)  # bin 16
    assert not network.share[:17].any() and network.share[24] == 0.5 and (network.share[32:] == 1).all()
    features, noise = torch.randn(1, 200, 8), torch.randn(1, 200, 65)
    low = torch.sin(torch.arange(200 * 64) * (2 * np.pi * 6 / 128))[None]
    high = torch.sin(torch.arange(200 * 64) * (2 * np.pi * 50 / 128))[None]
    with torch.no_grad():
        kept, changed = (network.sample(features, plain, noise) for plain in (low, high))
    assert (kept - low)[:, 500:-500].abs().max() < 1e-3 < 0.1 < (changed - high).abs().max()


def test_calibration_measures_gains():
    """A recording 6 dB above the plain sound in all bins; and one whose bins are independent of it."""
    network, plain = FlowDecoder(64, 8, SMALL, 22050), torch.randn(4, 64 * 400)
    network.calibrate(plain, 2 * plain)
    torch.testing.assert_close(
        network.mean, torch.full((65,), np.log(2), dtype=torch.float32), rtol=0, atol=1e-3
    )
    assert network.spread.max() < 0.01
    network.calibrate(plain, torch.randn_like(plain))
    # the log of a chi-square variable with two degrees of freedom has a variance of pi^2 / 6; of magnitudes a quarter
    expected = np.sqrt(2 * np.pi**2 / 6 / 4)
    assert network.mean.abs().max() < 0.1 and network.spread[8:-8].mean() == pytest.approx(expected, rel=0.05)


def test_what_it_aims_at_has_the_recording_s_magnitudes_if_v_is_right():
    """With the true v in the network's place, the aim is the same at any time, and the error is zero."""
    network, plain = FlowDecoder(64, 8, SMALL, 22050), torch.randn(3, 64 * 6)
    target, noise = plain * 2, torch.randn(3, 6, 65)
    y = network._gain(network._spectrum(plain), target)
    assert y.abs().max() < LARGEST
    network._velocity = lambda state, time, condition: y - noise
    time, kept = torch.tensor([0.0, 0.4, 1.0]), torch.ones(3, dtype=torch.bool)
    error, aimed = network(torch.randn(3, 6, 8), plain, target, noise, time, kept)
    assert error == pytest.approx(0, abs=1e-10)
    torch.testing.assert_close(aimed, target, rtol=0, atol=1e-3)


def test_dropped_conditions_are_not_looked_at():
    network, noise = untrained(), torch.randn(2, 6, 65)
    plain, target = torch.randn(2, 64 * 6), torch.randn(2, 64 * 6)
    time = torch.tensor([0.5, 0.5])
    for kept, same in ((False, True), (True, False)):
        flags = torch.tensor([kept, kept])
        found = [
            network(features, plain, target, noise, time, flags)[0] for features in torch.randn(2, 2, 6, 8)
        ]
        assert torch.equal(*found) is same
    guided = [network.sample(torch.randn(2, 6, 8), plain, noise, 2, scale) for scale in (0.0, 1.0, 3.0)]
    assert not torch.equal(guided[0], guided[2])


def test_windows_agree_with_the_whole_within_their_reach():
    """Each evaluation sees kernel // 2 steps a block; frames, their joining and the level of the plain sound some."""
    network, steps = untrained(), 3
    features, plain, noise = torch.randn(1, 40, 8), torch.randn(1, 40 * 64), torch.randn(1, 40, 65)
    whole = network.sample(features, plain, noise, steps)
    reach = steps * 1 + 2
    part = network.sample(features[:, 10:30], plain[:, 10 * 64 : 30 * 64], noise[:, 10:30], steps)
    inner = slice(reach * 64, (20 - reach) * 64)
    torch.testing.assert_close(part[:, inner], whole[:, 10 * 64 : 30 * 64][:, inner], rtol=0, atol=1e-4)
    assert not torch.allclose(part[:, :64], whole[:, 640:704], atol=1e-3)


def test_one_clip_is_learned():
    """The network overfits one clip: from any noise, the sample then has the recording's magnitudes."""
    torch.manual_seed(0)
    settings = config.Flow(
        crossover=0, window=128, width=96, blocks=2, kernel=3, expansion=2, temperature=1.0
    )
    network = FlowDecoder(64, 8, settings, 22050)
    features, plain, target = torch.randn(1, 12, 8), torch.randn(1, 12 * 64), torch.randn(1, 12 * 64)
    network.calibrate(plain, target)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    batch = [x.expand(8, *x.shape[1:]) for x in (features, plain, target)]
    for _ in range(300):
        error, _ = network(*batch, torch.randn(8, 12, 65), torch.rand(8), torch.ones(8, dtype=torch.bool))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    start = network._spectrum(plain)
    wanted = network._sound(start, (network._gain(start, target) - network.mean) / network.spread)
    with torch.no_grad():
        samples = [network.sample(features, plain, torch.randn(1, 12, 65), 8) for _ in range(3)]
    before = (plain - wanted).square().mean()
    assert all((sample - wanted).square().mean() < 0.05 * before for sample in samples)


def test_times_are_told_apart():
    found = embedding(torch.linspace(0, 1, 50))
    distances = torch.cdist(found, found) + 10 * torch.eye(50)
    assert distances.min() > 0.05 and np.isfinite(found.numpy()).all()
