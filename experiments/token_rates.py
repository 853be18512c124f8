"""How long events are as sequences for a language model: integers and tokens a second of every shipped model.

    python experiments/token_rates.py [RECORDING] [--model free sparse ...] [--bits 10] [--max-shift 32]

A step is ceil(N / bits) integers below 2^bits (`EventMatrix.to_integers`), or a token an event and a token a gap
(`EventMatrix.to_tokens`, vocabulary N + max_shift). A model with levels is at its default level.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_codec import EventMatrix, UserError, checkpoints, read_audio, tokens
from snn_codec.cli import fatal

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recording", nargs="?", type=Path, default=RECORDING)
    parser.add_argument(
        "--model", nargs="+", default=checkpoints.names(), help="shipped models or checkpoint folders (all)"
    )
    parser.add_argument("--bits", type=int, default=tokens.BITS, help=f"of an integer ({tokens.BITS})")
    parser.add_argument("--max-shift", type=int, default=tokens.MAX_SHIFT, help=f"steps ({tokens.MAX_SHIFT})")
    options = parser.parse_args()
    print(f"{options.recording.name}: {options.bits} bits an integer, shifts up to {options.max_shift} steps")
    print(f"{'model':>12}{'events/s':>10}{'steps/s':>9}{'integers/s':>12}{'tokens/s':>10}{'vocabulary':>12}")
    try:
        for model in options.model:
            events = encoded(options.recording, model)
            integers, sequence = lengths(events, options.bits, options.max_shift)
            print(
                f"{Path(model).name:>12}{events.events_per_second:10.0f}{events.step_rate:9.1f}"
                f"{integers / events.duration:12.0f}{sequence / events.duration:10.0f}"
                f"{events.n_units + options.max_shift:12}"
            )
    except UserError as error:
        return fatal(error)
    return 0


def encoded(recording: Path, model: str) -> EventMatrix:
    """The recording's events."""
    from snn_codec import Codec

    return Codec.load(model).encode(*read_audio(recording))


def lengths(events: EventMatrix, bits: int, max_shift: int) -> tuple[int, int]:
    """Integers and tokens of the whole recording, after a check that both give the events back."""
    integers, sequence = events.to_integers(bits), events.to_tokens(max_shift)
    fields = events.metadata
    if not (
        EventMatrix.from_integers(integers, events.n_units, bits=bits, **fields)
        == EventMatrix.from_tokens(sequence, events.n_units, max_shift=max_shift, **fields)
        == events
    ):
        raise AssertionError("a sequence does not give the events back")
    return integers.size, sequence.size


if __name__ == "__main__":
    raise SystemExit(main())
