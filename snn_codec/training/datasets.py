"""Recordings on disk and random crops of them.

A data folder has the MAESTRO layout (a CSV with the columns `split` and `audio_filename`) or is any folder
that holds audio files.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from snn_codec import audio, loudness
from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.files import below
from snn_codec.training.augmentation import augment

SPLITS = ("train", "validation", "test")


def recordings(folder: str | os.PathLike, split: str) -> list[Path]:
    """The audio files of one split of a data folder, in a fixed order.

    In the MAESTRO layout the CSV says which; in any other folder a hash of the name puts every tenth file into
    `validation`, the rest into `train` (a folder too small for that gives its first file to validation).

    Raises:
        UserError: No such folder, no such split, no audio in it, or files that the CSV names are missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder of recordings")
    if split not in SPLITS:
        raise UserError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    tables = [path for path in sorted(folder.glob("*.csv")) if _is_maestro(path)]
    if len(tables) > 1:
        raise UserError(f"{folder}: has {len(tables)} tables with splits; keep one")
    found = _from_table(tables[0], split) if tables else _from_folder(folder, split)
    if not found:
        raise UserError(f"{folder}: has no audio in the split {split!r}")
    return found


def _is_maestro(path: Path) -> bool:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return {"split", "audio_filename"} <= set(next(csv.reader(file), []))
    except UnicodeDecodeError:
        return False


def _from_table(table: Path, split: str) -> list[Path]:
    with open(table, newline="", encoding="utf-8") as file:
        paths = [
            table.parent / row["audio_filename"] for row in csv.DictReader(file) if row["split"] == split
        ]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise UserError(
            f"{table}: names {missing[0].name}, which is not there ({len(missing)} files are missing)"
        )
    return paths


def _from_folder(folder: Path, split: str) -> list[Path]:
    paths = audio_files(folder)
    if split == "test":
        return []
    held = [path for path in paths if hashlib.sha256(path.name.encode()).digest()[0] % 10 == 0] or paths[:1]
    return held if split == "validation" else [path for path in paths if path not in held] or paths


def audio_files(folder: Path) -> list[Path]:
    """All audio files at any depth below a folder, sorted."""
    return below(folder, audio.SUFFIXES)


class Crops(Dataset[Tensor]):
    """Random crops of recordings, normalised and varied: item i depends on the seed and i alone.

    That makes training independent of the number of worker processes, and resumable at any step.

    Args:
        paths: Audio files; each is drawn as often as it is long.
        sample_rate: Of the crops, in Hz.
        settings: Length of crops, seed, augmentation.
    """

    def __init__(self, paths: Sequence[Path], sample_rate: int, settings: config.Training):
        self.paths, self.sample_rate, self.settings = list(paths), sample_rate, settings
        self.length = max(1, round(settings.seconds * sample_rate))
        infos = [audio.info(path) for path in self.paths]
        seconds = np.array([max(info.samples, 1) / info.sample_rate for info in infos])
        self.infos, self.cumulative = infos, np.cumsum(seconds / seconds.sum())

    def __getitem__(self, index: int) -> Tensor:
        """Crop `index`: float32 `[samples]`."""
        random = np.random.default_rng([self.settings.seed, index])
        for _ in range(8):  # silence teaches nothing; look elsewhere
            crop = self._read(random)
            if loudness.measure(crop, 512) > 80:
                break
        return torch.from_numpy(augment(crop, self.sample_rate, self.settings.augmentation, random))

    def _read(self, random: np.random.Generator) -> np.ndarray:
        place = min(int(np.searchsorted(self.cumulative, random.random(), side="right")), len(self.paths) - 1)
        info = self.infos[place]
        tuning = _tuning(self.settings.augmentation, random)
        # read as if recorded at another rate: resampling it to ours then changes tuning and tempo together
        rate = max(1, round(info.sample_rate * tuning))
        length = -(-self.length * rate // self.sample_rate) + 1
        start = int(random.random() * max(0, info.samples - length))
        block, _ = audio.read(self.paths[place], start, start + length)
        if rate != self.sample_rate:
            block = soxr.resample(block, rate, self.sample_rate)
        return np.pad(block, (0, max(0, self.length - len(block))))[: self.length]


def _tuning(settings: config.Augmentation, random: np.random.Generator) -> float:
    if random.random() >= settings.probability:
        return 1.0
    return 2 ** (random.uniform(-1, 1) * settings.tuning_cents / 1200)


class StepSampler(Sampler[int]):
    """The crop numbers that one of `world` processes takes, from step `start` to step `stop`."""

    def __init__(self, start: int, stop: int, batch: int, rank: int, world: int):
        self.steps, self.batch, self.rank, self.world = range(start, stop), batch, rank, world

    def __iter__(self) -> Iterator[int]:
        for step in self.steps:
            first = (step * self.world + self.rank) * self.batch
            yield from range(first, first + self.batch)

    def __len__(self) -> int:
        return len(self.steps) * self.batch


def clips(
    paths: Iterable[Path], length: int, sample_rate: int, *, each: int | None = None
) -> Iterator[np.ndarray]:
    """Consecutive clips of `length` samples at `sample_rate`, from every recording (its first `each` ones).

    A remainder shorter than a clip is left out, as in the paper.
    """
    for path in paths:
        rest, given = np.zeros(0, np.float32), 0
        for block in audio.resampled(audio.read_blocks(path), audio.info(path).sample_rate, sample_rate):
            rest = np.concatenate([rest, block])
            while len(rest) >= length and given != each:
                yield rest[:length]
                rest, given = rest[length:], given + 1
            if given == each:
                break
