import numpy as np
import pytest
import torch

from snn_codec import config
from snn_codec.models.flow import FlowDecoder, Mdct, embedding

SMALL = config.Flow(width=24, blocks=1, kernel=3, expansion=2)


def untrained(**changes):
    torch.manual_seed(0)
    network = FlowDecoder(64, 8, config.Flow(**(vars(SMALL) | changes)))
    torch.nn.init.normal_(network.velocity.weight, std=0.1)
    return network.eval()


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_transform_is_orthonormal_and_its_inverse_exact(steps):
    audio, mdct = torch.randn(2, 64 * steps, dtype=torch.float64), Mdct(64).double()
    frames = mdct(audio)
    assert frames.shape == (2, steps + 2, 64)
    torch.testing.assert_close(mdct.inverse(frames), audio, rtol=0, atol=1e-6)
    assert frames.square().sum() == pytest.approx(audio.square().sum().item(), rel=1e-6)


def test_a_frame_is_centred_on_its_step():
    audio = torch.zeros(1, 64 * 20)
    audio[0, 64 * 10 + 32] = 1  # the middle of step 10
    power = Mdct(64)(audio).square().sum(-1)[0]
    assert power.argmax() == 11 and power[11] > 0.99


def test_without_a_trained_network_noise_is_all_that_is_added():
    network = FlowDecoder(64, 8, SMALL)
    plain = torch.randn(1, 64 * 6)
    silent = network.sample(torch.randn(1, 6, 8), plain, torch.zeros(1, 8, 64))
    torch.testing.assert_close(silent, plain, rtol=0, atol=1e-5)
    noisy = network.sample(torch.randn(1, 6, 8), plain, torch.randn(1, 8, 64)).detach()
    assert (noisy - plain).std() == pytest.approx(SMALL.temperature, rel=0.4)


def test_calibration_measures_the_difference_in_units_of_the_envelope():
    network, plain = FlowDecoder(64, 8, SMALL), torch.randn(4, 64 * 400)
    network.calibrate(plain, plain + 0.25 * torch.randn_like(plain))
    assert network.spread.shape == (64,)
    torch.testing.assert_close(network.spread, torch.full((64,), 0.26), rtol=0, atol=0.03)


def test_what_it_aims_at_is_the_recording_if_v_is_right():
    """With the true v in the network's place, the aim is the target at any time, and the error is zero."""
    network, plain = FlowDecoder(64, 8, SMALL), torch.randn(3, 64 * 6)
    target, noise = plain + 0.1 * torch.randn_like(plain), torch.randn(3, 8, 64)
    start = network.mdct(plain)
    y = (network.mdct(target) - start) / network.envelope(start)
    network._velocity = lambda state, time, condition: y - noise
    time, kept = torch.tensor([0.0, 0.4, 1.0]), torch.ones(3, dtype=torch.bool)
    error, aimed = network(torch.randn(3, 6, 8), plain, target, noise, time, kept)
    assert error == pytest.approx(0, abs=1e-10)
    torch.testing.assert_close(aimed, target, rtol=0, atol=1e-4)


def test_dropped_conditions_are_not_looked_at():
    network, noise = untrained(), torch.randn(2, 8, 64)
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
    """Each evaluation sees kernel // 2 steps a block and one for the envelope; the transform one at the end."""
    network, steps = untrained(), 3
    features, plain, noise = torch.randn(1, 40, 8), torch.randn(1, 40 * 64), torch.randn(1, 42, 64)
    whole = network.sample(features, plain, noise, steps)
    reach = steps * 1 + 3
    part = network.sample(features[:, 10:30], plain[:, 10 * 64 : 30 * 64], noise[:, 10:32], steps)
    inner = slice(reach * 64, (20 - reach) * 64)
    torch.testing.assert_close(part[:, inner], whole[:, 10 * 64 : 30 * 64][:, inner], rtol=0, atol=1e-5)
    assert not torch.allclose(part[:, :64], whole[:, 640:704], atol=1e-4)


def test_one_clip_is_learned():
    """The network overfits one difference: the sample then is the recording, from any noise."""
    torch.manual_seed(0)
    network = FlowDecoder(64, 8, config.Flow(width=96, blocks=2, kernel=3, expansion=2, temperature=1.0))
    features, plain = torch.randn(1, 12, 8), torch.randn(1, 12 * 64)
    target = plain + 0.5 * torch.randn_like(plain)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    batch = [x.expand(8, *x.shape[1:]) for x in (features, plain, target)]
    for _ in range(300):
        error, _ = network(*batch, torch.randn(8, 14, 64), torch.rand(8), torch.ones(8, dtype=torch.bool))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    with torch.no_grad():
        samples = [network.sample(features, plain, torch.randn(1, 14, 64), 8) for _ in range(3)]
    before = (plain - target).square().mean()
    assert all((sample - target).square().mean() < 0.05 * before for sample in samples)


def test_times_are_told_apart():
    found = embedding(torch.linspace(0, 1, 50))
    distances = torch.cdist(found, found) + 10 * torch.eye(50)
    assert distances.min() > 0.05 and np.isfinite(found.numpy()).all()
