import math

import pytest
import torch
from conftest import small_model

from snn_codec import costs
from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.training import sparsity


def spikes(events, units=80, steps=256, batch=1):
    found = torch.zeros(batch, units * steps)
    found[:, torch.randperm(units * steps, generator=torch.Generator().manual_seed(0))[:events]] = 1
    return found.view(batch, units, steps).requires_grad_()


@pytest.mark.parametrize("events", [0, 1, 50, 600, 2200, 10_000, 20_480])
def test_bits_are_the_papers_best_sparse_cost(events):
    expected = costs.all_bits(80, 256, events)
    del expected["dense"]
    assert sparsity.storage_bits(spikes(events)).item() == pytest.approx(min(expected.values()))


def test_crops_count_as_whole_chunks():
    """A crop of half the steps with half the events has the loss of the whole."""
    whole = sparsity.storage_loss(spikes(1000), 0.1)
    assert sparsity.storage_loss(spikes(500, steps=128), 0.1).item() == pytest.approx(whole.item())


def test_every_event_costs_as_much_and_none_below_the_target():
    some = spikes(600)
    sparsity.storage_loss(some, 0.1).backward()
    assert some.grad.unique().numel() == 1
    assert some.grad[0, 0, 0].item() == pytest.approx(8 / (80 * 256))  # one step in a list, of 8 bits
    few = spikes(600)
    sparsity.storage_loss(few, 0.9).backward()
    assert not few.grad.any()


def test_the_loss_is_each_samples_own():
    """A dense sample is pressed, although the mean of the batch is below the target."""
    batch = torch.cat([spikes(0).detach(), spikes(5000).detach()]).requires_grad_()
    sparsity.storage_loss(batch, 1.2).backward()
    assert not batch.grad[0].any() and batch.grad[1].any()


def test_lambda_has_three_phases():
    settings = config.Sparsity(goal=7.0, start=0.1, stop=0.6)
    found = [sparsity.weight(step, 1000, settings) for step in range(1001)]
    assert found[:101] == [0.0] * 101 and found[600:] == [7.0] * 401
    assert all(a < b for a, b in zip(found[100:600], found[101:601], strict=True))
    assert found[350] == pytest.approx(7 * (10**2 - 1) / (10**4 - 1))
    assert [sparsity.held(step, 1000, settings) for step in (0, 599, 600)] == [False, False, True]
    assert sparsity.weight(1000, 1000, config.Sparsity()) == 0 and sparsity.held(0, 1000, config.Sparsity())


def test_rates_are_those_of_a_chunk():
    found = sparsity.rates(0.03, 80, 22050 / 512)
    assert found["kbps_dense"] == pytest.approx(3.445, abs=1e-3)
    assert found["kbps_compressed_time"] == pytest.approx(
        costs.compressed_time_bits(80, 256, 614) / 5944.3, rel=1e-3
    )


ROW = {"density": 0.05, "si_snr": 6.0, "lambda": 2.0, "dead_units": 3}


@pytest.mark.parametrize("change", [{"si_snr": -6.0}, {"density": 0.0, "si_snr": -30.0}])
def test_a_collapse_is_noticed_when_it_lasts(change):
    monitor = sparsity.CollapseMonitor()
    for step in range(10):
        monitor.check(step, ROW)
    for step in range(10, 14):
        monitor.check(step, ROW | change)
    with pytest.raises(UserError, match=r"step 14: training has collapsed.*up to 6\.0 dB.*lambda 2.*goal"):
        monitor.check(14, ROW | change)


def test_what_recovers_or_has_not_begun_is_no_collapse():
    monitor = sparsity.CollapseMonitor()
    for step in range(50):
        monitor.check(step, ROW | {"si_snr": -10.0})  # a new model, which has never been better
    for step in range(50):
        monitor.check(step, ROW | {"si_snr": -10.0 if step % 5 else 1.0})
    with pytest.raises(UserError):
        for _ in range(5):
            monitor.check(99, ROW | {"si_snr": -10.0})
    monitor = sparsity.CollapseMonitor()
    for step in range(50):
        monitor.check(step, ROW | {"si_snr": -10.0 if step else 1.0, "lambda": 0.0})
    assert math.isfinite(monitor._before)


