"""Every parameter is moved once, by the schedule, with clipped gradients whatever the precision."""

import copy

import lightning_fabric
import pytest
import torch
from lightning_fabric.plugins import MixedPrecision
from torch import nn

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.training.optim import (
    MAX_SKIPPED,
    Optimisation,
    average,
    clip_and_step,
    gradient_norm,
    gradient_scaler,
    optimisers,
    schedule,
)


def test_every_parameter_is_optimised_once(codec):
    for name in ("adamw", "muon"):
        if name == "muon" and not hasattr(torch.optim, "Muon"):
            with pytest.raises(UserError, match="no Muon"):
                optimisers(codec, config.Training(optimizer="muon"))
            continue
        chosen = optimisers(codec, config.Training(optimizer=name))
        found = [id(p) for optimizer in chosen for group in optimizer.param_groups for p in group["params"]]
        assert sorted(found) == sorted(id(p) for p in codec.parameters())


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_a_network_without_matrices_has_adamw_alone():
    network = nn.Conv1d(2, 3, 5)
    (adamw,) = optimisers(network, config.Training(optimizer="muon"))
    assert sum(len(group["params"]) for group in adamw.param_groups) == 2


def test_the_schedule_warms_up_and_falls():
    training = config.Training(steps=100, warmup=10)
    values = [schedule(step, training) for step in range(101)]
    assert values[0] == pytest.approx(0.1)
    assert max(values) == pytest.approx(max(values[8:12])) and values[-1] == pytest.approx(0.02)
    assert all(a >= b for a, b in zip(values[10:], values[11:], strict=False))


def test_the_average_moves_by_its_share(codec):
    ema, target = copy.deepcopy(codec), copy.deepcopy(codec)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter += 1
    average(ema, target, 0.9)
    for name, value in codec.named_parameters():
        torch.testing.assert_close(dict(ema.named_parameters())[name], value + 0.1)


def fabric_of(precision):
    """Fabric itself does not offer 16-mixed on a CPU."""
    scaled = [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))]
    plugins = scaled if precision == "16-mixed" else None
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1, plugins=plugins)
    fabric.launch()
    return fabric


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_gradients_are_clipped_by_their_true_size(precision, optimiser):
    """The scaler of 16-mixed multiplies gradients by 65536; neither the norm nor the clip may see that."""
    if optimiser == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    fabric, torch_layer = fabric_of(precision), nn.Linear(4, 4)
    settings = config.Training(optimizer=optimiser, warmup=0)
    model, *chosen = fabric.setup(torch_layer, *optimisers(torch_layer, settings))
    assert len(chosen) == (2 if optimiser == "muon" else 1)
    loss = 0.01 * torch_layer(torch.ones(2, 4)).square().sum()
    expected = torch.autograd.grad(loss, [*torch_layer.parameters()], retain_graph=True)
    before = copy.deepcopy(torch_layer)
    fabric.backward(loss)
    scaler = gradient_scaler(fabric)
    assert (scaler is None) == (precision == "32-true")
    size = torch.cat([part.flatten() for part in expected]).norm()
    assert gradient_norm(torch_layer, scaler) == pytest.approx(size.item(), rel=1e-3)
    seen = []
    for one in chosen:
        one.optimizer.register_step_pre_hook(
            lambda *_: seen.append([p.grad.clone() for p in torch_layer.parameters()])
        )
    norm, moved = clip_and_step(fabric, torch_layer, chosen, 0.5 * size.item())
    assert moved and norm.item() == pytest.approx(size.item(), rel=1e-3)
    for part, true in zip(seen[0], expected, strict=True):
        torch.testing.assert_close(part, 0.5 * true, rtol=1e-3, atol=1e-7)
    assert len(seen) == len(chosen)
    assert not torch.equal(torch_layer.weight, before.weight) and torch_layer.weight.grad is None


def test_a_gradient_that_overflows_lowers_the_scale_and_moves_nothing():
    fabric, layer = fabric_of("16-mixed"), nn.Linear(4, 4)
    optimisation = Optimisation(layer, config.Training(ema=0.5), fabric, lambda line: None)
    scaler, before = gradient_scaler(fabric), copy.deepcopy(layer)
    scale = scaler.get_scale() if scaler._scale is not None else scaler._init_scale
    fabric.backward(layer(torch.ones(2, 4)).sum() * float("inf"))
    optimisation.step(0)
    assert optimisation.skipped == 1 and torch.equal(layer.weight, before.weight)
    assert scaler.get_scale() == scale / 2
    fabric.backward(layer(torch.ones(2, 4)).sum())
    optimisation.step(1)
    assert optimisation.skipped == 0 and not torch.equal(layer.weight, before.weight)


def test_steps_without_a_finite_gradient_in_a_row_are_a_divergence():
    said, layer = [], nn.Linear(2, 2)
    optimisation = Optimisation(layer, config.Training(), fabric_of("32-true"), said.append)
    for step in range(MAX_SKIPPED - 1):
        optimisation.fabric.backward(layer(torch.ones(1, 2)).sum() * float("nan"))
        optimisation.step(step)
    assert len(said) == MAX_SKIPPED - 1 and "step 3: the gradient is not finite" in said[3]
    optimisation.fabric.backward(layer(torch.ones(1, 2)).sum() * float("nan"))
    with pytest.raises(UserError, match=f"diverged: {MAX_SKIPPED} steps"):
        optimisation.step(MAX_SKIPPED)


def test_learning_rates_follow_the_schedule_each_from_its_own():
    layer = nn.Linear(2, 2)
    settings = config.Training(steps=100, warmup=10, learning_rate=0.2)
    optimisation = Optimisation(layer, settings, fabric_of("32-true"))
    for step in (0, 5, 60):
        assert optimisation.set_learning_rates(step) == pytest.approx(0.2 * schedule(step, settings))
        for optimiser in optimisation.optimisers:
            for group in optimiser.param_groups:
                assert group["lr"] == pytest.approx(0.2 * schedule(step, settings))


def test_only_matrices_decay(codec):
    (adamw,) = optimisers(codec, config.Training())
    matrices, others = adamw.param_groups
    assert all(parameter.ndim > 1 for parameter in matrices["params"]) and matrices["weight_decay"] > 0
    assert all(parameter.ndim < 2 for parameter in others["params"]) and others["weight_decay"] == 0
