"""Sparse events of a real encoder: the entropy coder beside the best of the paper's four formats.

    python experiments/storage_sparse.py --model CHECKPOINT --data DIR... [--density 0.05 0.09] [--steps 3000]

No sparse model is shipped yet, so the events are the membranes of the model's neurons over thresholds that leave
the wanted density in each unit of the training part. For each density, an entropy model is trained on events of
the train split; bytes are those of the validation split's chunks, each with its checksum and its format.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from snn_codec import audio, corpus, costs
from snn_codec.cli import fatal
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import CHUNK_STEPS
from snn_codec.storage import formats, spk
from snn_codec.training.rate import RateTraining, train_context

FRAMING = 3 + 4  # bytes of a chunk besides its payload: length and format, checksum


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="free", help="a shipped model or a checkpoint folder (free)")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of recordings")
    parser.add_argument("--density", type=float, nargs="+", default=[0.03, 0.05, 0.09])
    parser.add_argument("--minutes", type=float, default=120, help="of recordings to train on (120)")
    parser.add_argument("--steps", type=int, default=3000, help="of the entropy model's training (3000)")
    options = parser.parse_args()
    if not all(0 < density < 1 for density in options.density):
        parser.error("--density must be between 0 and 1")
    try:
        codec = Codec.load(options.model)
        train, validation = (
            membranes(codec, options.data, split, options.minutes) for split in ("train", "validation")
        )
    except UserError as error:
        return fatal(error)
    print(f"{options.model}: kbps of the validation split ({sum(m.shape[1] for m in validation)} steps)")
    print(f"{'density':>8}{'best of four':>14}{'adaptive':>10}{'learned':>10}{'less':>8}")
    for density in options.density:
        thresholds = np.quantile(np.concatenate(train, 1), 1 - density, axis=1)[:, None]
        model = train_context([m > thresholds for m in train], RateTraining(steps=options.steps))
        chunks = [
            (matrix > thresholds)[:, start : start + CHUNK_STEPS]
            for matrix in validation
            for start in range(0, matrix.shape[1], CHUNK_STEPS)
        ]
        seconds = sum(chunk.shape[1] for chunk in chunks) * codec.settings.hop / codec.settings.sample_rate
        four = sum(best_of_four(chunk) + FRAMING for chunk in chunks)
        adaptive, learned = (
            sum(len(payload) + FRAMING for _, payload in (spk.pack_chunk(c, m) for c in chunks))
            for m in (None, model)
        )
        found = sum(chunk.sum() for chunk in chunks) / sum(chunk.size for chunk in chunks)
        rates = [8 * n_bytes / seconds / 1000 for n_bytes in (four, adaptive, learned)]
        less = f"{100 * (1 - learned / four):.1f} %"
        print(f"{found:8.4f}{rates[0]:14.3f}{rates[1]:10.3f}{rates[2]:10.3f}{less:>8}", flush=True)
    return 0


def best_of_four(chunk: np.ndarray) -> int:
    """Bytes of a chunk in the shortest of the paper's formats, with 2 bits to say which, and its number of events."""
    n_events = int(np.count_nonzero(chunk))
    bits = formats.packed_bits(*chunk.shape, n_events)
    name = formats.best(*chunk.shape, n_events)
    count = 0 if name == "dense" else costs.pointer_bits(chunk.size)
    return -(-(2 + count + bits[name]) // 8)


def membranes(codec: Codec, folders: list[Path], split: str, minutes: float) -> list[np.ndarray]:
    """What the neurons compare with zero, float32 `[units, steps]`, of recordings in random order."""
    paths = [path for folder in folders for path in corpus.paths(folder, split)]
    found: list[np.ndarray] = []
    seconds = 0.0
    for which in np.random.default_rng(0).permutation(len(paths)):
        sound, rate = audio.read(paths[which])
        found.append(codec.membranes(sound, rate))
        seconds += len(sound) / rate
        if seconds >= 60 * minutes:
            break
    return found


if __name__ == "__main__":
    raise SystemExit(main())