def test_a_level_has_the_density_that_it_stands_for():
    settings = config.Sparsity(densest=0.5, halving=6.0)
    level = torch.tensor([0.0, 6.0, 12.0])
    exact = torch.tensor([0.5, 0.25, 0.125])
    assert sparsity.level_loss(exact, level, settings).item() == 0
    assert sparsity.level_loss(2 * exact, level, settings).item() == pytest.approx(1)
    assert sparsity.level_loss(0.5 * exact, level, settings).item() == pytest.approx(0.5)
    papers = config.Sparsity(densest=1.0, halving=3.0)  # Eq. 8: 2^(-mu / 3)
    amount = 2 ** (-torch.arange(32.0) / 3)
    assert sparsity.level_loss(amount, torch.arange(32.0), papers).item() == pytest.approx(0, abs=1e-6)


def test_levels_are_drawn_by_seed_step_and_rank():
    draws = [sparsity.level_draw(*place, 1000, 32) for place in ((5, 0, 0), (6, 0, 0), (5, 1, 0), (5, 0, 1))]
    torch.testing.assert_close(draws[0], sparsity.level_draw(5, 0, 0, 1000, 32), rtol=0, atol=0)
    more = sparsity.level_draw(5, 0, 0, 1000, 32, top_share=0.3)
    assert 0.25 < (more == 0).float().mean() < 0.37 and torch.equal(more[more > 0], draws[0][more > 0])
    assert all(not torch.equal(draws[0], other) for other in draws[1:])
    assert 0 <= draws[0].min() < 0.5 and 30.5 < draws[0].max() <= 31 and draws[0].shape == (1000, 1)


def test_every_eighth_of_a_level_is_drawn_with_both_ends():
    assert (8 * sparsity.level_draw(0, 0, 0, 1000, 3)).unique().tolist() == list(range(17))


@pytest.mark.parametrize(("objective", "sign"), [("rate", 1), ("fill", -1)])
def test_an_objective_of_bits_presses_what_the_estimator_says_to_theta(objective, sign):
    import lightning_fabric

    settings = config.Sparsity(objective=objective, theta=1.0)
    made = sparsity.Objective(small_model(), settings, lightning_fabric.Fabric(accelerator="cpu"))
    cells = (torch.rand(6, 80, 40) < torch.linspace(0.02, 0.9, 6)[:, None, None]).float()
    loss, bits = made(cells, None)
    torch.testing.assert_close(bits, made.estimator.bits(cells))
    torch.testing.assert_close(loss, torch.relu(sign * (bits - 1)).mean())
    assert loss > 0
    for _ in range(20):
        made.learn(cells)
    assert made(cells, None)[1].mean() < 0.9 * bits.mean()


def test_the_rate_is_what_events_cost_and_is_differentiable_in_them():
    """The estimator learns that events repeat: they cost less than independent ones of their density."""
    import lightning_fabric

    torch.manual_seed(0)
    estimator = sparsity.RateEstimator(12, lightning_fabric.Fabric(accelerator="cpu"))
    pattern = torch.rand(1, 12, 4) < 0.3
    repeating = pattern.repeat(4, 1, 16).float()
    for _ in range(300):
        independent = (torch.rand(4, 12, 64) < repeating.mean()).float()
        estimator.learn(torch.cat([repeating, independent]))
    independent = (torch.rand(4, 12, 64) < repeating.mean()).float()
    repeating.requires_grad_()
    bits = estimator.bits(torch.cat([repeating, independent]))
    p = independent.mean().item()
    entropy = -(p * math.log2(p) + (1 - p) * math.log2(1 - p))
    assert bits[:4].mean() < 0.3 * entropy and bits[4:].mean() > 0.8 * entropy
    bits.sum().backward()
    assert repeating.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in estimator.network.parameters())
