"""The demo: one piano recording through the spiking units and back, with figures and a figure.

    python experiments/demo.py [--model free] [--output out/demo]

Writes the events (`.spk`), the decoded sound (`.wav`) and a picture of both, and prints what it cost.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from snn_codec import audio, midi, plots
from snn_codec.cli import fatal
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.files import make_folder
from snn_codec.metrics import si_snr
from snn_codec.storage import spk

RECORDING = Path(__file__).parent.parent / "data" / "recording"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="free")
    parser.add_argument("--output", type=Path, default=Path("out/demo"))
    options = parser.parse_args()
    try:
        run(options.model, options.output)
    except UserError as error:
        return fatal(error)
    return 0


def run(model: str, output: Path) -> None:
    (source,) = RECORDING.glob("*.flac")
    (score,) = RECORDING.glob("*.mid")
    make_folder(output)
    codec = Codec.load(model)
    sound, rate = audio.read(source)

    began = time.perf_counter()
    events = codec.encode(sound, rate)
    encoded = time.perf_counter()
    decoded = codec.decode(events)
    finished = time.perf_counter()

    name = source.stem
    spk.write(output / f"{name}.spk", events, entropy_model=codec.entropy_model, force=True)
    audio.write(output / f"{name}.wav", [decoded], events.sample_rate, force=True)
    score_db = si_snr(decoded, sound)
    n_bytes = (output / f"{name}.spk").stat().st_size
    plots.overview(
        output / f"{name}.png",
        sound,
        decoded,
        events,
        midi.read(score),
        force=True,
        title=f"{name}: {events.kbps(n_bytes):.2f} kbps, {events.events_per_second:.0f} events/s, "
        f"SI-SNR {score_db:.1f} dB",
    )
    print(f"recording       {source.name}, {events.duration:.1f} s, {len(sound) * 2} bytes as 16-bit samples")
    print(f"model           {model} ({codec.fingerprint})")
    print(
        f"events          {events.n_events} of {events.n_units} units x {events.n_steps} steps, "
        f"{events.events_per_second:.0f} a second, density {events.density:.3f}"
    )
    print(
        f"event file      {n_bytes} bytes, {events.kbps(n_bytes):.3f} kbps, {len(sound) * 2 / n_bytes:.0f} times less"
    )
    dense = events.costs["dense"] / 8
    print(f"                one bit a cell would be {dense:.0f} bytes, {events.kbps(dense):.3f} kbps")
    print(f"SI-SNR          {score_db:.2f} dB")
    print(
        f"real time       encoding {events.duration / (encoded - began):.0f} x, "
        f"decoding {events.duration / (finished - encoded):.0f} x"
    )
    for suffix, what in (
        (".wav", "decoded sound"),
        (".spk", "events (bitstream)"),
        (".png", "figure"),
    ):
        print(f"{what + ':':28}{output / (name + suffix)}")


if __name__ == "__main__":
    raise SystemExit(main())
