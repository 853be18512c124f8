"""SI-SNR over true rate of a run whose model has levels: what its checkpoint makes of validation clips at each level.

Kept as `levels.csv` beside the run's log, so that choices are compared at equal bytes (`equal_bytes`).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from snn_codec import corpus
from snn_codec.checkpoints import FOLDERS, Checkpoint
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.files import replacing
from snn_codec.metrics import si_snr
from snn_codec.settings import Model
from snn_codec.storage import entropy
from snn_codec.storage.entropy_model.base import EntropyModel, Side
from snn_codec.training.phase import mean_of_numbers

FILE = "levels.csv"
COLUMNS = ("level", "kbps", "si_snr")
LEVELS = 6  # from the first to the last
CLIPS = 8


def check(name: str, model: Model) -> str:
    """The folder of the checkpoint `name`, or the name of a shipped one; its entropy model can code events of `model`.

    Raises:
        UserError: There is none, it has no entropy model, its events have other units or levels, or `model` has none.
    """
    if not model.levels:
        raise UserError(
            "the study's model has no levels, so no bytes are counted by level; leave out --entropy-model"
        )
    checkpoint = Checkpoint.find(name)
    found = checkpoint.settings
    if checkpoint.entropy_model is None:
        raise UserError(f"{name}: has no entropy model; name a checkpoint that has one")
    same = (found.bottleneck.kind, found.units, found.levels, found.hop)
    if same != (model.bottleneck.kind, model.units, model.levels, model.hop):
        raise UserError(f"{name}: its events have other units or levels than those of the study's runs")
    shipped = checkpoint.folder.parent in FOLDERS  # whose folder is another on each machine
    return checkpoint.folder.name if shipped else str(checkpoint.folder.resolve())


def measure(folder: Path, validation: Sequence[Path], entropy_model: str) -> list[dict[str, float]]:
    """Mean kbps and SI-SNR over the first chunks of recordings, level by level, of a run's best checkpoint.

    The bytes are of the entropy model of the checkpoint `entropy_model`, which was trained for other thresholds; if
    that is empty, of the better coder without a trained model.
    """
    codec = Codec.load(folder / "best")
    coder = Checkpoint.find(entropy_model).entropy_model if entropy_model else None
    grid = codec.settings
    clips = list(corpus.clips(validation, grid.chunk_steps * grid.hop, grid.sample_rate, each=1))
    places = np.linspace(0, len(clips) - 1, min(len(clips), CLIPS)).round().astype(int)
    rows = []
    for level in np.linspace(0, grid.levels - 1, min(LEVELS, grid.levels)).tolist():
        found = [measured(codec, clips[place], level, coder) for place in places]
        kbps, scores = zip(*found, strict=True)
        rows.append({"level": level, "kbps": float(np.mean(kbps)), "si_snr": mean_of_numbers(scores)})
    return rows


def measured(codec: Codec, clip: np.ndarray, level: float, coder: EntropyModel | None) -> tuple[float, float]:
    """Kbps, by an entropy model or without, and SI-SNR of a clip."""
    events = codec.encode(clip, codec.settings.sample_rate, level=level)
    if coder is None:
        bits = min(entropy.bits(events.events).values())
    else:
        bits = coder.bits(events.events, Side(None, int(events.levels[0])))
    return events.kbps(bits / 8), si_snr(codec.decode(events), clip)


def write(run: Path, rows: Sequence[dict[str, float]]) -> None:
    """Keep the curve in a run's folder."""
    with replacing(run / FILE, force=True) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read(run: Path) -> list[tuple[float, float]]:
    """(kbps, SI-SNR) from the first level to the last; empty if there is no curve."""
    if not (run / FILE).is_file():
        return []
    with open(run / FILE, newline="") as file:
        return [(float(row["kbps"]), float(row["si_snr"])) for row in csv.DictReader(file)]
