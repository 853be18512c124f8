"""Two evaluations side by side: means with intervals, and their paired difference, clip by clip.

snn-codec evaluate --model A --data DIR --json a.json
snn-codec evaluate --model B --data DIR --json b.json
python experiments/compare.py a.json b.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec.cli import fatal
from snn_codec.errors import UserError
from snn_codec.evaluation import results
from snn_codec.evaluation.summary import differences, summary
from snn_codec.stats import between


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "results", nargs=2, type=Path, metavar="RESULT", help="files of snn-codec evaluate --json or --csv"
    )
    options = parser.parse_args()
    try:
        one, other = (results.read(path) for path in options.results)
        paired = differences(one["clips"], other["clips"])
    except UserError as error:
        return fatal(error)
    print(f"{len(one['clips'])} clips; mean and 95 % interval (bootstrap over recordings)")
    columns = summary(one["clips"]), summary(other["clips"]), paired
    lines = [["", one["model"][-26:], other["model"][-26:], "difference"]]
    for measure in paired:
        cells = (f"{c[measure]['mean']:.3f} ({between(c[measure], '.3f', ', ')})" for c in columns)
        lines.append([measure, *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for measure, *cells in lines:
        print("  ".join([f"{measure:{widths[0]}}", *map(str.rjust, cells, widths[1:])]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
