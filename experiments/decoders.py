"""All decoders of a checkpoint on the same events: how each sounds beside the plain one, and how fast it is.

    python experiments/decoders.py --data DIR [--model free] [--perceptual zimtohrli,visqol] [-o out/decoders] [--quick]

Each decoder is evaluated once and kept as JSON in OUTPUT (as in table1.py). The table has means, 95 % intervals,
and the paired difference to the plain decoder below. Speed is in times real time, seconds of audio over seconds of
work of one thread, the best of three rounds on the shipped recording; it needs a core that does nothing else.
"""

from __future__ import annotations

import argparse
import timeit
from pathlib import Path

from snn_codec import audio
from snn_codec.cli import fatal
from snn_codec.cli.common import add_data, add_parallelism, chosen_data
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.evaluation import coders
from snn_codec.evaluation.cache import evaluated
from snn_codec.evaluation.summary import differences, summary
from snn_codec.metrics import MEASURES
from snn_codec.parallel import Parallelism, Ranks, one_thread
from snn_codec.stats import between

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"
ROUNDS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="free", help="a shipped model or a checkpoint folder (free)")
    add_data(parser)
    add_parallelism(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("out/decoders"), help="folder (out/decoders)"
    )
    parser.add_argument("--quick", action="store_true", help="six clips: a minute")
    options = parser.parse_args()
    if options.quick:
        options.clips = options.clips or 6
    try:
        data = chosen_data(options)
        ranks = Ranks(Parallelism(options.workers, options.devices, options.nodes), "cpu")
        found = []
        for name in Codec.load(options.model).decoders:
            coder = coders.load(options.model if name == "plain" else f"{options.model}+{name}")
            result = evaluated(coder, data, options.output, ranks)
            if result is not None:
                found.append((name, result["clips"], real_time(coder.codec)))
        if ranks.is_main:
            print(table(found))
    except UserError as error:
        return fatal(error)
    return 0


def real_time(codec: Codec) -> float:
    """Seconds of audio that one thread decodes in a second."""
    sound, rate = audio.read(RECORDING)
    events = codec.encode(sound, rate)
    with one_thread():
        taken = timeit.repeat(lambda: codec.decode(events), number=1, repeat=ROUNDS)
    return events.duration / min(taken)


def table(found: list[tuple[str, list, float]]) -> str:
    """Name, rows and speed of each decoder, the plain one first, as Markdown."""
    plain = found[0][1]
    shown = [name for name in summary(plain) if MEASURES[name].better]
    lines = [
        f"| {len(plain)} clips | {' | '.join(MEASURES[measure].title for measure in shown)} | x real time |",
        "|---" * (len(shown) + 2) + "|",
    ]
    for name, rows, speed in found:
        lines.append(_line(name, summary(rows), shown, f"{speed:.1f}"))
        if rows is not plain:
            lines.append(_line("minus plain", differences(rows, plain), shown, ""))
    return "\n".join(lines)


def _line(label: str, values: dict, shown: list[str], speed: str) -> str:
    return (
        f"| {label} | {' | '.join(_cell(values[name], MEASURES[name].digits) for name in shown)} | {speed} |"
    )


def _cell(value: dict[str, float], digits: int) -> str:
    return f"{value['mean']:.{digits}f} ({between(value, f'.{digits}f', ', ')})"


if __name__ == "__main__":
    raise SystemExit(main())
