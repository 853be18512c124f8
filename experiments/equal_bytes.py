"""Models and the textbook coder at equal bytes, and at equal SI-SNR, clip by clip.

    python experiments/equal_bytes.py DATA [--model wide@4 wide@14] [--clips 60]

A model at one level takes more bytes for some clips than for others, and the textbook (`mdct:KBPS`) the same for all;
so their means over clips compare two things at once. Here the textbook gets, of each clip, the bytes that the model
took. What it would need for the model's SI-SNR is read off a straight line of SI-SNR against log bytes, through that
point and one of a third more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from snn_codec import corpus
from snn_codec.cli import fatal
from snn_codec.errors import UserError
from snn_codec.evaluation import coders
from snn_codec.evaluation.coder import Coder
from snn_codec.evaluation.transform import LOWEST_KBPS, TextbookCoder
from snn_codec.metrics import si_snr
from snn_codec.progress import bar
from snn_codec.stats import between, bootstrap

MORE = 4 / 3
COLUMNS = {
    "kbps": "kbps",
    "si_snr": "SI-SNR (dB)",
    "textbook": "the textbook's",
    "gain": "difference (dB)",
    "share": "bytes for as much",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of recordings")
    parser.add_argument("--model", nargs="+", default=["wide@4", "wide@14"], help="as in evaluate")
    parser.add_argument("--split", help="as in snn-codec evaluate")
    parser.add_argument(
        "--clips", type=int, default=0, help="or a few more: as many first ones of each recording (all)"
    )
    options = parser.parse_args()
    try:
        paths = corpus.paths(options.data, corpus.measured_split(options.data, options.split))
        print("| coder | " + " | ".join(COLUMNS.values()) + " |\n|---" + "|---" * len(COLUMNS) + "|")
        for model in options.model:
            rows, groups = measured(coders.load(model), paths, options.clips)
            cells = [cell(name, bootstrap(np.array(rows[name]), groups)) for name in COLUMNS]
            print(f"| `{model}`, {len(groups)} clips | " + " | ".join(cells) + " |", flush=True)
    except UserError as error:
        return fatal(error)
    return 0


def measured(coder: Coder, paths: list[Path], clips: int) -> tuple[dict[str, list[float]], list[str]]:
    """Of each clip: rate, SI-SNR of both, their difference, and the share of bytes; and its recording."""
    rows: dict[str, list[float]] = {name: [] for name in COLUMNS}
    groups: list[str] = []
    each = -(-clips // len(paths)) if clips else None
    with bar(coder.name, len(paths)) as advance:
        for number, path in enumerate(paths):
            for clip in corpus.clips([path], coder.length, coder.sample_rate, each=each):
                coded = coder.code(clip)
                kbps, quality = coded.kbps, si_snr(coded.audio, clip)
                rates = max(kbps, LOWEST_KBPS), MORE * max(kbps, LOWEST_KBPS)
                less, more = (si_snr(TextbookCoder(f"mdct:{rate}").code(clip).audio, clip) for rate in rates)
                # the same at both rates where there is nothing to code
                octaves = (quality - less) / (more - less) * np.log2(MORE) if more != less else np.nan
                values = kbps, quality, less, quality - less, 2.0**-octaves
                for name, value in zip(COLUMNS, values, strict=True):
                    rows[name].append(value)
                groups.append(path.name)
            advance(number + 1)
    return rows, groups


def cell(name: str, found: dict[str, float]) -> str:
    if name == "share":
        percent = {part: 100 * found[part] for part in ("mean", "low", "high")}
        return f"{percent['mean']:.0f} % ({between(percent, '.0f')})"
    return f"{found['mean']:.2f} ({between(found, '.2f')})"


if __name__ == "__main__":
    raise SystemExit(main())
