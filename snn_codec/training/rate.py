"""The cost of events in bits as a differentiable function, and the training of its network.

`ContextNetwork` is the float twin of `snn_codec.storage.entropy_model.EntropyNetwork`: same network, and
`ContextNetwork.integers` rounds it to the one that writes bitstreams.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from snn_codec import audio
from snn_codec.codec import Codec
from snn_codec.events import CHUNK_STEPS
from snn_codec.storage import entropy
from snn_codec.storage.entropy_model import EntropyModel, EntropyNetwork
from snn_codec.storage.entropy_model.network import UNIT

GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, are evenly spread however many there are


@dataclass(frozen=True)
class RateTraining:
    """How an entropy model is trained; the defaults take some minutes on one CPU core."""

    history: int = 4
    layers: tuple[int, ...] = (256, 128)
    steps: int = 6000
    batch: int = 16
    crop_steps: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    seed: int = 0


class ContextNetwork(nn.Module):
    """Bits of binary events under a causal model: all units over the last steps, earlier units of the step.

    Args:
        units: N, the number of units.
        history: Steps that it looks back.
        layers: Widths of the hidden layers.
    """

    def __init__(self, units: int, history: int, layers: Sequence[int]):
        super().__init__()
        self.history = history
        widths = [history * units, *layers]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths, widths[1:], strict=False))
        self.output = nn.Linear(sum(widths), units)
        nn.init.zeros_(self.output.weight)
        self.same_step = nn.Parameter(torch.zeros(units, units))

    def forward(self, spikes: Tensor) -> Tensor:
        """Spikes `[batch, unit, step]` in {0, 1} -> bits of every cell, same shape.

        The chunk begins with the first step. Differentiable in the spikes, both as what is coded and as what
        later cells are coded with.
        """
        target = spikes.transpose(1, 2)
        cost = functional.binary_cross_entropy_with_logits(self.logits(spikes), target, reduction="none")
        return cost.transpose(1, 2) / math.log(2)

    def logits(self, spikes: Tensor) -> Tensor:
        """Spikes `[batch, unit, step]` -> log odds of an event, `[batch, step, unit]`."""
        padded = functional.pad(2 * spikes - 1, (self.history, 0))
        steps = spikes.shape[2]
        recent = [padded[:, :, self.history - back :][:, :, :steps] for back in range(1, self.history + 1)]
        features = [torch.cat(recent, 1).transpose(1, 2)]
        for layer in self.layers:
            features.append(functional.relu(layer(features[-1])))
        same = functional.linear(spikes.transpose(1, 2), self.same_step.tril(-1))
        return self.output(torch.cat(features, 2)) + same

    @torch.no_grad()
    def integers(self, checkpoint: str = "") -> EntropyNetwork:
        """The network in units of 1 / 256, for the events of the checkpoint with this fingerprint."""
        return EntropyNetwork(
            self.history,
            tuple(_integers(layer) for layer in self.layers),
            _integers(self.output),
            _rounded(self.same_step.tril(-1), np.int16),
            checkpoint,
        )


def train_context(
    events: Sequence[np.ndarray],
    settings: RateTraining | None = None,
    *,
    checkpoint: str = "",
    progress: Callable[[int, float], None] = lambda step, bits: None,
) -> EntropyModel:
    """Fit an entropy model to events of one checkpoint.

    Args:
        events: Bool matrices `[units, steps]`, a recording each; at least one. Crops are as long as the
            shortest, if that is shorter than the settings say.
        settings: How to train.
        checkpoint: The fingerprint of the checkpoint.
        progress: Called every 100 steps with the step and the mean bits a cell since the last call.

    Raises:
        ValueError: No events, or matrices with different numbers of units.
    """
    settings = settings or RateTraining()
    if not len(events) or len({len(matrix) for matrix in events}) != 1:
        raise ValueError("training an entropy model needs events, all of the same number of units")
    random = np.random.default_rng(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = ContextNetwork(len(events[0]), settings.history, settings.layers)
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warm_cosine(step, settings.steps))
    total = 0.0
    for step in range(1, settings.steps + 1):
        cost = network(torch.from_numpy(_crops(events, settings, random))).mean()
        optimizer.zero_grad(set_to_none=True)
        cost.backward()
        optimizer.step()
        schedule.step()
        total += cost.item()
        if step % 100 == 0:
            progress(step, total / 100)
            total = 0.0
    return network.integers(checkpoint)


def bits_per_cell(
    events: Sequence[np.ndarray], model: EntropyModel | None = None, chunk_steps: int = CHUNK_STEPS
) -> dict[str, float]:
    """Ideal bits per cell of recordings, each cut into chunks that stand alone as in a bitstream.

    Returns:
        `counted` and `adaptive` (`snn_codec.storage.entropy`), and `learned` if there is a model.
    """
    bits: Counter[str] = Counter()
    for matrix in events:
        for start in range(0, matrix.shape[1], chunk_steps):
            chunk = matrix[:, start : start + chunk_steps]
            bits.update(entropy.bits(chunk) | ({"learned": model.bits(chunk)} if model else {}))
    cells = sum(matrix.size for matrix in events)
    return {name: total / cells for name, total in bits.items()}


def train_for(
    codec: Codec,
    train: Sequence[Path],
    validation: Sequence[Path],
    *,
    hours: float,
    steps: int,
    seed: int,
    bar: Callable,
) -> tuple[EntropyModel, list[str]]:
    """Train the entropy model of a codec's events on recordings, and return it with lines that say how good it is.

    `bar(text, total)` is a context manager that gives a function of how much of the total is done.

    Raises:
        UserError: A recording cannot be read.
    """
    matrices = []
    for split, paths in (("train", train), ("validation", validation)):
        with bar(f"encoding the {split} split", 1) as advance:
            matrices.append(events_of(codec, paths, hours, seed, advance))
    settings = RateTraining(steps=steps, seed=seed)
    with bar("training", steps) as advance:
        model = train_context(
            matrices[0], settings, checkpoint=codec.fingerprint, progress=lambda step, bits: advance(step)
        )
    rates = bits_per_cell(matrices[1], model).items()
    lines = [f"  {name:10} {bits:.4f}, {(1 - bits) * 100:.1f} % under the dense cost" for name, bits in rates]
    return model, ["bits a cell, validation:", *lines]


def events_of(
    codec: Codec,
    paths: Sequence[Path],
    hours: float,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> list[np.ndarray]:
    """Encode recordings in random order, bool `[units, steps]` each, until there are `hours` of them.

    A model with levels encodes each at another one, evenly from the first to the last.
    `progress` is called with the share that is done.

    Raises:
        UserError: A recording cannot be read.
    """
    matrices: list[np.ndarray] = []
    order, seconds = np.random.default_rng(seed).permutation(len(paths)), 0.0
    for number, which in enumerate(order):
        top = codec.settings.levels - 1
        events = codec.encode_blocks(
            audio.read_blocks(paths[which]),
            audio.info(paths[which]).sample_rate,
            level=top * (number * GOLDEN % 1) if top > 0 else None,
        )
        matrices.append(events.events)
        seconds += events.duration
        progress(max((number + 1) / len(paths), min(1.0, seconds / hours / 3600)))
        if seconds >= hours * 3600:
            break
    return matrices


def _warm_cosine(step: int, steps: int) -> float:
    """Learning rate relative to its peak: 5 % linear warm-up, then a cosine to zero."""
    return min(1.0, (step + 1) / (0.05 * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _crops(events: Sequence[np.ndarray], settings: RateTraining, random: np.random.Generator) -> np.ndarray:
    """A batch of crops, float32 `[batch, unit, step]`; every step of a recording that is long enough is as likely.

    Shorter recordings are left out, or one of them would make all crops short. If all are shorter, so are the crops.
    """
    events = [matrix for matrix in events if matrix.shape[1] >= settings.crop_steps] or events
    lengths = np.array([matrix.shape[1] for matrix in events])
    size = min(settings.crop_steps, int(lengths.min()))
    crops = []
    for which in random.choice(len(events), settings.batch, p=lengths / lengths.sum()):
        start = random.integers(lengths[which] - size + 1)
        crops.append(events[which][:, start : start + size])
    return np.stack(crops).astype(np.float32)


def _integers(layer: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    return _rounded(layer.weight, np.int16), _rounded(layer.bias, np.int32)


def _rounded(values: Tensor, dtype: type) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values.double().numpy() * UNIT), limits.min, limits.max).astype(dtype)
