"""The loss for events that say the same twice."""

import pytest
import torch

from snn_codec.training.correlation import LAGS, Correlation, correlations


def fair(units=6, batch=4, steps=400):
    return (torch.rand(batch, units, steps, generator=torch.Generator().manual_seed(0)) > 0.5).float()


def test_each_entry_is_the_mean_product_of_two_units_signs():
    spikes = fair(3, 2, 40)
    signs = 2 * spikes - 1
    signs = signs - signs.mean((0, 2), keepdim=True)
    found = correlations(spikes, torch.ones(len(spikes)))
    assert found.shape == (LAGS + 1, 3, 3) and not found[0].diagonal().any()
    wanted = torch.stack([signs[b, 2, t] * signs[b, 1, t - 3] for b in range(2) for t in range(3, 40)]).mean()
    assert found[3, 2, 1] == pytest.approx(wanted.item(), abs=1e-6)


def test_what_is_said_twice_costs_and_chance_does_not():
    spikes = fair()
    copied = spikes.clone()
    copied[:, 3, 2:] = spikes[:, 0, :-2]  # one unit says what another said two steps before
    costs = [Correlation(6)(given)[1].item() for given in (spikes, copied)]
    assert costs[0] < 0.05 and costs[1] - costs[0] == pytest.approx(1 / 6, abs=0.02)


def test_the_gradient_parts_copies_and_leaves_others_alone():
    spikes = fair()
    spikes[:, 3] = spikes[:, 0]
    spikes.requires_grad_(True)
    Correlation(6)(spikes)[0].backward()
    told = (spikes.grad * (2 * spikes.detach() - 1)).sum((0, 2))
    assert told[[0, 3]].min() > 4 * told[[1, 2, 4, 5]].abs().max()  # fewer events where both agree


def test_chance_of_one_batch_hardly_counts():
    loss = Correlation(6)
    for _ in range(300):
        _, cost = loss((torch.rand(2, 6, 60) > 0.5).float())
    alone = correlations((torch.rand(2, 6, 60) > 0.5).float(), torch.ones(2)).square().sum() / 6
    assert cost < 0.1 * alone and loss.steps == 300


def test_levels_with_few_events_do_not_count():
    spikes, level = fair(), torch.tensor([[0.0], [0.0], [31.0], [9.0]])
    wanted = correlations(spikes[:2], torch.ones(2))
    spikes[2:] = 1
    loss = Correlation(6)
    loss(spikes, level)
    torch.testing.assert_close(loss.mean, wanted)
    assert not Correlation(6)(spikes, torch.full((4, 1), 20.0))[0].any()  # a batch without the others
    half = correlations(spikes, torch.tensor([1.0, 0.5, 0.0, 0.0]))
    assert not torch.equal(half, wanted)
