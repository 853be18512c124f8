"""Random crops of recordings, and which of them a process takes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from snn_codec import audio, loudness
from snn_codec import settings as config
from snn_codec.training.augmentation import augment

# seconds beside a crop that its filters hear: the tail of a room, the response of an equaliser
BEFORE, AFTER = 0.5, 0.1


class Crops(Dataset[Tensor]):
    """Random crops of recordings, normalised and varied: item i depends on the seed and i alone.

    That makes training independent of the number of worker processes, and resumable at any step.

    Args:
        paths: Audio files; each is drawn as often as it is long.
        sample_rate: Of the crops, in Hz.
        settings: Length of crops, seed, augmentation.
        hop: Samples a step of the model; the loudest step is normalised.
    """

    def __init__(self, paths: Sequence[Path], sample_rate: int, settings: config.Training, hop: int = 512):
        self.paths, self.sample_rate, self.settings, self.hop = list(paths), sample_rate, settings, hop
        self.length = max(1, round(settings.seconds * sample_rate))
        infos = [audio.info(path) for path in self.paths]
        seconds = np.array([max(info.samples, 1) / info.sample_rate for info in infos])
        self.infos, self.cumulative = infos, np.cumsum(seconds / seconds.sum())

    def __getitem__(self, index: int) -> Tensor:
        """Crop `index`: float32 `[samples]`."""
        random = np.random.default_rng([self.settings.seed, index])
        for _ in range(8):  # silence teaches nothing; look elsewhere
            sound, inner = self._read(random)
            if loudness.measure(sound[inner], self.hop) > 80:
                break
        settings = self.settings.augmentation
        return torch.from_numpy(augment(sound, self.sample_rate, settings, random, inner=inner, hop=self.hop))

    def _read(self, random: np.random.Generator) -> tuple[np.ndarray, slice]:
        """A crop with what is beside it, and where it is in that."""
        place = min(int(np.searchsorted(self.cumulative, random.random(), side="right")), len(self.paths) - 1)
        info = self.infos[place]
        tuning = _tuning(self.settings.augmentation, random)
        # read as if recorded at another rate: resampling it to ours then changes tuning and tempo together
        rate = max(1, round(info.sample_rate * tuning))
        length = -(-self.length * rate // self.sample_rate) + 1
        start = int(random.random() * max(0, info.samples - length))
        before = min(start, round(BEFORE * rate))
        with warnings.catch_warnings():  # an excerpt may well be silence in the mean of its channels
            warnings.simplefilter("ignore", audio.ChannelsCancelWarning)
            block, _ = audio.read(self.paths[place], start - before, start + length + round(AFTER * rate))
        if rate != self.sample_rate:
            block = soxr.resample(block, rate, self.sample_rate)
        first = round(before * self.sample_rate / rate)
        inner = slice(first, first + self.length)
        return np.pad(block, (0, max(0, inner.stop - len(block)))), inner


def _tuning(settings: config.Augmentation, random: np.random.Generator) -> float:
    if random.random() >= settings.probability:
        return 1.0
    return 2 ** (random.uniform(-1, 1) * settings.tuning_cents / 1200)


class StepSampler(Sampler[int]):
    """The crop numbers of rank `rank` of `world` processes, `batch` a step, for steps [start, stop)."""

    def __init__(self, start: int, stop: int, batch: int, rank: int, world: int):
        self.steps, self.batch, self.rank, self.world = range(start, stop), batch, rank, world

    def __iter__(self) -> Iterator[int]:
        for step in self.steps:
            first = (step * self.world + self.rank) * self.batch
            yield from range(first, first + self.batch)

    def __len__(self) -> int:
        return len(self.steps) * self.batch
