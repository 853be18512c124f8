"""Figure 1 of the paper: what a matrix of 80 units x 256 steps costs in each format, over its density.

    python experiments/storage_costs.py [--output out/storage-costs.png] [--matrices 8]

Lines are formulas (`snn_codec.costs`), dots are true bytes of random matrices (independent events) packed by
`snn_codec.storage`: the paper's formats and, below them, the entropy coder against its floor log2 C(N T, K).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from snn_codec import costs, plots
from snn_codec.cli import fatal
from snn_codec.errors import UserError
from snn_codec.events import CHUNK_STEPS
from snn_codec.files import make_folder
from snn_codec.storage import entropy, formats

UNITS, STEPS, STEP_RATE = 80, CHUNK_STEPS, 22050 / 512
COLOURS = dict(zip(formats.FORMATS, ("#1f2933", "#b4482f", "#2f6db4", "#4f8f3a"), strict=True))
DENSITIES = np.array([0.002, 0.004, 0.008, 0.015, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("out/storage-costs.png"))
    parser.add_argument("--matrices", type=int, default=8, help="random matrices at each density (8)")
    options = parser.parse_args()
    if options.matrices < 1:
        parser.error("--matrices must be at least 1")
    try:
        rows = measured(options.matrices)
        make_folder(options.output.parent)
        draw(options.output, rows)
    except UserError as error:
        return fatal(error)
    print(f"kbps of {UNITS} units x {STEPS} steps, true bytes, mean of {options.matrices} random matrices")
    names = [*formats.FORMATS, "entropy coded", "floor"]
    print(f"{'density':>9}" + "".join(f"{name:>17}" for name in names))
    for density, row in zip(DENSITIES, rows, strict=True):
        print(f"{density:9.3f}" + "".join(f"{row[name]:17.3f}" for name in names))
    print(f"figure: {options.output}")
    return 0


def measured(n_matrices: int) -> list[dict[str, float]]:
    """For each density: kbps by format, of true bytes, and of the floor."""
    random, rows = np.random.default_rng(0), []
    for density in DENSITIES:
        totals: dict[str, float] = {}
        for _ in range(n_matrices):
            events = random.random((UNITS, STEPS)) < density
            n_events = int(events.sum())
            bits = {name: 8 * len(formats.pack(events, name)) for name in formats.FORMATS}
            bits["entropy coded"] = 8 * len(entropy.encode_counted(events))
            bits["floor"] = costs.floor_bits(UNITS, STEPS, n_events)
            for name, value in bits.items():
                totals[name] = totals.get(name, 0) + kbps(value) / n_matrices
        rows.append(totals)
    return rows


def kbps(bits: float) -> float:
    return bits / (STEPS / STEP_RATE) / 1000


def draw(path: Path, rows: list[dict[str, float]]) -> None:
    n_events = np.unique(np.geomspace(20, UNITS * STEPS / 2, 400).astype(int))
    curves = [costs.all_bits(UNITS, STEPS, int(k)) for k in n_events]
    density = n_events / UNITS / STEPS
    floor = [kbps(costs.floor_bits(UNITS, STEPS, int(k))) for k in n_events]
    with plots.written(path, (6, 4), plots.style(9), force=True) as figure:
        axis = figure.subplots()
        for name, colour in COLOURS.items():
            axis.plot(
                density, [kbps(bits[name]) for bits in curves], color=colour, label=name.replace("_", " ")
            )
            axis.plot(DENSITIES, [row[name] for row in rows], ".", color=colour)
        axis.plot(density, floor, color="#8a8f98", ls="--", label=r"floor $\log_2\binom{NT}{K}$")
        axis.plot(
            DENSITIES,
            [row["entropy coded"] for row in rows],
            "o",
            mfc="none",
            color="#8a8f98",
            label="entropy coded",
        )
        axis.set(
            xscale="log", yscale="log", xlabel="density (events per cell)", ylabel="kbps", ylim=(0.05, 20)
        )
        axis.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)


if __name__ == "__main__":
    raise SystemExit(main())
