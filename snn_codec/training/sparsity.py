"""The paper's SPARSE and mu-SPARSE objectives (Eq. 7 and 8), the same by true rate, and their schedule.

    loss = reconstruction + lambda(t) L_sparse
    SPARSE      L_sparse = mean over samples of relu(C(z) / (N T) - theta)                       (Eq. 7)
    mu-SPARSE   L_sparse = mean over samples of |K / (N T) - target(mu)| / target(mu)            (Eq. 8)
                target(mu) = densest 2^(-mu / halving)
    lambda(t) = goal (10^(4 x) - 1) / (10^4 - 1),   x = clip((t - start) / (stop - start), 0, 1)

C is the bits of the cheapest of the three sparse formats (`snn_codec.costs`), differentiable in the number of
events K; the pointers' ceil(log2 K) counts as a constant. Three phases: lambda is 0 until `start`, when audio is
recognisable; it grows until `stop`; then it is held.

With the objective `rate`, which the paper does not have, the bits that the entropy coder would need take the place of
C in Eq. 7 and of K in Eq. 8. Its entropy model (`snn_codec.training.rate`) is trained along: `RateEstimator`.
Start from a model with few events; otherwise the rate falls because as many events become predictable.
With `fill`, L_sparse is the bits per cell short of theta: FREE then uses the bits that it has (ours, too).

Departs: training crops are shorter than the paper's clips, so K is scaled up to a chunk of 256 steps. Eq. 8 has the
absolute difference, by which sparse levels would hardly count beside dense ones, and target 2^(-mu / 3), from 1
(all units fire all the time, which says nothing) to 0.0008 (no music is left).
"""

from __future__ import annotations

from collections.abc import Mapping

import lightning_fabric
import numpy as np
import torch
from torch import Tensor

from snn_codec import costs
from snn_codec import settings as config
from snn_codec.errors import TrainingFailed
from snn_codec.events import CHUNK_STEPS
from snn_codec.levels import LEVEL_PARTS
from snn_codec.training.rate import ContextNetwork, RateTraining

COLLAPSED_DB = -3.0  # noise; a model that hears anything is above
COLLAPSED_DENSITY = 1e-4
PATIENCE = 5  # logged rows


def storage_bits(spikes: Tensor) -> Tensor:
    """Bits of the cheapest sparse format, `[batch]`, of spikes `[batch, unit, step]`, as of a whole chunk."""
    units, steps = spikes.shape[1], CHUNK_STEPS
    events = spikes.float().sum((1, 2)) * (steps / spikes.shape[2])
    pointer = torch.ceil(torch.log2(events.detach().clamp(min=1)))
    unit_bits, step_bits = costs.bit_length(units), costs.bit_length(steps)
    return torch.stack(
        [
            events * (unit_bits + step_bits),
            events * step_bits + (units - 1) * pointer,
            events * unit_bits + (steps - 1) * pointer,
        ]
    ).amin(0)


def storage_loss(spikes: Tensor, theta: float) -> Tensor:
    """Eq. 7: bits per cell beyond `theta`, mean over the batch."""
    return torch.relu(storage_bits(spikes) / (spikes.shape[1] * CHUNK_STEPS) - theta).mean()


def level_loss(amount: Tensor, level: Tensor, settings: config.Sparsity) -> Tensor:
    """Eq. 8, relative: `amount` per cell (events or bits) and level, `[batch]` both; mean over the batch."""
    target = settings.densest * 2 ** (-level / settings.halving)
    return (amount / target - 1).abs().mean()


def level_draw(step: int, seed: int, rank: int, batch: int, levels: int, top_share: float = 0.0) -> Tensor:
    """Draw the levels of a training step, `[batch, 1]`: any eighth in 0..levels - 1, by step and seed alone.

    `top_share` of the samples have level 0 whatever is drawn.
    """
    random = np.random.default_rng([seed, 8, step, rank])
    codes = random.integers(0, (levels - 1) * LEVEL_PARTS, (batch, 1), endpoint=True)
    codes[random.random((batch, 1)) < top_share] = 0
    return torch.from_numpy(codes / LEVEL_PARTS).float()


