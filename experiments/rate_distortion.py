"""Figures 2B and 4: kbps (true bytes) against SI-SNR, clip by clip, of models, their levels and other codecs.

    python experiments/rate_distortion.py --data DIR [MODEL...] [-o out/rate-distortion.png] [--guarantee 8]

A MODEL is what `snn-codec evaluate --model` takes (a model with levels without @LEVEL is drawn at several), or a
file that it wrote. Evaluations are kept in a folder beside the figure, or in that of table1.py by `--kept out/table1`.
`--guarantee` adds what a sender does who promises that SI-SNR: for each clip the level of fewest bits that holds it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from table1 import LEVELS, OTHERS, evaluations, shipped

from snn_codec.cli import fatal
from snn_codec.cli.common import add_data, add_parallelism, chosen_data
from snn_codec.errors import UserError
from snn_codec.evaluation import figures, results
from snn_codec.evaluation.summary import Row, summary
from snn_codec.files import make_folder
from snn_codec.metrics import MEASURES
from snn_codec.parallel import Parallelism, Ranks
from snn_codec.stats import between


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", help="models, codecs, or results of evaluate (as table1.py)")
    parser.add_argument("--levels", nargs="+", type=int, default=LEVELS, help="of models that have levels")
    parser.add_argument(
        "--measure",
        choices=[name for name, measure in MEASURES.items() if measure.better],
        default="si_snr",
        help="of the y-axis (si_snr)",
    )
    parser.add_argument("--guarantee", type=float, metavar="DB", help="SI-SNR to hold, of models with levels")
    parser.add_argument("--no-paper", action="store_true", help="without the paper's values")
    add_data(parser, required=False)
    add_parallelism(parser)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (cpu)")
    parser.add_argument("--kept", type=Path, help="folder of evaluations (beside the figure)")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/rate-distortion.png"))
    options = parser.parse_args()
    try:
        return draw(options)
    except UserError as error:
        return fatal(error)


def draw(options: argparse.Namespace) -> int:
    """Evaluate or read what there is to draw, and draw it; the exit status."""
    names = options.models or [*shipped(), *OTHERS]
    files = [Path(name) for name in names if Path(name).suffix in (".json", ".csv")]
    names = [name for name in names if Path(name) not in files]
    found, status = [results.read(path) for path in files], 0
    if names and options.data is None:
        raise UserError("--data is missing: the recordings to evaluate on")
    ranks = Ranks(Parallelism(options.workers, options.devices, options.nodes), options.device)
    if names:
        kept = options.kept or options.output.with_suffix("")
        made, status = evaluations(
            names,
            options.levels,
            chosen_data(options),
            kept,
            ranks,
        )
        found = made + found
    if not ranks.is_main:
        return 0
    if options.guarantee is not None:
        found += guaranteed(found, options.guarantee)
    make_folder(options.output.parent)
    figures.rate_distortion(
        options.output, found, measure=options.measure, paper=not options.no_paper, force=True
    )
    print(f"{'':24}{'kbps':>26}{options.measure:>26}")
    for result in found:
        means = summary(result["clips"])
        cells = (means.get(name) for name in ("kbps", options.measure))
        text = (f"{cell['mean']:.3f} ({between(cell, '.3f', ', ')})" if cell else "-" for cell in cells)
        print(f"{result['model'][-24:]:24}" + "".join(f"{part:>26}" for part in text))
    print(f"figure: {options.output}")
    return status


def guaranteed(found: list[dict[str, Any]], threshold: float) -> list[dict[str, Any]]:
    """Of each model with several levels: clip by clip the level of fewest bits whose SI-SNR is above the threshold.

    Where none is, the level of the highest SI-SNR (the sender can see that it does not hold).
    """
    groups: dict[str, list[list[Row]]] = {}
    for result in found:
        if "@" in result["model"] and not result["model"].endswith("kbps"):
            groups.setdefault(figures.family(result["model"]), []).append(result["clips"])
    chosen = []
    for name, levels in groups.items():
        if len(levels) > 1:
            rows = []
            for same in zip(*levels, strict=True):
                holding = [row for row in same if row["si_snr"] >= threshold]
                best = (
                    min(holding, key=lambda row: row["kbps"])
                    if holding
                    else max(same, key=lambda row: row["si_snr"])
                )
                rows.append(best)
            chosen.append({"model": f"{name} >= {threshold:g} dB", "clips": rows})
    return chosen


if __name__ == "__main__":
    raise SystemExit(main())
