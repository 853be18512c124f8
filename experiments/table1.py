"""Table 1: all models and the codecs that a user would pick instead, on the same clips, and the figure of it.

    python experiments/table1.py --data DIR [CHECKPOINT...] [-o out/table1] [--workers N] [--quick]

Takes the shipped models that there are, the checkpoints given, and Opus, MP3 and Codec 2; a model with levels is
measured at several of them. Each is evaluated once and kept as JSON in OUTPUT, so what was interrupted goes on
where it was. OUTPUT then has table1.md, table1.csv and rate-distortion.png.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from snn_codec import named
from snn_codec.cli import fatal
from snn_codec.cli.common import add_data, add_parallelism, chosen_data
from snn_codec.errors import UserError
from snn_codec.evaluation import coders, figures
from snn_codec.evaluation.cache import evaluated
from snn_codec.evaluation.coder import Coder
from snn_codec.evaluation.command import Data
from snn_codec.evaluation.summary import differences, summary
from snn_codec.files import replacing
from snn_codec.metrics import MEASURES
from snn_codec.parallel import Parallelism, Ranks

# wide at the rates of mdct, because means over clips of one level and of one rate are not alike
SHIPPED = ("free", "rvq", "sparse", "mu-sparse", "wide@0.5kbps", "wide@1kbps", "wide@2.6kbps")
OTHERS = ("opus:6", "opus:8", "opus:12", "mp3:8", "codec2:3200", "mdct:0.5", "mdct:1", "mdct:2.6")
LEVELS = (0, 4, 8, 12, 16, 20, 24, 28)
PAPER = {  # kbps, SI-SNR in dB, ViSQOL; on MAESTRO's recordings
    "rvq": (3.445, 11.11, 2.85),
    "free": (3.445, 9.49, 3.01),
    "sparse": (1.65, 4.90, None),
    "opus:12": (12.0, 8.47, None),
}
COLUMNS = ("dense_kbps", "kbps", *(name for name, measure in MEASURES.items() if measure.better))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoints", nargs="*", help="checkpoint folders, besides the shipped models")
    parser.add_argument("--models", nargs="+", help="only these, as in snn-codec evaluate --model")
    parser.add_argument("--levels", nargs="+", type=int, default=LEVELS, help="of models that have levels")
    add_data(parser)
    add_parallelism(parser)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (cpu)")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/table1"), help="folder (out/table1)")
    parser.add_argument("--quick", action="store_true", help="six clips: a minute")
    options = parser.parse_args()
    if options.quick:
        options.clips, options.perceptual = options.clips or 6, ""
    try:
        data = chosen_data(options)
        ranks = Ranks(Parallelism(options.workers, options.devices, options.nodes), options.device)
        names = options.models or [*shipped(), *options.checkpoints, *OTHERS]
        found, status = evaluations(names, options.levels, data, options.output, ranks)
        if ranks.is_main:
            write(found, options.output, data)
    except UserError as error:
        return fatal(error)
    return status if ranks.is_main else 0


def shipped() -> list[str]:
    """Those of the shipped models that are there."""
    there = []
    for name in SHIPPED:
        try:
            named.parse(name)
        except UserError:
            continue
        there.append(name)
    return there


def evaluations(
    names: Sequence[str], levels: Sequence[int], data: Data, folder: Path, ranks: Ranks
) -> tuple[list[dict[str, Any]], int]:
    """Of each coder, on the first rank, and the exit status; one that cannot be used is said and left out."""
    found, status = [], 0
    for name in names:
        try:
            for coder in at_levels(coders.load(name, ranks.device), levels):
                result = evaluated(coder, data, folder, ranks)
                if result is not None:
                    found.append(result)
                    print(f"{coder.name}: {len(result['clips'])} clips", flush=True)
        except UserError as error:
            status = fatal(error) if ranks.is_main else 2
    if ranks.is_main and not found:
        raise UserError("nothing could be evaluated")
    return found, status


def at_levels(coder: Coder, levels: Sequence[int]) -> list[Coder]:
    """A model that has levels and was given without one or a rate, at each of these; any other coder alone."""
    if not isinstance(coder, coders.ModelCoder):
        return [coder]
    if coder.asked.level is not None or coder.asked.kbps is not None:
        return [coder]
    there = [level for level in levels if level < coder.codec.settings.levels]
    found: list[Coder] = [
        coders.ModelCoder(coder.codec, replace(coder.asked, level=level), f"{coder.name}@{level}")
        for level in there
    ]
    return found or [coder]


def write(found: list[dict[str, Any]], folder: Path, data: Data) -> None:
    """The table in both forms, and the figure."""
    rows = table(found)
    first = Path(found[0]["model"]).name
    text = markdown(rows, first, len(found[0]["clips"]), data)
    with replacing(folder / "table1.md", force=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    with replacing(folder / "table1.csv", force=True) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    figures.rate_distortion(folder / "rate-distortion.png", found, force=True)
    print(text)
    print(f"{folder}: table1.md, table1.csv, rate-distortion.png")


def table(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a coder: mean, low and high of each measure, the paper's values, the difference to the first coder."""
    rows = []
    for result in found:
        name = Path(result["model"]).name
        row: dict[str, Any] = {"model": name, "clips": len(result["clips"])}
        means = summary(result["clips"])
        paired = differences(result["clips"], found[0]["clips"]).get("si_snr", {})
        for measure in COLUMNS:
            for part in ("mean", "low", "high"):
                row[f"{measure}_{part}"] = means.get(measure, {}).get(part, "")
        for part in ("mean", "low", "high"):
            row[f"si_snr_difference_{part}"] = "" if result is found[0] else paired.get(part, "")
        paper = PAPER.get(name, (None, None, None))
        row |= {
            f"paper_{what}": "" if value is None else value
            for what, value in zip(("kbps", "si_snr", "visqol"), paper, strict=True)
        }
        rows.append(row)
    return rows


def markdown(rows: list[dict[str, Any]], first: str, n_clips: int, data: Data) -> str:
    """The table for people; measures that no coder has are left out."""
    shown = [measure for measure in COLUMNS if any(row[f"{measure}_mean"] != "" for row in rows)]
    head = [
        "model",
        *(MEASURES[measure].title for measure in shown),
        f"SI-SNR minus {first}",
        "paper: kbps, SI-SNR, ViSQOL",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row["model"]]
        cells += [_cell(row, measure, MEASURES[measure].digits) for measure in shown]
        cells.append(_cell(row, "si_snr_difference", 2))
        paper = [row[f"paper_{what}"] for what in ("kbps", "si_snr", "visqol")]
        cells.append(
            ", ".join("-" if value == "" else f"{value:g}" for value in paper) if any(paper) else "-"
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        f"{n_clips} clips of 5.94 s, of {data}; mean and 95 % interval (bootstrap over recordings). "
        "kbps true: bytes of the code, without what a file or container has once. "
        "The paper's values are of MAESTRO's recordings.",
    ]
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any], measure: str, digits: int) -> str:
    mean, low, high = (row[f"{measure}_{part}"] for part in ("mean", "low", "high"))
    if mean == "":
        return "-"
    if not high - low >= 10**-digits:  # as of a constant rate, or of one recording
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ({low:.{digits}f}, {high:.{digits}f})"


if __name__ == "__main__":
    raise SystemExit(main())