class RateEstimator:
    """Estimates bits per cell of spikes by an entropy model that is trained along with the codec.

    Args:
        units: N.
        fabric: Where to compute; gradients are averaged over its processes.
    """

    def __init__(self, units: int, fabric: lightning_fabric.Fabric):
        settings = RateTraining()
        self.fabric = fabric
        self.network = ContextNetwork(units, settings.history, settings.layers).to(fabric.device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate / 3, weight_decay=settings.weight_decay
        )

    def learn(self, spikes: Tensor) -> None:
        """Train the entropy model for one step on these spikes, `[batch, unit, step]`."""
        self.network(spikes.detach()).mean().backward()
        if self.fabric.world_size > 1:
            for parameter in self.network.parameters():
                parameter.grad = self.fabric.all_reduce(parameter.grad, reduce_op="mean")
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def bits(self, spikes: Tensor) -> Tensor:
        """Bits per cell of each sample, `[batch]`, differentiable in the spikes alone."""
        frozen = {name: value.detach() for name, value in self.network.named_parameters()}
        return torch.func.functional_call(self.network, frozen, (spikes,)).mean((1, 2))


class Objective:
    """L_sparse and its weight for one model.

    Args:
        model: Its units and levels.
        settings: Which objective, and its schedule.
        fabric: Where to compute.

    Attributes:
        estimator: What estimates bits per cell; None for the objective `storage`, which needs none.
    """

    def __init__(self, model: config.Model, settings: config.Sparsity, fabric: lightning_fabric.Fabric):
        self.settings = settings
        self.estimator = None if settings.objective == "storage" else RateEstimator(model.units, fabric)

    def weight(self, step: int, steps: int) -> float:
        """lambda at a step of `steps`."""
        return weight(step, steps, self.settings)

    def learn(self, spikes: Tensor) -> None:
        """Train the estimator, if there is one, on spikes `[batch, unit, step]`."""
        if self.estimator:
            self.estimator.learn(spikes)

    def __call__(self, spikes: Tensor, level: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """L_sparse of spikes `[batch, unit, step]` at levels `[batch, 1]`; bits per cell of each, if estimated."""
        bits = self.estimator.bits(spikes) if self.estimator else None
        if level is not None:
            amount = spikes.mean((1, 2)) if bits is None else bits
            return level_loss(amount, level[:, 0], self.settings), bits
        if bits is not None:
            excess = bits - self.settings.theta
            return torch.relu(-excess if self.settings.objective == "fill" else excess).mean(), bits
        return storage_loss(spikes, self.settings.theta), None


def weight(step: int, steps: int, settings: config.Sparsity) -> float:
    """lambda at a step of `steps`."""
    start, stop = settings.start * steps, settings.stop * steps
    x = min(1.0, max(0.0, (step - start) / max(1.0, stop - start)))
    return settings.goal * (10 ** (4 * x) - 1) / (10**4 - 1)


def held(step: int, steps: int, settings: config.Sparsity) -> bool:
    """Whether lambda has reached its goal; before that, a model is not yet as sparse as it will be."""
    return settings.goal == 0 or step >= settings.stop * steps


def rates(density: float, units: int, step_rate: float) -> dict[str, float]:
    """kbps of a chunk of this density in each of the paper's formats, as columns of the log."""
    bits = costs.all_bits(units, CHUNK_STEPS, round(density * units * CHUNK_STEPS))
    return {f"kbps_{name}": value * step_rate / CHUNK_STEPS / 1000 for name, value in bits.items()}


class CollapseMonitor:
    """Detects, from the rows of the log with the median of SI-SNR over crops, that sparsity has made a model noise."""

    def __init__(self) -> None:
        self._bad = 0  # rows in a row
        self._before = float("-inf")  # the best SI-SNR

    def check(self, step: int, row: Mapping[str, float]) -> None:
        """Check the next logged row.

        Raises:
            TrainingFailed: `PATIENCE` rows in a row were noise, or without events; it says when, and the likely cause.
        """
        if row["density"] < COLLAPSED_DENSITY:
            reason = f"only {row['density']:.6f} of the cells fire"
        elif row["si_snr"] < COLLAPSED_DB:
            reason = f"SI-SNR is {row['si_snr']:.1f} dB"
        else:
            self._before = max(self._before, row["si_snr"])
            self._bad = 0
            return
        self._bad += 1
        if self._bad >= PATIENCE and row["lambda"] > 0 and self._before > COLLAPSED_DB:
            raise TrainingFailed(
                f"step {step}: training has collapsed: {reason} (it was up to {self._before:.1f} dB), "
                f"density {row['density']:.4f}, {int(row['dead_units'])} dead units, lambda {row['lambda']:.3g}; "
                "lower training.sparsity.goal, raise theta, or let lambda grow more slowly (start, stop)"
            )

    def counters(self) -> dict[str, float]:
        """What it has counted, for the run's state."""
        return {"collapsed_rows": self._bad, "best_si_snr": self._before}

    def set_counters(self, counters: Mapping[str, float]) -> None:
        """Go on from what `counters` gave, if that is there."""
        self._bad = int(counters.get("collapsed_rows", self._bad))
        self._before = counters.get("best_si_snr", self._before)
