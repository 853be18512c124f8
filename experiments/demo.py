"""The demo: one piano recording through spiking units and back, with a table, sounds and a figure.

    python experiments/demo.py [--output out/demo]

Codes the recording that comes with the repository with the paper's dense and sparse events (`free`, `sparse`), with
many units and few events (`wide`, decoded by its plain decoder and by the one that fills in the spectrum), and with a
textbook transform coder at the rate of `wide`. Writes events (`.spk`), sounds (`.wav`), and the rasters over the piano
roll.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snn_codec import audio, decoders, midi, plots
from snn_codec.checkpoints import find
from snn_codec.cli import fatal
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.evaluation.transform import Textbook, shipped_tables
from snn_codec.events import EventMatrix
from snn_codec.files import make_folder
from snn_codec.metrics import mel_distance, si_snr, stft_distance
from snn_codec.storage import spk

RECORDING = Path(__file__).parent.parent / "data" / "recording"
SHOWN = 0.0, 15.0  # seconds of the figure


class Row(NamedTuple):
    """A line of the table; `events_per_second` is NaN for what has no events."""

    name: str
    n_bytes: int
    decoded: np.ndarray
    events_per_second: float
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", nargs="+", default=["free", "sparse", "wide"], help="models to show")
    parser.add_argument("--output", type=Path, default=Path("out/demo"))
    options = parser.parse_args()
    try:
        run(options.model, options.output)
    except UserError as error:
        return fatal(error)
    return 0


def run(models: list[str], output: Path) -> None:
    (source,) = RECORDING.glob("*.flac")
    (score,) = RECORDING.glob("*.mid")
    codecs = {name: Codec.load(name) for name in models}
    make_folder(output)
    sound, rate = audio.read(source)
    rows: list[Row] = []
    drawn: list[plots.Raster] = []
    print(f"{source.name}: {len(sound) / rate:.1f} s of piano, {2 * len(sound)} bytes as 16-bit samples\n")
    print(f"{'':15}{'bytes':>7}{'kbps':>7}{'SI-SNR':>9}{'STFT':>8}{'mel':>9}{'events/s':>10}{'took':>8}")
    for name, codec in codecs.items():
        path = output / f"{source.stem}.{name}.spk"
        for row, events in coded(name, codec, sound, rate, path):
            audio.write(output / f"{source.stem}.{row.name}.wav", [row.decoded], rate, force=True)
            if row.name == name:
                label = (
                    f"{name}, {events.kbps(row.n_bytes):.2f} kbps, SI-SNR {si_snr(row.decoded, sound):.1f} dB"
                )
                drawn.append(plots.Raster(label, events, codec.settings.unit_hertz()))
            rows.append(row)
            say(row, sound, rate)
    say(textbook(sound, rows[-1].n_bytes), sound, rate)
    figure = output / f"{source.stem}.png"
    plots.rasters(figure, drawn, notes=midi.read(score), seconds=SHOWN, force=True)
    print(f"\nevents (.spk), sounds (.wav), rasters over the piano roll: {output}, {figure}")


def coded(
    name: str, codec: Codec, sound: np.ndarray, rate: int, path: Path
) -> Iterator[tuple[Row, EventMatrix]]:
    """A line for each decoder that pays: the codec's own, and one that fills in the spectrum."""
    began = time.perf_counter()
    events = codec.encode(sound, rate)
    spk.write(path, events, entropy_model=codec.entropy_model, force=True)
    encoded = time.perf_counter() - began
    for decoder in ("plain", *(one for one in codec.decoders if one == "filling")):
        began = time.perf_counter()
        if decoder != "plain":
            codec.active_decoder = decoders.load(find(name), decoder, codec)
        decoded = codec.decode(events)
        seconds = encoded + time.perf_counter() - began
        label = name if decoder == "plain" else f"{name}+{decoder}"
        yield Row(label, path.stat().st_size, decoded, events.events_per_second, seconds), events


def textbook(sound: np.ndarray, n_bytes: int) -> Row:
    """A textbook transform coder at so many bytes (`snn_codec.evaluation.transform`)."""
    began, coder = time.perf_counter(), Textbook(shipped_tables())
    code = coder.encode(sound, n_bytes)
    decoded = coder.decode(code)
    return Row("textbook MDCT", len(code), decoded, float("nan"), time.perf_counter() - began)


def say(row: Row, sound: np.ndarray, rate: int) -> None:
    """Print a line of the table."""
    kbps = row.n_bytes * 8 * rate / len(sound) / 1000
    events = "" if np.isnan(row.events_per_second) else f"{row.events_per_second:.0f}"
    print(
        f"{row.name:15}{row.n_bytes:7}{kbps:7.2f}{si_snr(row.decoded, sound):6.1f} dB"
        f"{stft_distance(row.decoded, sound):8.2f}{mel_distance(row.decoded, sound, rate):6.1f} dB{events:>10}"
        f"{row.seconds:6.1f} s"
    )


if __name__ == "__main__":
    raise SystemExit(main())
