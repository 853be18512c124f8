"""Every pseudo-derivative that a model can be trained with, as a figure and a table.

    python experiments/pseudo_derivatives.py FIGURE.png [--surrogates fast_sigmoid:2,my_module:gauss]

Without names, all surrogates whose framework is installed, with their frameworks' parameters, and ours
(`fast_sigmoid:2`). The curve is what the framework computes backward at a membrane minus threshold u; the grey hill is
a normal distribution of u, which batch norm gives at first. The table says, under that distribution, the mean gain of a
gradient, and the share of its size that comes from |u| > 1: a wide surrogate also moves units that are far from their
threshold.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from snn_codec import settings
from snn_codec.cli import fatal
from snn_codec.errors import UserError
from snn_codec.files import check_writable
from snn_codec.models.surrogates import SURROGATES, installed, label, parse, pseudo_derivative
from snn_codec.surrogate_study.figures import derivatives


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("figure", type=Path, help="PNG file to write")
    parser.add_argument("--surrogates", help="names, separated by commas (default: all that are installed)")
    parser.add_argument("--force", action="store_true", help="replace the figure if it exists")
    options = parser.parse_args()
    try:
        check_writable(options.figure, force=options.force)
        named = options.surrogates.split(",") if options.surrogates else every()
        choices = [label(*parse(name)) for name in named]
        print(table(choices))
        derivatives(options.figure, choices)
    except UserError as error:
        return fatal(error)
    return 0


def every() -> list[str]:
    """The default surrogate, and all whose framework is installed with its own parameter."""
    ours = label(settings.Spiking.surrogate, settings.Spiking.slope)
    return [ours, *(name for name in SURROGATES if installed(name))]


def table(choices: Sequence[str]) -> str:
    """Gain and reach of each, as Markdown."""
    membrane = torch.linspace(-6, 6, 24_001, dtype=torch.float64)
    weight = torch.exp(-membrane.square() / 2)
    weight = weight / weight.sum()
    lines = ["| surrogate | mean gain | from \\|u\\| > 1 |", "|---|---|---|"]
    for choice in choices:
        gain = pseudo_derivative(*parse(choice), membrane) * weight
        far = gain[membrane.abs() > 1].abs().sum() / gain.abs().sum()
        share = "-" if math.isnan(float(far)) else f"{100 * float(far):.0f} %"
        lines.append(f"| `{choice}` | {float(gain.sum()) + 0.0:.3f} | {share} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
