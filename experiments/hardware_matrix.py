"""Every shipped model on every target: how much of its events is right, or why it is refused.

python experiments/hardware_matrix.py --seconds 10

netx      lava-dl makes the network from the file of `export netx` and gets graded integers; against our integers
nir       snntorch and norse read the file of `export nir` and get its features; against torch
lava      the live graph in fixed point; against our integers
streams   the events as spike streams for Lava, NIR, SONATA and SHD; how many of the four were written

Without Lava the first and the third are not run, and say so.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snn_codec import audio, checkpoints
from snn_codec.cli.common import fatal
from snn_codec.errors import UserError
from snn_codec.hardware import exchange, netx, nir, streams
from snn_codec.hardware.agreement import agreement
from snn_codec.hardware.features import encode_with_features, full_scale
from snn_codec.hardware.fold import fold
from snn_codec.hardware.interpreter import lava_python
from snn_codec.hardware.quantise import quantise
from snn_codec.hardware.simulate import in_lava
from snn_codec.loading import load

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recording", type=Path, default=RECORDING)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument(
        "--models", nargs="+", help="shipped models or checkpoint folders (default: all shipped)"
    )
    parser.add_argument("--lava-python", metavar="PROGRAM", help="the Python 3.10 that has Lava")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    models = options.models or checkpoints.names()
    try:
        rate = audio.info(options.recording).sample_rate
        sound, rate = audio.read(options.recording, 0, round(options.seconds * rate))
        rows = [row(Case(model, sound, rate, options.lava_python)) for model in models]
    except UserError as error:
        return fatal(error)
    print("| model | " + " | ".join(TARGETS) + " |\n" + "|---" * (1 + len(TARGETS)) + "|")
    for model, cells in zip(models, rows, strict=True):
        print(f"| `{Path(model).name}` | " + " | ".join(cells) + " |")
    return 0


@dataclass(frozen=True)
class Case:
    """A model with the events and features of the recording."""

    model: str
    sound: np.ndarray
    rate: int
    python: str | None

    @cached_property
    def codec(self) -> Any:
        return load(self.model)

    @cached_property
    def encoded(self) -> tuple[Any, list[np.ndarray]]:
        return encode_with_features(self.codec, [self.sound], self.rate)

    def integers(self, **settings: Any) -> Any:
        layer = fold(self.codec.bottleneck)
        return quantise(layer, full_scale(self.codec, layer), **settings)

    def lava(self) -> str | None:
        try:
            return lava_python(self.python)
        except UserError:
            return None


def row(case: Case) -> list[str]:
    """The cell of each target."""
    cells = []
    for target in TARGETS.values():
        with tempfile.TemporaryDirectory() as folder:
            try:
                cells.append(target(case, Path(folder)))
            except UserError as error:
                cells.append("refused: " + str(error).replace(f"{folder}/", ""))
    return cells


def in_netx(case: Case, folder: Path) -> str:
    integers = case.integers(whole_bias=True)
    file = folder / f"{Path(case.model).name}.net"
    netx.write(file, integers, step_rate=1.0, fingerprint=case.codec.fingerprint)
    _, runs = case.encoded
    return _by_lava(case, integers, runs, net=file)


def live(case: Case, folder: Path) -> str:
    integers = case.integers()
    _, runs = case.encoded
    return _by_lava(case, integers, runs)


def _by_lava(case: Case, integers: Any, runs: list[np.ndarray], **how: Any) -> str:
    python = case.lava()
    if python is None:
        return "not run: no Lava"
    graded = [integers.graded(run) for run in runs]
    found = in_lava(integers, graded, python=python, **how)
    return share(np.concatenate(found, 1), np.concatenate([integers.spikes(run) for run in graded], 1))


def in_nir(case: Case, folder: Path) -> str:
    layer, name = fold(case.codec.bottleneck), Path(case.model).name
    events, runs = case.encoded
    nir.write(folder / f"{name}.nir", layer, step_seconds=1.0, fingerprint=case.codec.fingerprint)
    exchange.write_features(folder / f"{name}.nirdata", runs[0], events)
    return ", ".join(
        f"{reader.__name__} {share(reader(folder / f'{name}.nir', folder / f'{name}.nirdata'), events.events)}"
        for reader in (snntorch, norse)
    )


def snntorch(graph: Path, features: Path) -> np.ndarray:
    """Spikes `[units, steps]` of a file of `export nir` for its features, by snntorch."""
    import nir
    from snntorch.import_nir import import_from_nir

    network, state, spikes = import_from_nir(nir.read(str(graph))), None, []
    (data,) = nir.read_data(str(features)).nodes["input"].observables["features"].data
    with torch.no_grad():
        for step in torch.from_numpy(data):
            out, state = network(step[None], state)
            spikes.append(out[0])
    return torch.stack(spikes, 1).numpy() > 0


def norse(graph: Path, features: Path) -> np.ndarray:
    """As `snntorch`, by norse."""
    import nir
    from norse.torch import from_nir

    network, state, spikes = from_nir(nir.read(str(graph)), dt=1e-4), None, []
    (data,) = nir.read_data(str(features)).nodes["input"].observables["features"].data
    with torch.no_grad():
        for step in torch.from_numpy(data):
            out, state = network(step[None], state)
            spikes.append(out[0])
    return torch.stack(spikes, 1).numpy() > 0


def as_streams(case: Case, folder: Path) -> str:
    events, name = case.codec.encode(case.sound, case.rate), Path(case.model).name
    checkpoints.check_spikes(name, events.fingerprint, case.model)
    for kind, suffix in streams.SUFFIXES.items():
        streams.write(folder / f"{name}{suffix}", kind, [("recording", events)])
    return f"{len(list(folder.iterdir()))} of {len(streams.SUFFIXES)}"


def share(found: np.ndarray, expected: np.ndarray) -> str:
    """How many cells, and events, are the same."""
    return agreement(found, expected).words()


TARGETS: dict[str, Callable[[Case, Path], str]] = {
    "netx": in_netx,
    "nir": in_nir,
    "lava": live,
    "streams": as_streams,
}

if __name__ == "__main__":
    raise SystemExit(main())
