"""The grid of a study: surrogate gradients, and neurons if asked, against each other.

A cell of the grid is a setting (FREE, or SPARSE from the same cell's FREE on), a choice (a surrogate with its
parameter, and a neuron) and a seed. All choices of a seed start from the same weights and hear the same crops in the
same order. Each cell is an ordinary run of `snn_codec.training.loop` in a process and a folder of its own,
`SETTING/CHOICE/seedN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from snn_codec import corpus
from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.models import surrogates
from snn_codec.surrogate_study import level_curve, neurons
from snn_codec.training.optim import optimisers

SETTINGS = ("free", "sparse")
VALIDATIONS = 8  # of a run
CLIPS = 8  # of a validation
VARIED = ("training.seed", "model.bottleneck.surrogate", "model.bottleneck.slope")
JOINT = "@"  # between the labels of a surrogate and a neuron


@dataclass(frozen=True)
class Cell:
    """One training run: its setting, the label of its choice, its seed."""

    setting: str
    choice: str
    seed: int

    def __str__(self) -> str:
        return f"{self.setting.upper()}, {self.choice}, seed {self.seed}"

    def folder(self, root: Path) -> Path:
        """Where below the study's folder the run is."""
        return root / self.setting / self.choice.replace(":", "-") / f"seed{self.seed}"


@dataclass(frozen=True)
class Study:
    """A grid of cells.

    Attributes:
        base: What the runs of a setting have in common, by setting; seed and surrogate in it do not count.
        data: Folders of recordings, absolute.
        choices: Labels: a surrogate's (`surrogates.label`) or, with a neuron that has a memory, that and the neuron's
            (`neurons.label`), joined by `@`.
        seeds: Seeds 0 to `seeds` - 1.
        entropy_model: Folder of the checkpoint, or name of a shipped one, whose entropy model counts the bytes of runs
            with levels; or empty.
    """

    base: dict[str, config.Config]
    data: tuple[Path, ...]
    choices: tuple[str, ...]
    seeds: int
    entropy_model: str = ""

    def cells(self) -> list[Cell]:
        """All cells, seed by seed, so that what is there after any time can be compared; FREE before SPARSE."""
        return [
            Cell(setting, choice, seed)
            for seed in range(self.seeds)
            for setting in SETTINGS
            if setting in self.base
            for choice in self.choices
        ]

    def config(self, cell: Cell) -> config.Config:
        """The settings of one run."""
        base = self.base[cell.setting]
        surrogate, neuron = split_choice(cell.choice)
        name, slope = surrogates.parse(surrogate)
        bottleneck: Any = base.model.bottleneck
        fields = neurons.fields(neuron) if isinstance(bottleneck, config.Spiking) else {}
        spiking = replace(bottleneck, surrogate=name, slope=float(slope), **fields)
        return replace(
            base,
            model=replace(base.model, bottleneck=spiking),
            training=replace(base.training, seed=cell.seed),
        )


def choice_label(spec: str) -> str:
    """The label of the choice that `SURROGATE` or `SURROGATE@NEURON` stands for.

    Raises:
        UserError: There is no such surrogate or neuron.
    """
    surrogate, neuron = split_choice(spec)
    return _joined(surrogates.label(*surrogates.parse(surrogate)), neurons.label(*neurons.parse(neuron)))


def _joined(surrogate: str, neuron: str) -> str:
    return surrogate if neuron == neurons.STATELESS else surrogate + JOINT + neuron


def split_choice(choice: str) -> tuple[str, str]:
    """The labels of a choice's surrogate and neuron."""
    surrogate, _, neuron = choice.partition(JOINT)
    return surrogate, neuron or neurons.STATELESS


