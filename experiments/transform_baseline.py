#!/usr/bin/env python3
"""Count the tables of `mdct:KBPS`, the textbook that models are compared with (`snn_codec.evaluation.transform`).

    python experiments/transform_baseline.py DATA [--split train] [--each CLIPS] [-o TABLES.npz]

Every clip of the split is transformed and quantised with the step of each table; a row of a table is how often
each magnitude came in that context. Rows with few cells lean on all bands' rows of the same neighbours. The
package's own tables are replaced, unless -o names another file. To measure: `snn-codec evaluate --model
mdct:2.6 --data DATA`; to draw, `experiments/rate_distortion.py --model mdct:2.6`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from snn_codec import corpus, progress
from snn_codec.cli import fatal
from snn_codec.errors import UserError
from snn_codec.evaluation import transform
from snn_codec.files import replacing

SHIPPED = Path(transform.__file__).with_name(transform.TABLES)
PRIOR = 4.0  # cells: so much a row leans on the row without the band
FLOOR = 0.02  # cells: so much that one leans on all magnitudes alike


def counted(clips: Iterable[np.ndarray]) -> np.ndarray:
    """float64 `[N_TABLES, CONTEXTS, TOP + 1]`: how often each magnitude came in each context."""
    counts = np.zeros((transform.N_TABLES, transform.CONTEXTS, transform.TOP + 1))
    for clip in clips:
        level = np.sqrt(np.square(clip, dtype=np.float64).mean())
        if level < 1e-4:
            continue
        coefficients = transform.mdct(clip) / level
        for place, table in enumerate(counts):
            step = transform.step_of(place * transform.STEPS // transform.N_TABLES)
            magnitudes = np.minimum(np.abs(transform.quantised(coefficients, step)), transform.TOP)
            cells = transform.contexts(magnitudes) * (transform.TOP + 1) + magnitudes
            table += np.bincount(cells.ravel(), minlength=table.size).reshape(table.shape)
    return counts


def frequencies(counts: np.ndarray) -> np.ndarray:
    """Rows less one each, uint16, so that a row plus one sums to 2^16 and nothing is impossible."""
    by_sum = counts.reshape(transform.N_TABLES, -1, transform.BANDS, transform.TOP + 1)
    common = by_sum.sum(2, keepdims=True) + FLOOR
    rows = by_sum + PRIOR * common / common.sum(-1, keepdims=True)
    room = (1 << 16) - (transform.TOP + 1)
    found = np.floor(rows / rows.sum(-1, keepdims=True) * room).astype(np.int64)
    most = found.argmax(-1)[..., None]
    np.put_along_axis(
        found, most, np.take_along_axis(found, most, -1) + room - found.sum(-1, keepdims=True), -1
    )
    return found.reshape(counts.shape).astype(np.uint16)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder in the MAESTRO layout, or of audio files")
    parser.add_argument("--split", default="train", help="train, validation or test (train)")
    parser.add_argument("--each", type=int, help="at most so many clips of a recording (all)")
    parser.add_argument(
        "-o", "--output", type=Path, default=SHIPPED, help="file to write (the package's own)"
    )
    options = parser.parse_args()
    try:
        paths = corpus.paths(options.data, options.split)
        with progress.bar("counting", len(paths)) as advance:
            counts = counted(_clips(paths, options.each, advance))
        if not counts.any():
            raise UserError(
                f"{options.data}: has no clip of {transform.LENGTH / transform.SAMPLE_RATE:.2f} s"
            )
        with replacing(options.output, force=True) as temporary:
            np.savez_compressed(temporary, frequencies=frequencies(counts))
    except UserError as error:
        return fatal(error)
    clips = counts[0].sum() / transform.mdct(np.zeros(transform.LENGTH)).size
    print(
        f"{options.output}: {transform.N_TABLES} tables of {clips:.0f} clips, {options.output.stat().st_size} bytes"
    )
    return 0


def _clips(paths: Sequence[Path], each: int | None, advance: Callable[[float], None]) -> Iterator[np.ndarray]:
    for number, path in enumerate(paths, start=1):
        yield from corpus.clips([path], transform.LENGTH, transform.SAMPLE_RATE, each=each)
        advance(number)


if __name__ == "__main__":
    raise SystemExit(main())
