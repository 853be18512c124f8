#!/usr/bin/env python3
"""What each part of `wide` brings at equal bytes: coders with one part more each, all of the shipped model, untrained.

    python experiments/ablation.py DATA... [--rates 2.6 1.0] [--clips 24] [--model wide] [--kept out/ablation]

    textbook      `mdct:KBPS`: a uniform quantiser and static tables, the rate the same for all clips
    one step      the same with one step for all clips, relative to their RMS, which spends bytes as levels do
    thermometer   the model's events, and what they stand for (`MdctDecoder.read_out`), in files without entropy model
    static        the same events, coded by the textbook's tables
    learned       the same, by the model's entropy model
    refinement    and refined by its decoder: the model
    search        and with one pass of its search

All but the first are measured at the two neighbouring levels whose mean true rates are above and below the one asked
for, and SI-SNR is read between them, linearly in the logarithm of the rate. Intervals are over recordings. Evaluations
are kept, so the same command goes on after an interruption, and makes anew only what another checkpoint changes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from snn_codec import stats
from snn_codec.cli import fatal
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.evaluation import transform
from snn_codec.evaluation.cache import evaluated
from snn_codec.evaluation.coder import Coded, Coder
from snn_codec.evaluation.coders import ModelCoder
from snn_codec.evaluation.command import Data
from snn_codec.evaluation.summary import Row, differences, summary
from snn_codec.loading import load
from snn_codec.models.mdct import MdctDecoder
from snn_codec.named import Named
from snn_codec.parallel import Parallelism, Ranks

PER_OCTAVE = 7.5  # levels that halve the rate, about: where the search for a level goes on
TEXTBOOK_TOP = 63  # coarsest level of the textbook's steps, eight an octave
MORE = 1.05  # the textbook at this much more is above a rate, where what it makes of the rate itself is below


class Part(NamedTuple):
    """A row of the table: its name, the coder at a level, and the coarsest level."""

    name: str
    coder: Callable[[int], Coder]
    top: int


class OneStep(transform.TextbookCoder):
    """The textbook with step number 4 `level`, whatever the bytes."""

    def __init__(self, level: int):
        super().__init__("mdct:1")
        self.number = level * transform.STEPS // (TEXTBOOK_TOP + 1)
        self.name, self.fingerprint = f"mdct-step@{level}", f"{self.fingerprint}-step{self.number}"

    def code(self, clip: np.ndarray) -> Coded:
        code = self.coder.encode_at(clip, self.number)
        return Coded(self.coder.decode(code), len(code) * 8 / (len(clip) / self.sample_rate) / 1000)


class StaticTables(ModelCoder):
    """The model's events in the textbook's tables: of each clip in those that need the fewest bytes."""

    textbook = transform.Textbook(transform.shipped_tables())

    def code(self, clip: np.ndarray) -> Coded:
        events = self.codec.encode(clip, self.sample_rate, **self.asked.encoding)
        signed = self.codec.bottleneck.layout.magnitudes(events.events).astype(np.int64)
        numbers = range(0, transform.STEPS, transform.STEPS // transform.N_TABLES)
        code = min((self.textbook.code(len(clip), 0, signed, number) for number in numbers), key=len)
        return Coded(self.codec.decode(events), events.kbps(len(code)))


def parts(model: str) -> list[Part]:
    """What is compared, each of the model's with one part more than the one before it."""
    top = load(model).settings.levels - 1
    return [
        Part("textbook, one step for all clips", OneStep, TEXTBOOK_TOP),
        Part("thermometer, no entropy model", _coder(model, ModelCoder, refined=False, learned=False), top),
        Part("+ static tables", _coder(model, StaticTables, refined=False, learned=False), top),
        Part("+ learned entropy model", _coder(model, ModelCoder, refined=False), top),
        Part("+ refinement", _coder(model, ModelCoder), top),
        Part("+ search", _coder(model, ModelCoder, search=1), top),
    ]


def _coder(
    model: str, kind: type[ModelCoder], *, refined: bool = True, learned: bool = True, search: int = 0
) -> Callable[[int], Coder]:
    codec = _codec(model, refined, learned)

    def at(level: int) -> Coder:
        how = f"{kind.__name__}{'' if refined else '-unrefined'}{'' if learned else '-unlearned'}"
        asked = Named(Path(model).name, search=search, level=level)
        coder = kind(codec, asked, f"{asked.model}-{how}{f'-search{search}' if search else ''}@{level}")
        coder.fingerprint += f"-{how}"
        return coder

    return at