def plan(
    specs: Sequence[str],
    data: Sequence[Path],
    *,
    seeds: int,
    steps: int,
    sparse_steps: int | None = None,
    settings: Sequence[str] = SETTINGS,
    preset: str = "cpu-free-plain",
    changes: Sequence[str] = (),
    sparse_changes: Sequence[str] = (),
    neuron_specs: Sequence[str] = (neurons.STATELESS,),
    entropy_model: str | None = None,
) -> Study:
    """The study of surrogates `specs` with `seeds` seeds, `steps` steps each; everything is checked before it runs.

    Args:
        changes: `key=value` for all runs; `training.sparsity.*` for those of SPARSE, which else has the values of
            the preset `cpu-sparse`.
        sparse_changes: The same for the runs of SPARSE alone.
        neuron_specs: Neurons (`neurons.parse`), each with every surrogate.
        entropy_model: A checkpoint whose entropy model counts the bytes of runs with levels (`level_curve`).

    Raises:
        UserError: A surrogate, setting, number, preset, change or folder that cannot be used, or a missing package.
    """
    choices = _choices(specs, neuron_specs)
    sparse_steps = steps if sparse_steps is None else sparse_steps
    if min(seeds, steps, sparse_steps) < 1:
        raise UserError(f"{seeds} seeds, {steps} and {sparse_steps} steps: each must be at least 1")
    _check_settings(settings, sparse_changes)
    base = {}
    for setting in SETTINGS:
        if setting in settings:
            length = steps if setting == "free" else sparse_steps
            own = [*changes, *sparse_changes] if setting == "sparse" else changes
            base[setting] = _base(preset, setting, length, own)
    if entropy_model is not None:
        entropy_model = level_curve.check(entropy_model, base["free"].model)
    study = Study(
        base, tuple(folder.resolve() for folder in data), tuple(choices), seeds, entropy_model or ""
    )
    if list(neuron_specs) != [neurons.STATELESS] and not isinstance(
        base["free"].model.bottleneck, config.Spiking
    ):
        raise UserError(f"{preset}: its neurons have no memory to compare; leave out --neurons")
    for setting in base:  # contradictions show here, not in runs
        for choice in choices:
            settings_of_run = study.config(Cell(setting, choice, 0))
            optimisers(Codec(settings_of_run.model), settings_of_run.training)
    corpus.training_paths(data)
    return study


def _choices(specs: Sequence[str], neuron_specs: Sequence[str]) -> list[str]:
    """The labels of every surrogate with every neuron."""
    labels = [surrogates.label(*surrogates.parse(spec)) for spec in specs]
    if not labels:
        raise UserError("no surrogate is given; name some, as in fast_sigmoid:2,atan")
    kinds = [neurons.label(*neurons.parse(spec)) for spec in neuron_specs]
    for name, given in (("surrogate", labels), ("neuron", kinds)):
        for one in given:
            if given.count(one) > 1:
                raise UserError(f"{name} {one!r} is given twice")
    return [_joined(surrogate, neuron) for neuron in kinds for surrogate in labels]


def _check_settings(settings: Sequence[str], sparse_changes: Sequence[str]) -> None:
    for setting in settings:
        if setting not in SETTINGS:
            raise UserError(f"setting {setting!r} is not known; choose from {', '.join(SETTINGS)}")
    if "free" not in settings:
        raise UserError("SPARSE starts from FREE's runs; use --settings free,sparse")
    for change in sparse_changes:
        if "sparse" not in settings:
            raise UserError(f"--sparse-set {change}: there are no SPARSE runs; use --settings free,sparse")
        if change.startswith("model."):
            raise UserError(f"--sparse-set {change}: SPARSE runs start from FREE's model; use --set")


def _base(preset: str, setting: str, steps: int, changes: Sequence[str]) -> config.Config:
    given = [
        f"training.steps={steps}",
        f"training.validate_every={max(1, steps // VALIDATIONS)}",
        f"training.validation_clips={CLIPS}",
    ]
    sparsity = config.PRESETS["cpu-sparse"].training.sparsity if setting == "sparse" else config.Sparsity()
    given += [f"training.sparsity.{key}={value}" for key, value in config.to_dict(sparsity).items()]
    for change in changes:
        key = change.partition("=")[0]
        if key in VARIED or key == "training.steps":
            raise UserError(
                f"{change}: the study chooses it; use --surrogates, --seeds, --steps, --sparse-steps"
            )
        if setting == "sparse" or not key.startswith("training.sparsity."):
            given.append(change)
    found = config.load(preset, given)
    bottleneck: Any = found.model.bottleneck
    if not hasattr(bottleneck, "surrogate"):
        raise UserError(
            f"{preset}: its bottleneck has no surrogate; use one that is spiking, as cpu-free-plain"
        )
    if not isinstance(found.phase, config.Plain):
        raise UserError(
            f"{preset}: its phase, {found.phase.kind}, trains nothing in front of the spikes, so that no surrogate "
            "has an effect; add --set phase.kind=plain"
        )
    spiking = replace(bottleneck, surrogate="fast_sigmoid", slope=2.0)
    for name in ("beta", "threshold"):
        if getattr(spiking, name, 0.0):
            raise UserError(
                f"{preset}: model.bottleneck.{name} is {getattr(spiking, name)}; name neurons with --neurons"
            )
    return replace(
        found, model=replace(found.model, bottleneck=spiking), training=replace(found.training, seed=0)
    )
