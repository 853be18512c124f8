"""The first phase: encoder, bottleneck and decoder together, with the paper's sparsity loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.metrics import si_snr, stft_distance
from snn_codec.models.network import Output
from snn_codec.models.surrogates import spike_function
from snn_codec.storage import entropy
from snn_codec.training import sparsity
from snn_codec.training.correlation import Correlation
from snn_codec.training.losses import signed_si_snr, training_loss
from snn_codec.training.optim import Optimisation, freeze_norms, gradient_norm, gradient_scaler
from snn_codec.training.phase import Phase, Row, Setup, Validation, mean_of_numbers, spread_levels

COLUMNS = (
    "loss",
    "si_snr",
    "stft",
    "waveform",
    "residual",
    "correlation",
    "gradient",
    "encoder_gradient",
    "learning_rate",
    "density",
    "dead_units",
    "saturated_units",
    "lambda",
    "sparsity",
    "rate_kbps",
    "kbps_dense",
    "kbps_coordinate",
    "kbps_compressed_time",
    "kbps_compressed_unit",
    "validation_si_snr",
    "validation_stft",
    "validation_density",
    "validation_kbps",
    "validation_coded_kbps",
    "validation_dead_units",
    "validation_saturated_units",
)
PARTS = ("encoder", "before", "bottleneck", "after", "decoder")
PROMPT = "prompt"  # of levels, in `before` and `after`


class PlainPhase(Phase):
    """Training of a whole codec; the best checkpoint has the highest SI-SNR or, of a sparse model, objective."""

    def __init__(self, setup: Setup):
        self.setup, self.training = setup, setup.settings.training
        self.codec = _initial_codec(setup)
        # a model may bring terms of its own: it names them, and each `Output.terms` has them, weighted, by name
        self.columns = (*COLUMNS, *getattr(self.codec, "loss_terms", ()))
        self.optimisation = Optimisation(self.codec, self.training, setup.fabric, setup.report)
        if self.training.frozen_norms:
            freeze_norms(self.codec)
        self.objective = sparsity.Objective(setup.settings.model, self.training.sparsity, setup.fabric)
        self.collapse = sparsity.CollapseMonitor()
        self.correlation = None
        if self.training.loss.correlation:
            self.correlation = Correlation(setup.settings.model.units).to(setup.fabric.device)

    def modules(self) -> dict[str, nn.Module]:
        modules = super().modules()
        if self.objective.estimator:
            modules["rate_estimator"] = self.objective.estimator.network
        if self.correlation:
            modules["correlation"] = self.correlation
        return modules

    def optimisers(self) -> list[torch.optim.Optimizer]:
        estimator = self.objective.estimator
        return [*super().optimisers(), *([estimator.optimiser] if estimator else [])]

    def counters(self) -> dict[str, float]:
        return super().counters() | self.collapse.counters()

    def set_counters(self, counters: Mapping[str, float]) -> None:
        super().set_counters(counters)
        self.collapse.set_counters(counters)

    def train_step(self, step: int, batch: Tensor, *, logged: bool) -> Row:
        learning_rate = self.optimisation.set_learning_rates(step)
        level = self.setup.level_prompts(step, batch)
        output = self.optimisation.model(batch, level)
        loss, terms = self._loss(step, output, batch, level)
        fabric = self.setup.fabric
        fabric.backward(loss)
        at_encoder = gradient_norm(self.codec.encoder, gradient_scaler(fabric)) if logged else 0.0
        norm = self.optimisation.step(step)
        if not logged:
            return {}
        row = {
            "loss": loss.item(),
            **{name: value.item() for name, value in terms.items()},
            "gradient": norm.item(),
            "encoder_gradient": at_encoder,
            "learning_rate": learning_rate,
            "lambda": self.objective.weight(step, self.training.steps),
            **self._activity(output.spikes.detach()),
        }
        # one crop of which a sparse model hears nothing takes the mean of a small batch to where noise is
        typical = signed_si_snr(output.audio.detach().float(), batch).quantile(0.5).item()
        means = self.setup.everywhere(torch.tensor([row["density"], typical], device=fabric.device))
        density, si_snr_everywhere = means.tolist()
        self.collapse.check(step + 1, row | {"density": density, "si_snr": si_snr_everywhere})
        return row

    def _loss(
        self, step: int, output: Output, batch: Tensor, level: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole loss of a step, and its terms by column."""
        loss, terms = training_loss(output, batch, self.training.loss)
        for name, value in getattr(output, "terms", {}).items():
            loss, terms[name] = loss + value, value.detach()
        if self.correlation:
            cost, terms["correlation"] = self.correlation(output.spikes, level, self.setup.everywhere)
            grown = min(1.0, step / max(1, self.training.warmup))
            loss = loss + grown * self.training.loss.correlation * cost
        if self.objective.settings.goal:
            self.objective.learn(output.spikes)
            cost, bits = self.objective(output.spikes, level)
            loss = loss + self.objective.weight(step, self.training.steps) * cost
            terms["sparsity"] = cost.detach()
            if bits is not None:
                grid = self.setup.settings.model
                cells_per_second = grid.units * grid.sample_rate / grid.hop
                terms["rate_kbps"] = bits.detach().mean() * (cells_per_second / 1000)
        return loss, terms

    def _activity(self, spikes: Tensor) -> Row:
        """How much units fire, and what that costs in the paper's formats."""
        rates, grid = spikes.float().mean((0, 2)), self.setup.settings.model
        density = rates.mean().item()
        return {
            "density": density,
            "dead_units": int((rates == 0).sum()),
            "saturated_units": int((rates == 1).sum()),
            **sparsity.rates(density, grid.units, grid.sample_rate / grid.hop),
        }

    def validate(self, step: int, clips: Sequence[np.ndarray]) -> Validation:
        codec = self.optimisation.ema
        grid = codec.settings
        events = [
            codec.encode(clip, grid.sample_rate, level=level)
            for clip, level in zip(clips, spread_levels(grid.levels, len(clips)), strict=True)
        ]
        decoded = [(codec.decode(matrix), clip) for matrix, clip in zip(events, clips, strict=True)]
        score = mean_of_numbers([si_snr(*pair) for pair in decoded])
        fired = np.sum([matrix.unit_counts() for matrix in events], axis=0)
        row = {
            "validation_si_snr": score,
            "validation_stft": mean_of_numbers([stft_distance(*pair) for pair in decoded]),
            "validation_density": float(np.mean([matrix.density for matrix in events])),
            "validation_kbps": float(np.mean([m.kbps(min(m.costs.values()) / 8) for m in events])),
            # what a file needs that is coded without a trained entropy model
            "validation_coded_kbps": float(
                np.mean([m.kbps(min(entropy.bits(m.events).values()) / 8) for m in events])
            ),
            "validation_dead_units": int((fired == 0).sum()),
            "validation_saturated_units": int((fired == sum(matrix.n_steps for matrix in events)).sum()),
        }
        message = (
            f"SI-SNR {score:.2f} dB, {row['validation_kbps']:.3f} kbps, "
            f"density {row['validation_density']:.3f}"
        )
        if self.objective.settings.goal:
            score -= self._penalty(events)
        held = sparsity.held(step, self.training.steps, self.objective.settings)
        return Validation(row, score if held else None, message)

    @torch.no_grad()
    def _penalty(self, events: Sequence[EventMatrix]) -> float:
        """lambda L_sparse of a validation, in dB: what SI-SNR's weight in the loss would make up for."""
        codec, costs = self.optimisation.ema, []
        for matrix in events:
            spikes = torch.tensor(matrix.events[None], dtype=torch.float32, device=codec.device)
            costs.append(self.objective(spikes, codec.level_tensor(matrix.levels[None, :1]))[0])
        cost = float(torch.stack(costs).mean())
        return self.objective.settings.goal * cost / max(self.training.loss.si_snr, 0.1)

    def save_best(self, folder: Path) -> None:
        self.optimisation.ema.save(folder, force=True)

    def note(self, row: Row) -> str:
        return f"loss {row['loss']:.3f}, SI-SNR {row['si_snr']:.2f} dB"


