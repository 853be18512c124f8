"""`snn-codec info`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_codec import progress
from snn_codec.cli.common import MAKER, add_json, add_model, entropy_models, maker
from snn_codec.files import shown
from snn_codec.pipes import name_of, seekable

if TYPE_CHECKING:
    from snn_codec.storage.h5 import Recording
    from snn_codec.storage.spk import Header

HELP = "Show metadata and a size breakdown of an event file."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("file", type=Path, help=".spk or .h5 file; - for stdin")
    parser.add_argument(
        "--events",
        action="store_true",
        help="count events that must be decoded for it (those of a bitstream)",
    )
    add_model(parser, None, f"{MAKER}; implies --events")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    decode = options.events or options.model is not None
    found = described(options.file, options.model, decode=decode)
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"{shown(options.file)}: {found['bytes']} bytes, {len(found['recordings'])} recording(s)")
    for name, row in found["recordings"].items():
        _print_recording(name, row, decode)
    if "parts" in found:
        _print_parts(found)
    elif not found["sealed"]:
        print(
            f"its seal is broken: another program has changed the file. Its recordings can all be read; "
            f"so that other commands read it, too: snn-codec convert --reseal {options.file} NEW.h5"
        )
    return 0


def described(path: Path, model: str | None = None, *, decode: bool = False) -> dict[str, Any]:
    """What an event file holds, as `--json` prints it.

    Args:
        path: A bitstream or HDF5 spike trains, or a pipe that one comes through; `-` is stdin.
        model: Whose entropy model decodes events; without one, the shipped model that made the file.
        decode: Decode the events of a bitstream that cannot be counted without.

    Raises:
        UserError: The file cannot be read.
    """
    from snn_codec.storage import spk

    with seekable(path) as file:
        if spk.is_bitstream(file):
            found = _bitstream(file, name_of(path), model, decode)
        else:
            found = _spike_trains(file)
        return {"file": str(path), "bytes": file.stat().st_size, **found}


def _spike_trains(path: Path) -> dict[str, Any]:
    from snn_codec.storage import h5

    sealed = h5.is_sealed(path)
    if not sealed:
        h5.check_content(path)
    with h5.SpikeTrains(path, sealed=sealed) as trains:
        found = {name: (trains.info(name), trains.n_events(name), trains.levels(name)) for name in trains}
    rows = {
        name: _row(made, made.n_samples, n_events, levels, made.floor_bands)
        for name, (made, n_events, levels) in found.items()
    }
    return {"recordings": rows, "sealed": sealed}


def _bitstream(path: Path, name: str, model: str | None, decode: bool) -> dict[str, Any]:
    from snn_codec.storage import spk

    found = spk.survey(path)
    header, n_events = found.header, found.n_events
    if n_events is None and decode:
        entropy_model = entropy_models(model or maker(path))
        if entropy_model is not None and entropy_model.fingerprint == header.entropy_model:
            with progress.bar("counting", None):
                n_events = spk.read(path, entropy_model=entropy_model).n_events
    row = _row(header, found.n_samples, n_events, found.levels, header.floor_bands)
    return {"recordings": {name: row}, "parts": found.parts, "entropy_model": header.entropy_model}


def _row(
    made: Recording | Header, n_samples: int, n_events: int | None, levels: Iterable[int], floor_bands: int
) -> dict[str, Any]:
    """Of one recording; without what its number of events says if that is None."""
    from snn_codec.costs import all_bits
    from snn_codec.events import steps_for
    from snn_codec.levels import LEVEL_PARTS, UNREACHED

    steps, seconds = steps_for(n_samples, made.hop), n_samples / made.sample_rate
    row = {
        "units": made.n_units, "steps": steps, "sample_rate": made.sample_rate, "hop": made.hop,
        "samples": n_samples, "seconds": seconds, "model": made.fingerprint,
    }  # fmt: skip
    if n_events is not None:
        row |= {
            "events": n_events,
            "density": n_events / (made.n_units * steps),
            "events_per_second": n_events / seconds,
            "bits": all_bits(made.n_units, steps, n_events),
        }
    numbers = [None if code == UNREACHED else code / LEVEL_PARTS for code in levels]
    return {**row, "levels": numbers, "floor_bands": floor_bands}


def _print_recording(name: str, row: dict[str, Any], decoded: bool) -> None:
    print(f"{shown(name)}: {row['seconds']:.2f} s, {row['units']} units, model {row['model'] or '-'}")
    if "events" in row:
        print(
            f"  {row['steps']} steps, {row['events']} events ({row['events_per_second']:.1f} a second, "
            f"density {row['density']:.4f})"
        )
        rates = (f"{kind} {bits / row['seconds'] / 1000:.3f}" for kind, bits in row["bits"].items())
        print(f"  kbps by the paper's formulas: {', '.join(rates)}")
    elif decoded:
        print(
            f"  {row['steps']} steps; its events are coded with an entropy model that --model does not have; they "
            "cannot be counted"
        )
    else:
        print(f"  {row['steps']} steps; --events decodes the events to count them")
    found = [level for level in row["levels"] if level is not None]
    if found:
        print(f"  levels: {min(found):g} to {max(found):g}")
    if row["floor_bands"]:
        print(f"  floor: {row['floor_bands']} bands a chunk, for decoders that fill in the spectrum")
    below = [str(chunk) for chunk, level in enumerate(row["levels"]) if level is None]
    if below:
        print(f"  chunks whose quality no level could lift to what was asked for: {', '.join(below)}")


def _print_parts(found: dict[str, Any]) -> None:
    parts, (row,) = found["parts"], found["recordings"].values()
    print(f"  kbps of this file: {found['bytes'] * 8 / row['seconds'] / 1000:.3f}")
    names = ("header", "framing", "side", "events", "checksums", "trailer")
    print("  bytes: " + ", ".join(f"{name} {parts[name]}" for name in names))
    print("  chunks: " + ", ".join(f"{count} {name}" for name, count in parts["chunks"].items()))
    if found["entropy_model"]:
        print(f"  entropy model: {found['entropy_model']}")