def _codec(model: str, refined: bool, learned: bool) -> Codec:
    codec = load(model)
    decoder: Any = codec.decoder
    if not isinstance(decoder, MdctDecoder) or codec.entropy_model is None:
        raise UserError(
            f"{model}: has no thermometer, refinement and entropy model; use wide, or one like it"
        )
    codec.floor_bands = 0  # the floor is for decoders that fill in the spectrum
    if not refined:
        decoder.forward = decoder.read_out
    if not learned:
        codec.entropy_model = None
    return codec


def around(rate: float, top: int, kbps: Callable[[int], float]) -> tuple[int, int] | None:
    """The neighbouring levels of which the first is not below a rate and the second is; None if there are none."""
    low, high = -1, top + 1  # known to be not below, and below
    level = top // 2
    while high - low > 1:
        found = kbps(level)
        low, high = (level, high) if found >= rate else (low, level)
        guess = level + round(PER_OCTAVE * math.log2(found / rate))
        level = min(max(guess, low + 1), high - 1)
    return (low, high) if low >= 0 and high <= top else None


def between(rate: float, above: dict[str, Any], below: dict[str, Any]) -> list[Row]:
    """Clips of two evaluations at the rate between theirs, linearly in its logarithm."""
    first, second = (summary(found["clips"])["kbps"]["mean"] for found in (above, below))
    share = math.log(first / rate) / math.log(first / second) if first > second else 0.0
    share = min(max(share, 0.0), 1.0)
    return [
        {
            "recording": row["recording"],
            "clip": row["clip"],
            "kbps": rate,
            "si_snr": float(row["si_snr"]) + share * (float(other["si_snr"]) - float(row["si_snr"])),
        }
        for row, other in zip(above["clips"], below["clips"], strict=True)
    ]


def rows_of(
    model: str, rate: float, data: Data, kept: Path, ranks: Ranks
) -> Iterator[tuple[str, list[Row] | None]]:
    """Each part's name and clips at a rate, None where it has no level of this rate."""

    def measure(coder: Coder) -> dict[str, Any]:
        found = evaluated(coder, data, kept, ranks)
        assert found is not None
        return found

    textbook = [measure(transform.TextbookCoder(f"mdct:{asked:g}")) for asked in (rate * MORE, rate)]
    yield "textbook (`mdct:KBPS`)", between(rate, *textbook)
    for part in parts(model):

        def kbps(level: int, part: Part = part) -> float:
            return summary(measure(part.coder(level))["clips"])["kbps"]["mean"]

        levels = around(rate, part.top, kbps)
        pair = [measure(part.coder(level)) for level in levels] if levels else None
        yield part.name, between(rate, *pair) if pair else None


def cell(rows: list[Row] | None, before: list[Row] | None) -> str:
    """SI-SNR with its interval, and the paired difference to the row above."""
    if rows is None:
        return "-"
    own = _interval(summary(rows)["si_snr"], "")
    return own if before is None else f"{own}, {_interval(differences(rows, before)['si_snr'], '+')}"


def _interval(found: dict[str, float], sign: str) -> str:
    return f"{found['mean']:{sign}.2f} ({stats.between(found, sign + '.2f')})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="+", help="folders of recordings")
    parser.add_argument("--model", default="wide", help="a shipped model or a checkpoint folder (wide)")
    parser.add_argument("--rates", type=float, nargs="+", default=[2.6, 1.0], help="in kbps (2.6 1.0)")
    parser.add_argument("--clips", type=int, default=24, help="of each folder (24)")
    parser.add_argument("--kept", type=Path, default=Path("out/ablation"), help="folder of evaluations")
    options = parser.parse_args()
    try:
        table: dict[str, list[str]] = {}
        for folder in options.data:
            data = Data.of(folder, None, clips=options.clips)
            for rate in options.rates:
                before = None
                for name, rows in rows_of(
                    options.model, rate, data, options.kept, Ranks(Parallelism(), "cpu")
                ):
                    table.setdefault(name, []).append(cell(rows, before))
                    before = rows or before
    except UserError as error:
        return fatal(error)
    heads = [f"{folder.name}, {rate:g} kbps" for folder in options.data for rate in options.rates]
    print(f"| SI-SNR (dB), and over the row above | {' | '.join(heads)} |")
    print("|---" * (1 + len(heads)) + "|")
    for name, cells in table.items():
        print(f"| {name} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
