import numpy as np
import pytest
import torch

from snn_codec import settings as config
from snn_codec.models.discriminators import Judgement
from snn_codec.training.adversarial import (
    Balancer,
    discriminator_loss,
    feature_loss,
    generator_loss,
    reconstruction_terms,
)


def judgements(*values, features=()):
    return [Judgement(torch.tensor(value), [torch.tensor(f) for f in features]) for value in values]


def test_losses_are_their_definitions():
    real, fake = judgements([2.0, 0.5], [-1.0]), judgements([-3.0, 0.0], [1.0])
    # hinge: (0 + 0.5) / 2 + (0 + 1) / 2, and 2 + 2
    assert discriminator_loss(real, fake, "hinge") == pytest.approx((0.75 + 4) / 2)
    assert generator_loss(fake, "hinge") == pytest.approx(((4 + 1) / 2 + 0) / 2)
    assert discriminator_loss(real, fake, "squares") == pytest.approx(
        ((1 + 0.25) / 2 + (4 + 1) / 2 + 4 + 4) / 2
    )
    assert generator_loss(fake, "squares") == pytest.approx(((16 + 1) / 2 + 0) / 2)


@pytest.mark.parametrize("loss", ["hinge", "squares"])
def test_who_can_tell_nothing_has_a_loss_of_two(loss):
    nothing = judgements([0.0, 0.0])
    assert discriminator_loss(nothing, nothing, loss) == 2
    assert discriminator_loss(judgements([1.0]), judgements([-1.0]), loss) == 0
    assert generator_loss(judgements([1.0]), loss) == 0


def test_feature_matching_is_relative():
    real = judgements([0.0], features=([1.0, -3.0], [10.0]))
    fake = judgements([0.0], features=([2.0, -3.0], [15.0]))
    assert feature_loss(real, fake) == pytest.approx((0.5 / 2 + 0.5) / 2)
    louder = (
        judgements([0.0], features=([100.0, -300.0], [10.0])),
        judgements([0.0], features=([200.0, -300.0], [15.0])),
    )
    assert feature_loss(*louder) == pytest.approx((0.5 / 2 + 0.5) / 2)


def test_the_balancer_is_its_definition():
    """Over steps with given gradients: shares of the bias-corrected average of norms."""
    random = np.random.default_rng(0)
    shares = config.Shares(stft=3.0, mel=1.0, waveform=0.0, si_snr=0.0, adversarial=0.0, features=0.0)
    balancer, beta = Balancer(shares, 0.9), 0.9
    means = {"stft": 0.0, "mel": 0.0}
    for step in range(1, 6):
        gradients = {name: 10.0**step * random.standard_normal((2, 5)) for name in means}
        audio = torch.zeros(2, 5, dtype=torch.float64, requires_grad=True)
        found = balancer({name: (torch.tensor(g) * audio).sum() for name, g in gradients.items()}, audio)
        expected = np.zeros((2, 5))
        for name, share in (("stft", 0.75), ("mel", 0.25)):
            means[name] = beta * means[name] + (1 - beta) * np.linalg.norm(gradients[name])
            expected += share * gradients[name] / (means[name] / (1 - beta**step))
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_a_loss_that_is_not_there_leaves_its_share_to_the_others():
    shares = config.Shares(stft=1.0, mel=1.0, waveform=0.0, si_snr=0.0, adversarial=2.0, features=0.0)
    audio = torch.zeros(1, 4, requires_grad=True)
    weight = torch.tensor([[3.0, 0.0, 4.0, 0.0]])
    found = Balancer(shares, 0.99)({"stft": (weight * audio).sum(), "waveform": audio.sum()}, audio)
    torch.testing.assert_close(found, weight / 5)


def test_the_size_of_a_loss_does_not_matter():
    audio = torch.from_numpy(
        np.random.default_rng(0).standard_normal((1, 8000)).astype(np.float32)
    ).requires_grad_()
    target = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 8000)).astype(np.float32))
    losses = reconstruction_terms(audio, target, 22050)
    found = [
        Balancer(config.Shares(), 0.9)(given, audio)
        for given in (losses, losses | {"mel": 1000 * losses["mel"]})
    ]
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-7)
    assert torch.linalg.vector_norm(found[0]) <= 1 + 1e-5


def test_a_gradient_that_is_not_finite_is_not_averaged():
    balancer, audio = Balancer(config.Shares(), 0.9), torch.zeros(1, 4, requires_grad=True)
    assert balancer({"mel": (audio * float("nan")).sum()}, audio).isnan().all()
    assert int(balancer.count_mel) == 0
