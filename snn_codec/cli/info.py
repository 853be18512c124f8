"""`snn-codec info`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from snn_codec.cli.common import MAKER, add_json, add_model, maker, shown

HELP = "Show metadata and a size breakdown of an event file."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("file", type=Path, help=".spk or .h5 file")
    add_model(parser, None, MAKER)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    found = described(options.file, options.model)
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"{shown(options.file)}: {found['bytes']} bytes, {len(found['recordings'])} recording(s)")
    for name, row in found["recordings"].items():
        _print_recording(name, row)
    if "parts" in found:
        _print_parts(found)
    elif not found["sealed"]:
        print(
            f"its seal is broken: another program has changed the file. Its recordings can all be read; "
            f"so that other commands read it, too: snn-codec convert --reseal {options.file} NEW.h5"
        )
    return 0


def described(path: Path, model: str | None) -> dict[str, Any]:
    """What an event file holds, as `--json` prints it.

    Raises:
        UserError: The file cannot be read.
    """
    from snn_codec.storage import event_files

    if event_files.is_bitstream(path):
        found = _bitstream(path, model or maker(path))
    else:
        found = _spike_trains(path)
    return {"file": str(path), "bytes": path.stat().st_size, **found}


def _spike_trains(path: Path) -> dict[str, Any]:
    from snn_codec.storage import h5

    sealed = h5.is_sealed(path)
    if not sealed:
        h5.check_content(path)
    with h5.SpikeTrains(path, sealed=sealed) as trains:
        return {"recordings": {name: _recording(trains[name]) for name in trains}, "sealed": sealed}


def _bitstream(path: Path, model: str) -> dict[str, Any]:
    from snn_codec import checkpoints
    from snn_codec.storage import spk
    from snn_codec.storage.entropy_model import EntropyModel

    parts: dict[str, Any] = spk.breakdown(path)
    with open(path, "rb") as file:
        header = spk.Reader(file, name=str(path)).header
    folder = checkpoints.find(model)
    entropy_model = EntropyModel.of(folder) if header.entropy_model else None
    known = entropy_model is not None and entropy_model.fingerprint == header.entropy_model
    if set(parts["chunks"]) - set(spk.WITHOUT_MODEL) and not known:
        # its bytes can be told without the entropy model, its events cannot
        row = {
            "units": header.n_units, "sample_rate": header.sample_rate, "hop": header.hop,
            "samples": parts["samples"], "model": header.fingerprint,
            "seconds": parts["samples"] / header.sample_rate,
        }  # fmt: skip
    else:
        row = _recording(spk.read(path, entropy_model=entropy_model))
    return {"recordings": {path.stem: row}, "parts": parts, "entropy_model": header.entropy_model}


def _recording(events: Any) -> dict[str, Any]:
    from snn_codec.levels import LEVEL_PARTS, UNREACHED

    return {
        "units": events.n_units,
        "steps": events.n_steps,
        "sample_rate": events.sample_rate,
        "hop": events.hop,
        "samples": events.n_samples,
        "seconds": events.duration,
        "model": events.fingerprint,
        "events": events.n_events,
        "density": events.density,
        "events_per_second": events.events_per_second,
        "bits": events.costs,
        "levels": [None if code == UNREACHED else code / LEVEL_PARTS for code in events.levels],
        "floor_bands": events.floor.shape[1],
    }


def _print_recording(name: str, row: dict[str, Any]) -> None:
    print(f"{shown(name)}: {row['seconds']:.2f} s, {row['units']} units, model {row['model'] or '-'}")
    if "events" not in row:
        print(
            "  its events are coded with an entropy model that --model does not have; they cannot be counted"
        )
        return
    print(
        f"  {row['steps']} steps, {row['events']} events ({row['events_per_second']:.1f} a second, "
        f"density {row['density']:.4f})"
    )
    rates = (f"{kind} {bits / row['seconds'] / 1000:.3f}" for kind, bits in row["bits"].items())
    print(f"  kbps by the paper's formulas: {', '.join(rates)}")
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
