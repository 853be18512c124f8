"""Two ways to train, as curves of SI-SNR over kbps (true bytes), and how far apart they are at equal rates.

    python experiments/objectives.py --curve rate=a.json,b.json,c.json --curve Eq.7=d.json,e.json,f.json

The files are those of `snn-codec evaluate --json`, of one data set, one for each strength of the sparsity loss. A curve
is straight between its points over the logarithm of the rate. Intervals are of the bootstrap over recordings, with
both curves computed again for each resampling.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from snn_codec.cli import fatal
from snn_codec.errors import UserError
from snn_codec.evaluation import results
from snn_codec.evaluation.summary import Row
from snn_codec.files import make_folder
from snn_codec.plots import INK, NOTE, log_scale, written
from snn_codec.stats import RESAMPLES, between

POINTS = 5  # rates to compare at, not quite to the ends, which a resampling moves


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--curve", action="append", required=True, metavar="NAME=JSON,...", help="twice")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/objectives.png"))
    options = parser.parse_args()
    try:
        curves = dict(read(text) for text in options.curve)
        if len(curves) != 2:
            raise UserError(f"two curves are compared, not {len(curves)}; give --curve twice, with two names")
        clips = [
            [(row["recording"], row["clip"]) for row in rows] for found in curves.values() for rows in found
        ]
        if any(other != clips[0] for other in clips):
            raise UserError("the files are not of the same clips; evaluate all models on the same data")
        compare({name: summed(found) for name, found in curves.items()}, options.output)
    except UserError as error:
        return fatal(error)
    return 0


def read(text: str) -> tuple[str, list[list[Row]]]:
    """The name of a curve, and the clips of its files."""
    name, _, files = text.partition("=")
    if not files:
        raise UserError(f"--curve {text}: give a name and files, as in rate=a.json,b.json")
    return name, [results.read(Path(file))["clips"] for file in files.split(",")]


def summed(found: list[list[Row]]) -> np.ndarray:
    """kbps and SI-SNR summed by recording, with the number of clips: `[file, 3, recording]`, by rate."""
    recordings = sorted({row["recording"] for row in found[0]})
    sums = np.zeros((len(found), 3, len(recordings)))
    for file, rows in enumerate(found):
        for row in rows:
            if np.isfinite(row["si_snr"]):
                sums[file, :, recordings.index(row["recording"])] += row["kbps"], row["si_snr"], 1
    order = np.argsort(sums[:, 0].sum(1) / sums[:, 2].sum(1))
    return sums[order]


def means(sums: np.ndarray, picks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """kbps and SI-SNR, `[file, sample]` both, of the recordings `picks` `[sample, recording]`."""
    kbps, quality, count = sums[:, :, picks].sum(-1).transpose(1, 0, 2)
    return kbps / count, quality / count


def compare(curves: dict[str, np.ndarray], output: Path) -> None:
    """Print both curves and their difference, and draw them."""
    recordings = next(iter(curves.values())).shape[2]
    every = np.arange(recordings)[None]
    picks = np.random.default_rng(0).integers(0, recordings, (RESAMPLES, recordings))
    known = 1.0 if recordings > 1 else np.nan  # one recording says nothing of how they differ
    made = {
        name: (means(sums, every), tuple(known * part for part in means(sums, picks)))
        for name, sums in curves.items()
    }
    print("| | kbps, true | SI-SNR (dB) |\n|---|---|---|")
    for name, ((kbps, quality), resampled) in made.items():
        low, high = (np.percentile(np.stack(resampled), q, axis=2) for q in (2.5, 97.5))
        for i in range(len(kbps)):
            ends = [{"low": low[part, i], "high": high[part, i]} for part in (0, 1)]
            print(
                f"| {name} | {kbps[i, 0]:.3f} ({between(ends[0], '.3f')}) "
                f"| {quality[i, 0]:.2f} ({between(ends[1], '.2f')}) |"
            )
    first, second = made
    ends = [(kbps[0, 0], kbps[-1, 0]) for (kbps, _), _ in made.values()]
    low, high = max(a for a, _ in ends), min(b for _, b in ends)
    if low >= high:
        raise UserError(f"the curves share no rate ({ends}); add files")
    print(f"\n| kbps | {first} minus {second} (dB) |\n|---|---|")
    for rate in np.geomspace(1.04 * low, high / 1.04, POINTS):
        mean, samples = (
            np.subtract(*(at(rate, *made[name][part]) for name in (first, second))) for part in (0, 1)
        )
        bounds = dict(zip(("low", "high"), np.percentile(samples, [2.5, 97.5]), strict=True))
        print(f"| {rate:.2f} | {mean[0]:+.2f} ({between(bounds, '+.2f')}) |")
    draw(made, output)
    print(f"\nfigure: {output}")


def at(rate: float, kbps: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """SI-SNR of curves `[file, sample]` at one rate, `[sample]`."""
    pairs = zip(np.log(kbps).T, quality.T, strict=True)
    return np.array([np.interp(np.log(rate), x, y) for x, y in pairs])


def draw(
    made: dict[str, tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]], output: Path
) -> None:
    """The curves, with 95 % intervals of SI-SNR."""
    make_folder(output.parent)
    with written(output, (5.2, 3.4), {}, dpi=160, force=True) as figure:
        axis = figure.subplots()
        for (name, ((kbps, quality), resampled)), colour in zip(made.items(), (NOTE, INK), strict=True):
            bars = np.abs(np.percentile(resampled[1], [2.5, 97.5], axis=1) - quality[:, 0])
            axis.errorbar(
                kbps[:, 0],
                quality[:, 0],
                bars,
                marker="o",
                color=colour,
                label=name,
                capsize=2,
                linewidth=1.2,
            )
        log_scale(axis, [0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5])
        axis.set_xlabel("kbps, true bytes")
        axis.set_ylabel("SI-SNR (dB)")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#e3e7eb", linewidth=0.6)
        axis.legend(frameon=False, loc="lower right")


if __name__ == "__main__":
    raise SystemExit(main())
