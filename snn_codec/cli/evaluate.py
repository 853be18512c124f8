"""`snn-codec evaluate`."""

from __future__ import annotations

import argparse

from snn_codec.cli.common import add_data, add_device, add_force, add_parallelism, chosen_data, file_name
from snn_codec.errors import UserError
from snn_codec.files import check_writable, is_same

HELP = "Measure a model or a codec on a data set, clip by clip."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--model", default="free",
        help="a shipped model or a checkpoint folder, MODEL@LEVEL, MODEL@KBPSkbps, MODEL+DECODER, MODEL+flow:STEPS, "
        "MODEL+search:STEPS, opus:KBPS, mp3:KBPS, codec2:BITS or mdct:KBPS (default free)",
    )  # fmt: skip
    add_data(parser)
    parser.add_argument("--json", type=file_name, metavar="OUT", help="write summary and rows to this file")
    parser.add_argument("--csv", type=file_name, metavar="OUT", help="write a row a clip to this file")
    add_parallelism(parser)
    add_device(parser)
    add_force(parser, "OUT if it exists")


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec import checkpoints, corpus
    from snn_codec.parallel import Parallelism, Ranks

    for path in (options.json, options.csv):
        if path:
            check_writable(path, force=options.force)
    if options.json and options.csv and is_same(options.json, options.csv):
        raise UserError(f"{options.csv}: is the file of --json, too; give another name")
    if not set(options.model) & set("@+:"):  # else `coders.load` takes it apart
        checkpoints.find(options.model)
    corpus.paths(options.data, corpus.measured_split(options.data, options.split))

    from snn_codec.evaluation import coders, results
    from snn_codec.evaluation.command import evaluation
    from snn_codec.stats import between

    data = chosen_data(options)
    ranks = Ranks(Parallelism(options.workers, options.devices, options.nodes), options.device)
    result = evaluation(coders.load(options.model, ranks.device), data, ranks)
    if result is None:
        return 0
    if options.json:
        results.write(options.json, result, force=options.force)
    if options.csv:
        results.write_rows(options.csv, result["clips"], force=options.force)
    print(f"{result['model']} ({result['fingerprint']}) on {data}: {len(result['clips'])} clips")
    for name, row in result["summary"].items():
        few = f", {row['clips']} clips" if row["clips"] < len(result["clips"]) else ""
        print(f"  {name:18} {row['mean']:9.3f}  (95 % interval {between(row, '.3f')}{few})")
    return 0
