"""Optimisers of a network: their parameters, schedule, clipping, steps that are skipped, and averaged weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning_fabric
import torch
from torch import Tensor, nn

from snn_codec import settings as config
from snn_codec.errors import TrainingFailed, UserError

MAX_SKIPPED = 20  # steps in a row without a finite gradient; then training has diverged


class Optimisation:
    """A network in training: its optimisers, and the moving average of its weights.

    Args:
        network: What is trained.
        settings: Learning rates, schedule, clipping and the share of the average.
        fabric: Where to compute.
        report: Takes a line for the user.

    Attributes:
        model: The network as it is to be called in a training step.
        ema: The averaged network, in evaluation mode.
        optimisers: As Fabric wraps them.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: config.Training,
        fabric: lightning_fabric.Fabric,
        report: Callable[[str], None] = print,
    ):
        self.network, self.settings, self.fabric, self.report = network, settings, fabric, report
        self.ema = copy.deepcopy(network).eval().requires_grad_(False).to(fabric.device)
        self.model, *self.optimisers = fabric.setup(network, *optimisers(network, settings))
        self._rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in self.optimisers]
        self.skipped = 0

    def set_learning_rates(self, step: int) -> float:
        """Set the optimisers' learning rates for this step, and return the main one."""
        factor = schedule(step, self.settings)
        for optimiser, rates in zip(self.optimisers, self._rates, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        return self.settings.learning_rate * factor

    def step(self, step: int) -> Tensor:
        """Clip the gradients, step the weights and their average, and return the gradients' norm before clipping.

        A step whose gradient is not finite is skipped. Gradients are averaged over devices, so that all skip it.

        Raises:
            TrainingFailed: `MAX_SKIPPED` steps in a row were skipped.
        """
        norm, moved = clip_and_step(self.fabric, self.network, self.optimisers, self.settings.clip)
        self.skipped = 0 if moved else self.skipped + 1
        if not moved:
            self.report(f"step {step}: the gradient is not finite; the step is skipped")
        if self.skipped >= MAX_SKIPPED:
            raise TrainingFailed(
                f"training diverged: {MAX_SKIPPED} steps in a row had gradients that are not finite; "
                "lower training.learning_rate, or check the data"
            )
        average(self.ema, self.network, min(self.settings.ema, (1 + step) / (10 + step)))
        return norm


def clip_and_step(
    fabric: lightning_fabric.Fabric, network: nn.Module, optimisers: Sequence, max_norm: float
) -> tuple[Tensor, bool]:
    """Step all optimisers with gradients clipped to `max_norm`, and clear these: the norm, and if there was a step.

    Under 16-mixed, gradients are multiplied by the gradient scaler's factor: they are divided by it before they are
    clipped. (`fabric.clip_gradients` does that for one optimiser; a network may have two.)
    """
    for optimiser in optimisers:
        fabric.strategy.precision.unscale_gradients(optimiser.optimizer)
    norm = nn.utils.clip_grad_norm_(network.parameters(), max_norm)
    moved, scaler = bool(torch.isfinite(norm)), gradient_scaler(fabric)
    for optimiser in optimisers if moved else ():
        if scaler is None:
            optimiser.step()
        else:
            scaler.step(optimiser.optimizer)
    if scaler is not None:
        scaler.update()  # also after a skipped step, or the factor would never fall
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    return norm, moved


def gradient_scaler(fabric: lightning_fabric.Fabric) -> torch.amp.GradScaler | None:
    """The gradient scaler of 16-mixed precision; None under another."""
    return getattr(fabric.strategy.precision, "scaler", None)


def gradient_norm(module: nn.Module, scaler: torch.amp.GradScaler | None = None) -> float:
    """Euclidean norm of the gradients of all parameters of a module that have one; 0 if none has.

    `scaler` is the one that has multiplied them, if any.
    """
    norms = [p.grad.detach().float().norm() for p in module.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) / (scaler.get_scale() if scaler else 1.0) if norms else 0.0


def schedule(step: int, settings: config.Training) -> float:
    """Share of the learning rate at a step: linear warm-up, then half a cosine down to 2 %."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup))
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / max(1, settings.steps))))


def optimisers(network: nn.Module, settings: config.Training) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters, or Muon for the matrices of the networks, if there are any, and AdamW for the rest.

    Only matrices and kernels decay. The bottleneck's matrices stay with AdamW: their rows are units.

    Departs: AdamW's epsilon is 1e-8, the paper's 1e-6.

    Raises:
        UserError: Muon is asked for, and this torch does not have it.
    """
    matrices, rest, plain = [], [], []
    for name, parameter in network.named_parameters():
        if parameter.ndim < 2:
            plain.append(parameter)
        elif parameter.ndim == 2 and settings.optimizer == "muon" and not name.startswith("bottleneck"):
            matrices.append(parameter)
        else:
            rest.append(parameter)
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": plain, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        foreach=True,
    )
    if settings.optimizer == "adamw":
        return [adamw]
    if not hasattr(torch.optim, "Muon"):
        raise UserError(
            f"torch {torch.__version__} has no Muon (2.9 has); use --set training.optimizer=adamw"
        )
    if not matrices:
        return [adamw]
    muon = torch.optim.Muon(matrices, lr=settings.muon_learning_rate, weight_decay=settings.weight_decay)
    return [muon, adamw]


def freeze_norms(codec: nn.Module) -> None:
    """Freeze the statistics of the bottleneck's batch norms in training; their weights go on learning."""
    for module in codec.bottleneck.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()


def average(ema: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the averaged weights and statistics `ema` towards `module`: `a <- decay a + (1 - decay) w`."""
    with torch.no_grad():
        values = module.state_dict()
        for name, mean in ema.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(values[name].to(mean), 1 - decay)
            else:
                mean.copy_(values[name])
