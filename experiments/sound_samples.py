"""The sounds of docs/results.md: ten seconds of the shipped recording, and what `wide` makes of them at three rates."""

import argparse
import tempfile
from pathlib import Path

import soundfile

from snn_codec import Codec, read_audio, write_events

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"
SECONDS, LEVELS = 10, (4, 14, 21)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "-o", "--output", type=Path, default=Path("docs/sounds"), help="folder (default docs/sounds)"
    )
    output = options.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    sound, rate = read_audio(RECORDING)
    sound = sound[: SECONDS * rate]
    soundfile.write(output / "original.ogg", sound, rate)
    codec = Codec.load("wide")
    for level in LEVELS:
        events = codec.encode(sound, rate, level=level)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "events.spk"
            write_events(file, events)
            kbps = file.stat().st_size * 8 / SECONDS / 1000
        soundfile.write(output / f"wide-{level}.ogg", codec.decode(events), events.sample_rate)
        print(f"wide, level {level}: {kbps:.2f} kbps")


if __name__ == "__main__":
    main()
