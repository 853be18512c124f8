"""What a training phase is: networks, a step and a validation; `snn_codec.training.loop` runs it.

A new phase is a subclass of `Phase`, a line in `snn_codec.training.phases.PHASES`, and a dataclass of settings of the
same `kind`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import lightning_fabric
import numpy as np
import torch
from torch import Tensor, nn

from snn_codec import settings as config
from snn_codec.training import sparsity
from snn_codec.training.datasets import Crops
from snn_codec.training.optim import Optimisation

Row = dict[str, float]  # of the log, by column


@dataclass(frozen=True)
class Setup:
    """What a phase is made from.

    Attributes:
        settings: Of the whole run.
        fabric: Where to compute.
        crops: What it trains on.
        init_from: The checkpoint that it starts from.
        resumed: Whether its weights will be those of a state that was saved.
        report: Takes a line for the user.
    """

    settings: config.Config
    fabric: lightning_fabric.Fabric
    crops: Crops
    init_from: str | None = None
    resumed: bool = False
    report: Callable[[str], None] = print

    def everywhere(self, value: Tensor) -> Tensor:
        """The mean of a value over all devices."""
        return self.fabric.all_reduce(value, reduce_op="mean") if self.fabric.world_size > 1 else value

    def level_prompts(self, step: int, batch: Tensor) -> Tensor | None:
        """The levels `[batch, 1]` to prompt a step with; None if the model has no levels."""
        levels = self.settings.model.levels
        if not levels:
            return None
        training = self.settings.training
        drawn = sparsity.level_draw(
            step, training.seed, self.fabric.global_rank, len(batch), levels, training.sparsity.top_share
        )
        return drawn.to(batch.device)

    def random(self, step: int, purpose: int, *more: int) -> np.random.Generator:
        """Random numbers of a step for one purpose: the same after a resume and, without `more`, on all devices."""
        return np.random.default_rng([self.settings.training.seed, purpose, step, *more])


def mean_of_numbers(values: Sequence[float]) -> float:
    """The mean of those that are numbers: silence has no SI-SNR. NaN if none is."""
    found = [value for value in values if not math.isnan(value)]
    return sum(found) / len(found) if found else math.nan


class Validation(NamedTuple):
    """The result of a validation.

    Attributes:
        row: Columns of the log.
        score: The checkpoint with the highest is kept; None if this one is not to be.
        message: For the user.
    """

    row: Row
    score: float | None
    message: str


class Phase(ABC):
    """One phase of training.

    Attributes:
        columns: Of its log, without `step` and `seconds`.
        optimisation: Of the network that it trains.
    """

    columns: tuple[str, ...]
    optimisation: Optimisation

    def modules(self) -> dict[str, nn.Module]:
        """The networks whose weights and buffers are the run's state, by name."""
        return {"model": self.optimisation.network, "ema": self.optimisation.ema}

    def optimisers(self) -> list[torch.optim.Optimizer]:
        """The optimisers whose moments are the run's state, always in the same order."""
        return self.optimisation.optimisers

    def counters(self) -> dict[str, float]:
        """Numbers of the run's state that decide when it is given up, by name."""
        return {"skipped": self.optimisation.skipped}

    def set_counters(self, counters: Mapping[str, float]) -> None:
        """Put in what `counters` gave; a state of the version before has none."""
        self.optimisation.skipped = int(counters.get("skipped", 0))

    @abstractmethod
    def train_step(self, step: int, batch: Tensor, *, logged: bool) -> Row:
        """Train on normalised audio `[batch, samples]`, and return the row of the log, empty unless `logged`."""

    @abstractmethod
    def validate(self, step: int, clips: Sequence[np.ndarray]) -> Validation:
        """Measure the averaged network on clips, float `[samples]` each; called on the main rank alone."""

    @abstractmethod
    def save_best(self, folder: Path) -> None:
        """Write the checkpoint of the averaged network to a folder.

        Raises:
            UserError: It cannot be written.
        """

    @abstractmethod
    def note(self, row: Row) -> str:
        """Text for the progress bar from a logged row."""

    def identity(self) -> dict[str, str]:
        """Facts that must be the same when the run is resumed, by name."""
        return {}


def spread_levels(levels: int, clips: int) -> Sequence[float | None]:
    """The level of each validation clip, evenly from the lowest to the highest; None for each if the model has none."""
    return np.linspace(0, levels - 1, clips).tolist() if levels else [None] * clips
