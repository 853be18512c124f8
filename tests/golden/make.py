"""Makes the files of this folder: one of every format and version, which every later version must still read.

    python tests/golden/make.py

A version's files are never made again, except together with a new version: their bytes are the format.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from unittest import mock

import numpy as np

from snn_codec.events import EventMatrix
from snn_codec.storage import h5, spk
from snn_codec.storage.entropy_model import EntropyModel, EntropyNetwork, ThermometerModel
from snn_codec.storage.spk import writer
from snn_codec.storage.spk.chunk import pack
from snn_codec.thermometer import Layout

FOLDER = Path(__file__).parent


def numbers(n: int) -> np.ndarray:
    """Integers in 0..65535 without a pattern, by arithmetic that no library can change."""
    values, state = [], 1
    for _ in range(n):
        state = (state * 1103515245 + 12345) % 2**31
        values.append(state >> 15)
    return np.array(values)


def recording(units: int = 16, steps: int = 150, chunk_steps: int = 20) -> EventMatrix:
    """Eight chunks from nearly empty to dense, the last one short."""
    density = np.repeat([0, 0.01, 0.05, 0.1, 0.2, 0.5, 0.9, 0.3], chunk_steps)[:steps]
    events = numbers(units * steps).reshape(units, steps) < density * 65536
    loudness = numbers(8).astype(np.uint8)
    return EventMatrix(events, 22050, 512, steps * 512 - 100, "0123456789abcdef", loudness, chunk_steps)


def prompted() -> EventMatrix:
    """The same with levels, for which version 2 is."""
    return recording().replace(levels=(255 - 7 * np.arange(8)).astype(np.uint8))


def entropy_model(units: int = 16) -> EntropyNetwork:
    """A network of two hidden layers."""
    values = iter(numbers(10**5) % 61 - 30)

    def take(*shape: int) -> np.ndarray:
        return np.array([next(values) for _ in range(int(np.prod(shape)))], np.int16).reshape(shape)

    layers = tuple((take(wide, narrow), take(wide).astype(np.int32)) for wide, narrow in ((12, 32), (8, 12)))
    output = take(units, 52), take(units).astype(np.int32) - 500  # events are rare
    return EntropyNetwork(2, layers, output, np.tril(take(units, units), -1))


def measured() -> EventMatrix:
    """Coefficients by thermometers, for which version 3 is: a few bins of large ones, the others mostly 0."""
    signed = (numbers(40 * 12).reshape(40, 12) % 7 - 3) * (
        numbers(480).reshape(40, 12) % 16 < 12 - np.arange(12)
    )
    events = THERMOMETER.events(signed)
    loudness, levels = numbers(3).astype(np.uint8), np.array([0, 8, 255], np.uint8)
    return EventMatrix(events, 22050, 2048, 40 * 2048 - 9, "fedcba9876543210", loudness, 16, levels)


def floored() -> EventMatrix:
    """The same with a floor of five bands, for which version 4 is."""
    return measured().replace(floor=(numbers(15) % 32).astype(np.uint8).reshape(3, 5))


THERMOMETER = Layout((4, 12), (3, 2))


def thermometer_model() -> ThermometerModel:
    """A network of four units."""
    values = iter(numbers(10**5) % 601 - 300)

    def take(*shape: int, kind: type = np.int16) -> np.ndarray:
        return np.array([next(values) for _ in range(int(np.prod(shape)))], kind).reshape(shape)

    return ThermometerModel(
        np.array([4, 12], np.int32),
        np.array([3, 2], np.int32),
        take(4, 11, 3),
        take(2, 4, 4, 5),
        take(4, 12, kind=np.int32),
        take(2, 4, kind=np.int32),
        take(3, 4, 4),
        take(3, 4, kind=np.int32),
        take(3, 7, 4),
        take(3, 7, kind=np.int32),
        take(2, 2, kind=np.int32),
    )


def bitstreams() -> dict[str, bytes]:
    """By file name: as the writer chooses, with an entropy model, and each format alone where it fits."""
    files = {"v1.spk": _packed(recording()), "v1_context.spk": _packed(recording(), entropy_model())}
    files["v2.spk"] = _packed(prompted())
    files["v3.spk"] = _packed(measured(), thermometer_model())
    files["v4.spk"] = _packed(floored(), thermometer_model())
    files["v4_without.spk"] = _packed(floored())
    few = EventMatrix(recording().events[:, :60], 22050, 512, 60 * 512, "not hexadecimal", chunk_steps=20)
    for name in spk.FORMATS[:-1]:  # a thermometer's needs its own events

        def only(events, model, side, name=name):
            return name, model.encode(events) if name == "learned" else pack(events, name)

        with mock.patch.object(writer, "pack_chunk", only):
            files[f"v1_{name}.spk"] = _packed(few, entropy_model())
    return files


def _packed(events: EventMatrix, model: EntropyModel | None = None) -> bytes:
    file = io.BytesIO()
    spk.write(file, events, entropy_model=model)
    return file.getvalue()


def main() -> None:
    for name, data in bitstreams().items():
        (FOLDER / name).write_bytes(data)
    entropy_model().save(FOLDER / "v1_context.safetensors", force=True)
    thermometer_model().save(FOLDER / "v3_context.safetensors", force=True)
    few = EventMatrix(recording().events[:3, :60], 44100, 441, 60 * 441, chunk_steps=7)
    for name, compress in (("v1.h5", False), ("v1_compressed.h5", True)):
        recordings = {"one": recording(), "zwei ä": few}
        if not (FOLDER / name).exists():
            h5.write(FOLDER / name, recordings, compress=compress)
    if not (FOLDER / "v2.h5").exists():
        h5.write(FOLDER / "v2.h5", {"one": prompted(), "zwei ä": few})
    if not (FOLDER / "v3.h5").exists():
        h5.write(FOLDER / "v3.h5", {"one": floored(), "zwei ä": few})


if __name__ == "__main__":
    sys.exit(main())