def _initial_codec(setup: Setup) -> Codec:
    """The codec that training starts from: random, or with the weights of a checkpoint.

    Raises:
        UserError: The checkpoint does not fit, or the settings contradict.
    """
    settings = setup.settings
    if settings.model.levels and settings.training.sparsity.objective == "fill":
        raise UserError("training.sparsity.objective=fill has one aim, not one for each level; use rate")
    bottleneck: Any = settings.model.bottleneck
    surrogate = getattr(bottleneck, "surrogate", None)
    if surrogate:
        spike_function(surrogate, bottleneck.slope)  # it is there, before anything is written
    torch.manual_seed(
        settings.training.seed
    )  # again: a module of one's own may have drawn numbers, or set a seed
    codec = Codec(settings.model)
    if setup.init_from and not setup.resumed:
        fresh = copy_weights(Codec.load(setup.init_from), codec, setup.init_from)
        if fresh and setup.fabric.is_global_zero:
            setup.report(f"{setup.init_from}: has no {', '.join(fresh)} of these sizes; these start anew")
    elif settings.training.frozen_norms and not setup.resumed:
        raise UserError("frozen_norms keeps the statistics of a trained model; name it with --init-from")
    return codec


def copy_weights(source: Codec, target: Codec, name: str) -> list[str]:
    """Copy the parts of `source` that `target` has as well; the names of what else of it has weights.

    A model that gets levels keeps its layers: the prompt of a level starts at zero, so that it does what it did.

    Raises:
        UserError: No part fits.
    """
    fresh = []
    for part in PARTS:
        module, weights = getattr(target, part), getattr(source, part).state_dict()
        own = module.state_dict()
        prompt = {PROMPT: own[PROMPT]} if PROMPT in own and PROMPT not in weights else {}
        weights |= prompt
        if {key: value.shape for key, value in own.items()} == {
            key: value.shape for key, value in weights.items()
        }:
            module.load_state_dict(weights)
            fresh += [f"{part}.{each}" for each in prompt]
        else:
            fresh.append(part)
    if {"encoder", "decoder"} <= set(fresh):
        raise UserError(
            f"{name}: its parts do not fit the settings; its encoder and decoder have other sizes"
        )
    return fresh
