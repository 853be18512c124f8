import pytest
import torch

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.models.diffusion import DiffusionDecoder

SMALL = config.Diffusion(channels=(4, 8, 16, 16), factors=(1, 4, 4, 2), items=(1, 1, 1, 1), sampler_steps=3)


def decoder(settings=SMALL, hop=16, random=True):
    torch.manual_seed(0)
    network = DiffusionDecoder(hop, 8, settings)
    if random:  # what starts at zero, so that an untrained network hears its input
        for parameter in network.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_any_number_of_steps_has_its_samples(steps):
    network = decoder()
    assert network.quantum == 2
    assert network.sample(torch.randn(2, steps, 8), torch.randn(2, steps, 16)).shape == (2, 16 * steps)


def test_the_latent_comes_in_at_the_stride_of_a_step():
    inner = decoder().net.inner.inner
    assert inner.inject is not None and inner.inject.out_channels == 16
    assert decoder().net.inject is None and inner.inner.inject is None
    paper = config.PRESETS["paper-diffusion"].phase
    strides, product = [], 1
    for factor in paper.factors:
        product *= factor
        strides.append(product)
    assert strides[6] == 512 and paper.channels[6] == 512 and len(strides) == 9


def test_what_it_aims_at_is_the_recording_if_v_is_right():
    network, target, noise = decoder(), torch.randn(3, 64), torch.randn(3, 4, 16)
    time = torch.tensor([0.1, 0.5, 0.9])
    from snn_codec.models import samplers

    network._velocity = lambda x, t, condition: samplers.diffused(target, noise.flatten(1), time[:, None])[1]
    error, aimed = network(torch.randn(3, 4, 8), target, target, noise, time, torch.ones(3, dtype=torch.bool))
    assert error == 0
    torch.testing.assert_close(aimed, target)


def test_the_sound_depends_on_noise_events_and_guidance_and_on_nothing_else():
    network = decoder()
    features, noise = torch.randn(1, 6, 8), torch.randn(1, 6, 16)
    sound = network.sample(features, noise)
    assert torch.equal(sound, network.sample(features, noise))
    assert not torch.allclose(sound, network.sample(features, torch.randn(1, 6, 16)))
    assert not torch.allclose(sound, network.sample(torch.randn(1, 6, 8), noise))
    assert not torch.allclose(sound, network.sample(features, noise, guidance=3.0))
    free = network.sample(features, noise, guidance=0.0)
    torch.testing.assert_close(free, network.sample(torch.randn(1, 6, 8), noise, guidance=0.0))


def test_a_window_is_the_whole_within_the_reach_of_the_convolutions():
    network = decoder()
    features, noise = torch.randn(1, 80, 8), torch.randn(1, 80, 16)
    whole = network.sample(features, noise, 1)
    part = network.sample(features[:, 20:60], noise[:, 20:60], 1)
    torch.testing.assert_close(part[:, 15 * 16 : 25 * 16], whole[:, 35 * 16 : 45 * 16], rtol=0, atol=1e-5)


def test_one_clip_is_learned():
    torch.manual_seed(0)
    network = DiffusionDecoder(16, 8, SMALL)
    features, target = torch.randn(1, 4, 8), torch.sin(torch.arange(64.0) / 3)[None]
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    for _ in range(250):
        error, _ = network(
            features.expand(16, 4, 8), target, target.expand(16, 64), torch.randn(16, 4, 16), torch.rand(16),
            torch.ones(16, dtype=torch.bool),
        )  # fmt: skip
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    with torch.no_grad():
        samples = [network.sample(features, torch.randn(1, 4, 16), 20) for _ in range(3)]
    assert all((sample - target).square().mean() < 0.1 * target.square().mean() for sample in samples)


@pytest.mark.slow
def test_the_paper_s_sizes_take_two_steps():
    torch.manual_seed(0)
    network = DiffusionDecoder(512, 128, config.PRESETS["paper-diffusion"].phase)
    assert sum(p.numel() for p in network.parameters()) == 138_552_897
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    errors = []
    for _ in range(2):
        target = torch.sin(torch.arange(8 * 512.0) / 9)[None]
        error, _ = network(
            torch.randn(1, 8, 128),
            target,
            target,
            torch.randn(1, 8, 512),
            torch.rand(1),
            torch.tensor([True]),
        )
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert all(0 < error < 10 for error in errors)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"items": (1, 1)}, "each of its blocks"), ({"factors": (1, 4, 5, 2)}, "must have the hop"),
     ({"channels": (4, 8, 0, 16)}, "1 or more")],
)  # fmt: skip
def test_sizes_that_contradict_say_why(changes, words):
    with pytest.raises(UserError, match=words):
        DiffusionDecoder(16, 8, config.Diffusion(**(vars(SMALL) | changes)))
