"""Random crops of recordings, and which of them a process takes."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from snn_codec import audio, loudness
from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.files import make_folder
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

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Crops of these numbers: float32 `[batch, samples]`."""
        return torch.stack([self[index] for index in indices])

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


class SharedCrops(Crops):
    """Crops that several runs share: each is made once, by the first run that needs it, and kept in a folder.

    The crops are those of `Crops`, bit by bit. They take 4 bytes a sample until the folder is removed.

    Args:
        shared: The folder. Runs whose crops differ (other recordings, seed, length or augmentation) may share it.

    Raises:
        UserError: It cannot be written.
    """

    def __init__(
        self, paths: Sequence[Path], sample_rate: int, settings: config.Training, hop: int, shared: Path
    ):
        super().__init__(paths, sample_rate, settings, hop)
        recordings = [(str(path), path.stat().st_size) for path in self.paths]
        parts = [sample_rate, self.length, hop, settings.seed, asdict(settings.augmentation), recordings]
        self.shared = make_folder(shared / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16])

    def __getitem__(self, index: int) -> Tensor:
        """Crop `index`: float32 `[samples]`."""
        path = self.shared / f"{index}.f32"
        with suppress(OSError):
            crop = np.fromfile(path, np.float32)
            if crop.shape == (self.length,):
                return torch.from_numpy(crop)
        made = super().__getitem__(index)
        mine = path.with_suffix(f".{os.getpid()}")
        try:  # not flushed to disk, as by `files.replacing`: there are thousands
            mine.write_bytes(made.numpy().tobytes())
            os.replace(mine, path)
        except OSError as error:
            with suppress(OSError):
                mine.unlink(missing_ok=True)
            raise UserError(
                f"{path}: cannot be written ({error.strerror}); make room, or do not share crops"
            ) from error
        return made

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Crops of these numbers: float32 `[batch, samples]`.

        Runs that are in step begin at different ones, and so share the work.
        """
        first = os.getpid() % len(indices)
        crops = {index: self[index] for index in (*indices[first:], *indices[:first])}
        return torch.stack([crops[index] for index in indices])


class Batches(Dataset[Tensor]):
    """Batches of crops for a `DataLoader` that collates with `as_it_is`.

    In the place of a batch that cannot be read comes the error: one that is raised in a process that reads would
    come with its traceback as its text.
    """

    def __init__(self, crops: Crops):
        self.crops = crops

    def __getitems__(self, indices: Sequence[int]) -> Tensor | UserError:
        try:
            return self.crops.batch(indices)
        except UserError as error:
            return error


def as_it_is(batch: Tensor | UserError) -> Tensor | UserError:
    """The batch: `Batches` has collated it."""
    return batch


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
