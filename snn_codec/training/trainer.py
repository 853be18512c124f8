"""The training loop: any number of devices through Lightning Fabric, resumable after a kill at any moment.

A run folder holds `config.json`, `log.csv`, `state.safetensors` (all that is needed to go on exactly) and
`best` (the checkpoint with the best validation so far, averaged weights: by SI-SNR; of a sparse model by the whole
objective, in dB, since lambda is held).
"""

from __future__ import annotations

import copy
import csv
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import lightning_fabric
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import CHUNK_STEPS, EventMatrix
from snn_codec.files import replacing
from snn_codec.metrics import si_snr, stft_distance
from snn_codec.training import sparsity
from snn_codec.training.correlation import Correlation
from snn_codec.training.datasets import Crops, StepSampler, clips, recordings
from snn_codec.training.losses import training_loss

COLUMNS = (
    "step",
    "seconds",
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
)
LOG_EVERY = 50
BAD_STEPS = 20


@dataclass(frozen=True)
class Run:
    """Where and on what a training runs; nothing here changes what is computed, but `devices` its batch."""

    data: Sequence[Path]
    folder: Path
    resume: bool = False
    init_from: str | None = None
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    workers: int = 1
    threads: int | None = None
    force: bool = False


def train(settings: config.Config, run: Run, console: Console | None = None) -> Path:
    """Train a codec; the folder of its best checkpoint.

    With several devices, each draws its own batch, and gradients are averaged.

    Raises:
        UserError: Data or run folder cannot be used, or the training diverged.
    """
    console = console or Console(stderr=True)
    if settings.phase.kind != "plain":
        from snn_codec.training.phases import with_model_of_checkpoint

        settings = with_model_of_checkpoint(settings, run)
    if run.threads:
        torch.set_num_threads(run.threads)
    torch.set_flush_denormal(True)  # denormal numbers make a CPU several times slower
    fabric = lightning_fabric.Fabric(
        accelerator=run.accelerator,
        devices=run.devices,
        num_nodes=run.nodes,
        strategy="ddp" if run.devices * run.nodes > 1 else "auto",
        precision=_precision(settings.training.precision, run.accelerator),
    )
    fabric.launch()
    return _trainer_of(settings.phase)(settings, run, fabric, console).run()


def _trainer_of(phase: config.Phase) -> type[Trainer]:
    if phase.kind == "gan":
        from snn_codec.training.gan import GanTrainer

        return GanTrainer
    if phase.kind in ("flow", "diffusion"):
        from snn_codec.training.diffusion import DiffusionTrainer

        return DiffusionTrainer
    return Trainer


