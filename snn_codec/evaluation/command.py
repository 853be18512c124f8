"""`snn-codec evaluate`: its options, its work, and what it prints."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_codec.files import check_writable

if TYPE_CHECKING:
    from snn_codec.evaluation.coders import Coder
    from snn_codec.evaluation.evaluate import Selection
    from snn_codec.parallel import Ranks


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--model",
        default="free",
        help="a shipped model or a checkpoint folder, MODEL@LEVEL, MODEL+DECODER, MODEL+diffusion:STEPS, "
        "MODEL+search:STEPS, opus:KBPS, mp3:KBPS or codec2:BITS (free)",
    )
    add_data_to(parser)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write summary and rows to this file")
    parser.add_argument("--csv", type=Path, metavar="OUT", help="write a row a clip to this file")
    add_spread_to(parser)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (cpu)")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")


def add_data_to(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Options that say what is measured on what."""
    parser.add_argument(
        "--data", type=Path, required=required, help="folder in the MAESTRO layout, or of audio files"
    )
    parser.add_argument("--split", default="validation", help="train, validation or test (validation)")
    parser.add_argument("--clips", type=int, help="at most so many clips, evenly spread (all)")
    parser.add_argument(
        "--perceptual", default="", metavar="NAMES", help="also visqol, zimtohrli; with a comma between"
    )
    parser.add_argument(
        "--perceptual-clips", type=int, default=50, metavar="N", help="clips for those, evenly spread (50)"
    )


def add_spread_to(parser: argparse.ArgumentParser) -> None:
    """Options that say over what the work is spread."""
    parser.add_argument("--workers", type=int, default=1, help="processes of each rank, a thread each (1)")
    parser.add_argument(
        "--devices", type=int, default=1, help="ranks on each machine, a device each; processes on a CPU (1)"
    )
    parser.add_argument("--nodes", type=int, default=1, help="machines, each started with this command (1)")


@dataclass(frozen=True)
class Data:
    """The recordings of one split, and the clips of them to measure.

    Raises:
        UserError: See `datasets.recordings`, `Selection` and `perceptual.check`.
    """

    folder: Path
    split: str
    selection: Selection

    @classmethod
    def of(cls, options: argparse.Namespace) -> Data:
        """By the options of `add_data_to`."""
        from snn_codec.evaluation import perceptual
        from snn_codec.evaluation.evaluate import Selection

        names = tuple(name.strip() for name in options.perceptual.split(",") if name.strip())
        perceptual.check(names)
        return cls(options.data, options.split, Selection(options.clips, names, options.perceptual_clips))


def evaluation(
    coder: Coder, data: Data, ranks: Ranks | None = None, *, shown: bool = True
) -> dict[str, Any] | None:
    """Everything that is known of one coder on the data: names, summary, rows; None on ranks other than the first.

    Raises:
        UserError: See `evaluate.evaluate`.
    """
    from snn_codec import progress
    from snn_codec.evaluation.evaluate import evaluate, scores_of
    from snn_codec.stats import summary
    from snn_codec.training.datasets import recordings

    paths = recordings(data.folder, data.split)
    first = ranks is None or ranks.is_main
    with progress.bar(f"evaluating {coder.name}", 1, shown=shown and first) as advance:
        rows = evaluate(
            coder, paths, advance, scores=scores_of(data.folder, paths), selection=data.selection, ranks=ranks
        )
    if not first:
        return None
    return {
        "model": coder.name,
        "fingerprint": coder.fingerprint,
        "data": str(data.folder),
        "split": data.split,
        "summary": summary(rows),
        "clips": rows,
    }


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec.evaluation import coders, results
    from snn_codec.parallel import Parallelism, Ranks

    for path in (options.json, options.csv):
        if path:
            check_writable(path, force=options.force)
    data = Data.of(options)
    ranks = Ranks(Parallelism(options.workers, options.devices, options.nodes), options.device)
    result = evaluation(coders.load(options.model, ranks.device), data, ranks)
    if result is None:
        return 0
    if options.json:
        results.write(options.json, result, force=options.force)
    if options.csv:
        results.write_rows(options.csv, result["clips"], force=options.force)
    print(
        f"{result['model']} ({result['fingerprint']}) on {data.split} of {data.folder}: "
        f"{len(result['clips'])} clips"
    )
    for name, row in result["summary"].items():
        few = f", {row['clips']} clips" if row["clips"] < len(result["clips"]) else ""
        print(f"  {name:18} {row['mean']:9.3f}  (95 % interval {row['low']:.3f} to {row['high']:.3f}{few})")
    return 0
