"""Training of the entropy model of a thermometer's events (`snn_codec.storage.entropy_model.thermometer`), in floats.

The network sees the very integers that the integer network sees; `ThermometerNetwork.integers` rounds its weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from snn_codec import corpus, loudness
from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.levels import LEVEL_PARTS
from snn_codec.storage.entropy_model.base import Side
from snn_codec.storage.entropy_model.thermometer import ThermometerModel
from snn_codec.storage.entropy_model.thermometer_inputs import (
    INPUT,
    KNOWN_CHANNELS,
    PASSES,
    PAST_CHANNELS,
    known_inputs,
    past_inputs,
    turns,
)
from snn_codec.storage.entropy_model.thermometer_network import ACTIVATION, OUTPUTS, WEIGHT
from snn_codec.thermometer import Layout
from snn_codec.training.datasets import Crops

TOP = 8.0 - 1 / ACTIVATION
MAX_CHUNKS = 6000  # 0.8 GB


@dataclass(frozen=True)
class ThermometerRateTraining:
    """How the entropy model is trained; the defaults take about half an hour on one CPU core.

    Attributes:
        hidden: H, the width of the network.
        taps: Bins that it sees of a step before, and of its own.
        steps: Of the optimiser.
        batch: Chunks a step.
        frames: Steps of a chunk that a loss is taken of.
        learning_rate: At its highest.
        low_rate_share: A chunk's bits count as its quantiser's step to this power, so that low rates count.
        seed: Of weights and crops.
    """

    hidden: int = 64
    taps: tuple[int, int] = (11, 13)
    steps: int = 6000
    batch: int = 8
    frames: int = 16
    learning_rate: float = 3e-3
    low_rate_share: float = 0.7
    seed: int = 0


class ThermometerNetwork(nn.Module):
    """Bits of signed magnitudes under the causal model.

    Args:
        layout: Which unit stands for what.
        level_steps: The quantiser's step at each whole level, relative to the finest, rising.
        hidden: H, the width.
        taps: Bins that it sees of a step before, and of its own.
    """

    def __init__(self, layout: Layout, level_steps: np.ndarray, hidden: int, taps: tuple[int, int]):
        super().__init__()
        self.layout, self.taps = layout, taps
        self.past = nn.Conv1d(PAST_CHANNELS, hidden, taps[0], padding=taps[0] // 2)
        strides = [chosen.step for chosen in PASSES[1:]]
        self.known = nn.ModuleList(
            nn.Conv1d(KNOWN_CHANNELS, hidden, taps[1], stride=stride, bias=False) for stride in strides
        )
        self.bias = nn.Parameter(torch.zeros(hidden, layout.bins))
        self.level = nn.Linear(2, hidden)
        self.middle = nn.ModuleList(nn.Linear(hidden, hidden) for _ in PASSES)
        self.output = nn.ModuleList(nn.Linear(hidden, OUTPUTS) for _ in PASSES)
        for layer in self.output:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        most = int(np.max(layout.count))
        self.further = nn.Parameter(torch.zeros(most - 1))
        threshold = torch.arange(1, most).float()
        self.register_buffer("factor", torch.log2(threshold.clamp_min(3) / 3))
        octaves = torch.from_numpy(np.log2(level_steps)).float()
        self.register_buffer("octaves", torch.stack([octaves, octaves.square() / 4], 1))

    def forward(self, magnitudes: np.ndarray, levels: np.ndarray, frames: slice, bins: int) -> Tensor:
        """Bits of each chunk `[batch]`, of signed int `[batch, step, bin]` at whole levels `[batch]`.

        Only those of the steps `frames` and of the lowest `bins` bins.
        """
        past = np.stack([past_inputs(chunk)[frames, :bins] for chunk in magnitudes])
        own = magnitudes[:, frames, :bins]
        known = np.stack([known_inputs(chunk) for chunk in own])
        past, known = (torch.from_numpy(part).flatten(0, 1).mT / INPUT for part in (past, known))
        signed = torch.from_numpy(own.astype(np.int64)).flatten(0, 1)
        level = self.level(self.octaves[torch.from_numpy(levels)]).repeat_interleave(own.shape[1], 0)
        sums = self.past(past) + self.bias[:, :bins] + level[..., None]
        bits = sums.new_zeros(len(signed))
        seen = torch.zeros(bins)
        for number, chosen in enumerate(PASSES):
            hidden = sums[..., chosen]
            if number:
                half = self.taps[1] // 2
                shown = functional.pad(known * seen, (half - chosen.start, half + chosen.start))
                hidden = hidden + self.known[number - 1](shown)[..., : hidden.shape[-1]]
            hidden = hidden.clamp(0, TOP).transpose(1, 2)
            outputs = self.output[number](self.middle[number](hidden).clamp(0, TOP))
            bits = bits + self._bits(outputs, signed[:, chosen], np.arange(bins)[chosen])
            seen = seen.clone()
            seen[chosen] = 1
        return bits.view(own.shape[0], -1).sum(1) / math.log(2)

    def _bits(self, outputs: Tensor, signed: Tensor, bins: np.ndarray) -> Tensor:
        """Nats of each step, of the bins of a pass."""
        cost = functional.binary_cross_entropy_with_logits
        events = signed != 0
        bits = cost(outputs[..., 0], events.to(outputs.dtype), reduction="none").sum(1)
        step, column = events.nonzero(as_tuple=True)
        outputs, passed, place = outputs[step, column], signed[step, column], bins[column.numpy()]
        cosine, sine = (torch.from_numpy(part[place]) for part in turns(self.layout.bins, 0))
        sign = cost(
            outputs[:, 5] * cosine + outputs[:, 6] * sine, (passed > 0).to(outputs.dtype), reduction="none"
        )
        threshold = torch.arange(1, len(self.further) + 1)
        general = outputs[:, 3:4] + outputs[:, 4:5] * self.factor[2:]
        odds = torch.cat([outputs[:, 1:3], general], 1)[:, : len(threshold)] + self.further
        passed, count = passed.abs()[:, None], torch.from_numpy(self.layout.count[place])[:, None]
        asked = (passed >= threshold) & (count > threshold)
        more = (cost(odds, (passed > threshold).to(odds.dtype), reduction="none") * asked).sum(1)
        return bits.index_add(0, step, sign + more)

    @torch.no_grad()
    def integers(
        self, edges: tuple[int, ...], counts: tuple[int, ...], checkpoint: str = ""
    ) -> ThermometerModel:
        """The network in integers, for the events of the checkpoint with this fingerprint."""

        def rounded(tensors, unit: float, kind: type = np.int16) -> np.ndarray:
            values = torch.stack(list(tensors)) if not isinstance(tensors, Tensor) else tensors
            limits = np.iinfo(kind)
            return np.clip(np.rint(values.double().numpy() * unit), limits.min, limits.max).astype(kind)

        sums, second = INPUT * WEIGHT, ACTIVATION * WEIGHT
        level = self.level(self.octaves) + self.past.bias
        return ThermometerModel(
            np.array(edges, np.int32),
            np.array(counts, np.int32),
            rounded(self.past.weight, WEIGHT),
            rounded([layer.weight for layer in self.known], WEIGHT),
            rounded(self.bias, sums, np.int32),
            rounded(level, sums, np.int32),
            rounded([layer.weight for layer in self.middle], WEIGHT),
            rounded([layer.bias for layer in self.middle], second, np.int32),
            rounded([layer.weight for layer in self.output], WEIGHT),
            rounded([layer.bias for layer in self.output], second, np.int32),
            rounded([self.further, self.factor], 256, np.int32),
            checkpoint,
        )


def train(
    coefficients: np.ndarray,
    layout: Layout,
    quantise: Callable[[np.ndarray, np.ndarray], np.ndarray],
    level_steps: np.ndarray,
    settings: ThermometerRateTraining | None = None,
    *,
    progress: Callable[[int, float], None] = lambda step, bits: None,
) -> ThermometerNetwork:
    """Fit an entropy model to coefficients at any level.

    Args:
        coefficients: float `[chunk, step, bin]`, before the quantiser's step.
        layout: Which unit stands for what.
        quantise: (coefficients, whole levels `[batch]`) -> signed int `[batch, step, bin]`.
        level_steps: The quantiser's step at each whole level, relative to the finest.
        settings: How to train.
        progress: Called every 100 steps with the step and the mean loss since the last call.
    """
    settings = settings or ThermometerRateTraining()
    random = np.random.default_rng(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = ThermometerNetwork(layout, level_steps, settings.hidden, settings.taps)
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, betas=(0.9, 0.98))
    losses: list[float] = []
    for step in range(settings.steps):
        share = min(1.0, step / 50) * (0.5 * (1 + math.cos(math.pi * step / settings.steps)) + 0.01)
        optimiser.param_groups[0]["lr"] = settings.learning_rate * share
        chosen = np.sort(random.integers(0, len(coefficients), settings.batch))
        levels = random.integers(0, len(level_steps), settings.batch)
        signs = random.choice([-1.0, 1.0], (settings.batch, 1, 1))
        start = int(random.integers(0, coefficients.shape[1] - settings.frames + 1))
        bins = layout.bins if step % 4 == 0 else layout.bins * 3 // 32 * 4
        signed = quantise(coefficients[chosen].astype(np.float32) * signs, levels)
        bits = network(signed, levels, slice(start, start + settings.frames), bins)
        weight = torch.from_numpy(level_steps[levels] ** settings.low_rate_share).float()
        loss = (bits * weight).mean() / 1500
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            progress(step + 1, float(np.mean(losses)))
            losses.clear()
    return network


def train_for(
    codec: Codec,
    train_on: Sequence[Path],
    validation: Sequence[Path],
    *,
    hours: float,
    steps: int,
    seed: int,
    bar: Callable,
) -> tuple[ThermometerModel, list[str]]:
    """Train the entropy model of a codec's thermometer, and return it with lines that say how good it is.

    Chunks of recordings, varied as in training, are kept as coefficients, and quantised at any level again and again.

    Raises:
        UserError: A recording cannot be read.
    """
    grid: Any = codec.settings  # of a thermometer of coefficients
    seconds = grid.chunk_steps * grid.hop / grid.sample_rate
    count = max(1, min(round(hours * 3600 / seconds), MAX_CHUNKS))
    with bar("reading chunks of the train split", count) as advance:
        coefficients = _chunks(codec, train_on, count, seconds, seed, advance)
    levels = np.arange(grid.levels)
    steps_of_levels = 2.0 ** (levels / grid.encoder.per_octave)

    def quantise(chunks: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        scaled = chunks / (grid.encoder.finest * steps_of_levels[chosen].astype(np.float32)[:, None, None])
        return codec.bottleneck.magnitudes(torch.from_numpy(scaled.astype(np.float32))).numpy()

    settings = ThermometerRateTraining(steps=steps, seed=seed)
    with bar("training", steps) as advance:
        network = train(
            coefficients,
            codec.bottleneck.layout,
            quantise,
            steps_of_levels,
            settings,
            progress=lambda step, loss: advance(step),
        )
    part = grid.bottleneck
    model = network.integers(part.edges, part.thresholds, codec.fingerprint)
    lines = [f"kbps of {len(validation)} recordings of the validation split, first chunk each:"]
    clips = list(corpus.clips(validation, grid.chunk_steps * grid.hop, grid.sample_rate, each=1))
    for level in np.linspace(0, grid.levels - 1, 5).round().astype(int) if clips else ():
        bits = [
            model.bits(
                codec.encode(clip, grid.sample_rate, level=level).events, Side(None, level * LEVEL_PARTS)
            )
            for clip in clips
        ]
        lines.append(f"  level {level:2}  {np.mean(bits) / seconds / 1000:.3f}")
    return model, lines


def _chunks(
    codec: Codec, paths: Sequence[Path], count: int, seconds: float, seed: int, progress: Callable
) -> np.ndarray:
    """Coefficients of varied chunks at their own loudness, float16 `[chunk, step, bin]`."""
    grid: Any = codec.settings
    crops = Crops(paths, grid.sample_rate, config.Training(seconds=seconds, seed=seed), grid.hop)
    coefficients = np.zeros((count, grid.chunk_steps, grid.encoder.width), np.float16)
    for number in range(count):
        crop = crops[number]
        gain = loudness.gain(np.array([loudness.measure(crop.numpy(), grid.hop)]), len(crop), 0, len(crop))
        with torch.no_grad():
            coefficients[number] = codec.encoder(crop[None] / torch.from_numpy(gain))[0] * grid.encoder.finest
        progress(number + 1)
    return coefficients