class Trainer:
    """The first phase. Another one is a subclass with networks, steps and a validation of its own."""

    columns = COLUMNS

    def __init__(self, settings: config.Config, run: Run, fabric: lightning_fabric.Fabric, console: Console):
        self.settings, self.training, self.fabric, self.console = settings, settings.training, fabric, console
        self.folder, self.where = run.folder, run
        paths = [path for folder in run.data for path in recordings(folder, "train")]
        torch.manual_seed(self.training.seed)
        self.crops = Crops(paths, settings.model.sample_rate, self.training)
        self.step, self.best, self.elapsed, self.bad = 0, -math.inf, 0.0, 0
        self.meter = self.correlation = None
        self._build()
        self._open_folder(run)
        self.clips = self._validation_clips() if fabric.is_global_zero else []

    def _build(self) -> None:
        """Make networks and optimisers."""
        settings, run, fabric = self.settings, self.where, self.fabric
        codec = Codec(settings.model)
        if run.init_from:
            fresh = _copy_weights(Codec.load(run.init_from), codec, run.init_from)
            if fresh and fabric.is_global_zero:
                self.console.print(f"{run.init_from}: has no {', '.join(fresh)} like that; these start anew")
        elif self.training.frozen_norms and not run.resume:
            raise UserError("frozen_norms keeps the statistics of a trained model; name it with --init-from")
        if settings.model.levels and self.training.sparsity.objective == "fill":
            raise UserError("training.sparsity.objective=fill has one aim, not one for each level; use rate")
        self.ema = copy.deepcopy(codec).eval().requires_grad_(False).to(fabric.device)
        self.optimizers = optimizers(codec, self.training)
        self.rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self.model, *self.optimizers = fabric.setup(codec, *self.optimizers)
        self.codec = codec
        if self.training.frozen_norms:
            freeze_norms(codec)
        self.watch = sparsity.CollapseWatch()
        self.pressure = self.training.sparsity
        grid = settings.model
        self.kbps_dense = grid.units * grid.sample_rate / grid.hop / 1000
        if self.pressure.objective != "storage":
            self.meter = sparsity.RateMeter(settings.model.units, fabric)
        if self.training.loss.correlation:
            self.correlation = Correlation(settings.model.units).to(fabric.device)

    def _modules(self) -> dict[str, nn.Module]:
        """The networks whose weights are the run's state, by name."""
        modules = {"model": self.codec, "ema": self.ema}
        modules |= {"meter": self.meter.network} if self.meter else {}
        return modules | ({"correlation": self.correlation} if self.correlation else {})

    def _facts(self) -> dict[str, str]:
        """What else has to be the same when the run is resumed, by name."""
        return {}

    def run(self) -> Path:
        self.began = time.monotonic() - self.elapsed
        self.saved = time.monotonic()
        loader = self.fabric.setup_dataloaders(self._loader(), use_distributed_sampler=False)
        shown = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.fabric.is_global_zero,
        )
        with shown as progress:
            bar = progress.add_task("training", total=self.training.steps, completed=self.step, note="")
            for batch in loader:
                row = self._train_step(batch)
                self.step += 1
                last = self.step == self.training.steps
                if self._validates(self.step):
                    row |= self._validate()
                if self._logs(self.step):
                    self._log(row)
                    progress.update(bar, note=self._note(row))
                if last or time.monotonic() - self.saved > 60 * self.training.checkpoint_minutes:
                    self._save()
                progress.update(bar, completed=self.step)
        self.fabric.barrier()
        return self.folder / "best"

    def _note(self, row: dict[str, float]) -> str:
        return f"loss {row['loss']:.3f}, SI-SNR {row['si_snr']:.2f} dB"

    def _loader(self) -> DataLoader[Tensor]:
        sampler = StepSampler(
            self.step,
            self.training.steps,
            self.training.batch,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        return DataLoader(self.crops, self.training.batch, sampler=sampler, num_workers=self.where.workers)

    def _train_step(self, batch: Tensor) -> dict[str, float]:
        factor = self._set_rates()
        level = self._levels(batch)
        output = self.model(batch, level)
        loss, terms = training_loss(output, batch, self.training.loss)
        pressure = sparsity.weight(self.step, self.training.steps, self.pressure)
        if self.correlation:
            cost, terms["correlation"] = self.correlation(
                output.spikes, level, partial(self.fabric.all_reduce, reduce_op="mean")
            )
            grown = min(1.0, self.step / max(1, self.training.warmup))
            loss = loss + grown * self.training.loss.correlation * cost
        if self.pressure.goal:
            if self.meter:
                self.meter.learn(output.spikes)
            cost, bits = self._sparse_loss(output.spikes, level)
            loss = loss + pressure * cost
            terms["sparsity"] = cost.detach()
            if bits is not None:
                terms["rate_kbps"] = bits.detach().mean() * self.kbps_dense
        self.fabric.backward(loss)
        at_encoder = gradient_norm(self.codec.encoder) if self._logs(self.step + 1) else 0.0
        norm = nn.utils.clip_grad_norm_(self.codec.parameters(), self.training.clip)
        if torch.isfinite(norm):
            for optimizer in self.optimizers:
                optimizer.step()
            self.bad = 0
        else:  # averaged over devices, so that all of them skip
            self._skipped()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        average(self.ema, self.codec, min(self.training.ema, (1 + self.step) / (10 + self.step)))
        if not self._logs(self.step + 1):
            return {}
        rates = output.spikes.detach().float().mean((0, 2))
        density, grid = rates.mean().item(), self.settings.model
        row = {
            "loss": loss.item(),
            **{name: value.item() for name, value in terms.items()},
            "gradient": norm.item(),
            "encoder_gradient": at_encoder,
            "learning_rate": self.training.learning_rate * factor,
            "density": density,
            "dead_units": int((rates == 0).sum()),
            "saturated_units": int((rates == 1).sum()),
            "lambda": pressure,
            **sparsity.rates(density, grid.units, grid.sample_rate / grid.hop),
        }
        self.watch.check(self.step + 1, row | self._everywhere(row, "density", "si_snr"))
        return row

    def _everywhere(self, row: dict[str, float], *names: str) -> dict[str, float]:
        """Means over all devices, so that all of them draw the same conclusion."""
        if self.fabric.world_size == 1:
            return {}
        means = self.fabric.all_reduce(
            torch.tensor([row[name] for name in names], device=self.fabric.device), reduce_op="mean"
        )
        return dict(zip(names, means.tolist(), strict=True))

    def _set_rates(self) -> float:
        """Give the optimisers this step's share of their learning rates; the share."""
        factor = schedule(self.step, self.training)
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        return factor

    def _levels(self, batch: Tensor) -> Tensor | None:
        """The levels to prompt this step with, if the model has any."""
        levels = self.settings.model.levels
        if not levels:
            return None
        drawn = sparsity.level_draw(
            self.step,
            self.training.seed,
            self.fabric.global_rank,
            len(batch),
            levels,
            self.training.sparsity.top_share,
        )
        return drawn.to(batch.device)

    def _sparse_loss(self, spikes: Tensor, level: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """L_sparse of spikes `[batch, unit, step]`, and the bits per cell of each sample if they are measured."""
        bits = self.meter.bits(spikes) if self.meter else None
        if level is not None:
            amount = spikes.mean((1, 2)) if bits is None else bits
            return sparsity.level_loss(amount, level[:, 0], self.pressure), bits
        if bits is not None:
            beyond = bits - self.pressure.theta
            return torch.relu(-beyond if self.pressure.objective == "fill" else beyond).mean(), bits
        return sparsity.storage_loss(spikes, self.pressure.theta), None

    def _validates(self, step: int) -> bool:
        return step == self.training.steps or step % self.training.validate_every == 0

    def _logs(self, step: int) -> bool:
        return step % LOG_EVERY == 0 or self._validates(step)

    def _skipped(self) -> None:
        self.bad += 1
        self.console.print(f"step {self.step}: the gradient is not finite; the step is skipped")
        if self.bad >= BAD_STEPS:
            raise UserError(
                f"training diverged: {BAD_STEPS} steps in a row had gradients that are not finite; "
                "lower training.learning_rate, or check the data"
            )

    def _validate(self) -> dict[str, float]:
        if not self.fabric.is_global_zero:
            return {}
        grid = self.ema.settings
        # of a model with levels, one for each clip, from the first to the last
        levels = np.linspace(0, grid.levels - 1, len(self.clips)) if grid.levels else [None] * len(self.clips)
        events = [
            (clip, self.ema.encode(clip, grid.sample_rate, level=level))
            for clip, level in zip(self.clips, levels, strict=True)
        ]
        decoded = [(self.ema.decode(matrix), clip) for clip, matrix in events]
        score = float(np.mean([si_snr(*pair) for pair in decoded]))
        row = {
            "validation_si_snr": score,
            "validation_stft": float(np.mean([stft_distance(*pair) for pair in decoded])),
            "validation_density": float(np.mean([matrix.density for _, matrix in events])),
            "validation_kbps": float(np.mean([m.kbps(min(m.costs.values()) / 8) for _, m in events])),
        }
        self.console.print(
            f"step {self.step}: validation SI-SNR {score:.2f} dB, "
            f"{row['validation_kbps']:.3f} kbps, density {row['validation_density']:.3f}"
        )
        if self.pressure.goal:
            score -= self._penalty(events)
        if score > self.best and sparsity.held(self.step, self.training.steps, self.pressure):
            self.best = score
            self.ema.save(self.folder / "best", force=True)
        return row

    @torch.no_grad()
    def _penalty(self, events: Sequence[tuple[np.ndarray, EventMatrix]]) -> float:
        """The validation's lambda L_sparse, in dB: what SI-SNR's weight in the loss would make up for."""
        costs = []
        for _, matrix in events:
            spikes = torch.tensor(matrix.events[None], dtype=torch.float32, device=self.fabric.device)
            costs.append(self._sparse_loss(spikes, self.ema.level_tensor(matrix.levels[None, :1]))[0])
        return self.pressure.goal * float(torch.stack(costs).mean()) / max(self.training.loss.si_snr, 0.1)

    def _validation_clips(self) -> list[np.ndarray]:
        length, rate = CHUNK_STEPS * self.settings.model.hop, self.settings.model.sample_rate
        paths = [path for folder in self.where.data for path in recordings(folder, "validation")]
        found = list(clips(paths, length, rate, each=1))
        if not found:
            raise UserError(f"{self.where.data[0]}: no validation recording is {length / rate:.1f} s long")
        chosen = np.linspace(0, len(found) - 1, min(len(found), self.training.validation_clips)).round()
        return [found[int(i)] for i in chosen]

    # --- the run folder ---

    def _open_folder(self, run: Run) -> None:
        state, saved = self.folder / "state.safetensors", self.folder / "config.json"
        if run.resume:
            if not saved.is_file():
                raise UserError(f"{self.folder}: holds no run to resume; leave out --resume")
            if config.from_dict(config.Config, json.loads(saved.read_text()), str(saved)) != self.settings:
                raise UserError(f"{saved}: differs from the settings given; resume with the same ones")
            if state.is_file():
                self._load(state)
        elif self.fabric.is_global_zero:
            if saved.exists() and not run.force:
                raise UserError(
                    f"{self.folder}: holds a run already; use --resume, --force or another folder"
                )
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"{self.folder}: cannot be made ({error.strerror})") from error
            state.unlink(missing_ok=True)
            with replacing(saved, force=True) as temporary:
                temporary.write_text(json.dumps(config.to_dict(self.settings), indent=2) + "\n")
        self.fabric.barrier()
        if self.fabric.is_global_zero:
            self._truncate_log()

    def _truncate_log(self) -> None:
        path, rows = self.folder / "log.csv", []
        if path.exists() and self.step:
            with open(path, newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= self.step]
        with replacing(path, force=True) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)

    def _log(self, row: dict[str, float]) -> None:
        if self.fabric.is_global_zero:
            seconds = round(time.monotonic() - self.began, 1)
            with open(self.folder / "log.csv", "a", newline="") as file:
                csv.DictWriter(file, self.columns).writerow({"step": self.step, "seconds": seconds} | row)

    def _all_optimizers(self) -> list[torch.optim.Optimizer]:
        return [*self.optimizers, *([self.meter.optimizer] if self.meter else [])]

    def _save(self) -> None:
        self.saved = time.monotonic()
        if not self.fabric.is_global_zero:
            return
        tensors = {
            f"{part}.{name}": value
            for part, module in self._modules().items()
            for name, value in module.state_dict().items()
        }
        for number, optimizer in enumerate(self._all_optimizers()):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {
                    f"optimizer.{number}.{index}.{name}": torch.as_tensor(value)
                    for name, value in state.items()
                }
        metadata = {
            "step": str(self.step),
            "best": repr(self.best),
            "elapsed": repr(time.monotonic() - self.began),
        } | self._facts()
        with replacing(self.folder / "state.safetensors", force=True) as temporary:
            save_file(
                {
                    name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                    for name, value in tensors.items()
                },
                temporary,
                metadata=metadata,
            )

    def _load(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: is damaged ({error}); start again without --resume") from error
        for name, value in self._facts().items():
            if metadata.get(name) != value:
                raise UserError(
                    f"{path}: is of a run whose {name} is {metadata.get(name)}, not {value}; resume with the same one"
                )
        for part, module in self._modules().items():
            module.load_state_dict(
                {
                    name[len(part) + 1 :]: value
                    for name, value in tensors.items()
                    if name.startswith(f"{part}.")
                }
            )
        for number, optimizer in enumerate(self._all_optimizers()):
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                kind, *place = name.split(".")
                if kind == "optimizer" and int(place[0]) == number:
                    state.setdefault(int(place[1]), {})[place[2]] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self.step, self.best = int(metadata["step"]), float(metadata["best"])
        self.elapsed = float(metadata["elapsed"])


def schedule(step: int, settings: config.Training) -> float:
    """Share of the learning rate at a step: linear warm-up, then half a cosine down to 2 %."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup))
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / max(1, settings.steps))))


def optimizers(codec: nn.Module, settings: config.Training) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters, or Muon for the matrices of the networks and AdamW for the rest.

    Only matrices and kernels decay. The bottleneck's matrices stay with AdamW: their rows are units.

    Raises:
        UserError: Muon is asked for, and this torch does not have it.
    """
    matrices, rest, plain = [], [], []
    for name, parameter in codec.named_parameters():
        if parameter.ndim < 2:
            plain.append(parameter)
        elif parameter.ndim == 2 and settings.optimizer == "muon" and not name.startswith("bottleneck"):
            matrices.append(parameter)
        else:
            rest.append(parameter)
    groups = [{"params": rest}, {"params": plain, "weight_decay": 0.0}]
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
    muon = torch.optim.Muon(matrices, lr=settings.muon_learning_rate, weight_decay=settings.weight_decay)
    return [muon, adamw]


def freeze_norms(codec: Codec) -> None:
    """Hold the statistics of the bottleneck's batch norms, in training, too; their weights learn on."""
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


def gradient_norm(module: nn.Module) -> float:
    """Euclidean norm of the gradients of all parameters of a module that have one; 0 if none has."""
    norms = [p.grad.detach().float().norm() for p in module.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _copy_weights(source: Codec, target: Codec, name: str) -> list[str]:
    """Copy the parts of `source` that `target` has, too; the names of its other parts that have weights.

    Raises:
        UserError: No part fits.
    """
    fresh = []
    for part in ("encoder", "before", "bottleneck", "after", "decoder"):
        wanted, given = getattr(target, part), getattr(source, part).state_dict()
        if {key: value.shape for key, value in wanted.state_dict().items()} == {
            key: value.shape for key, value in given.items()
        }:
            wanted.load_state_dict(given)
        else:
            fresh.append(part)
    if {"encoder", "decoder"} <= set(fresh):
        raise UserError(
            f"{name}: its parts do not fit the settings; its encoder and decoder have other sizes"
        )
    return fresh


def _precision(wanted: str, accelerator: str) -> str:
    if wanted != "auto":
        return wanted
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()  # without it, bf16 is slower
    return "bf16-mixed" if native else "32-true"


def threads_per_process(devices: int) -> int:
    """Cores for each of `devices` processes on this machine's CPU."""
    return max(1, (os.cpu_count() or 1) // devices)
