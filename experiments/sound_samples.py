"""The sounds of docs/results.md: ten seconds of the shipped recording, coded by `wide` at three rates and by `free`.

python experiments/sound_samples.py [-o docs/sounds]

Each is stored as Ogg Vorbis; the rate that is printed is that of the whole `.spk` file.
"""

import argparse
import tempfile
from pathlib import Path

import soundfile

from snn_codec import Codec, read_audio, write_events

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"
SECONDS = 10
SOUNDS = {  # file: model, level, decoder
    "wide-4": ("wide", 4, "plain"),
    "wide-14": ("wide", 14, "plain"),
    "wide-21": ("wide", 21, "plain"),
    "wide-4-filling": ("wide", 4, "filling"),
    "wide-14-filling": ("wide", 14, "filling"),
    "wide-21-filling": ("wide", 21, "filling"),
    "free": ("free", None, "plain"),
    "free-gan": ("free", None, "gan"),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument(
        "-o", "--output", type=Path, default=Path("docs/sounds"), help="folder (default docs/sounds)"
    )
    output = options.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    sound, rate = read_audio(RECORDING)
    sound = sound[: SECONDS * rate]
    soundfile.write(output / "original.ogg", sound, rate)
    for name, (model, level, decoder) in SOUNDS.items():
        codec = Codec.load(model, decoder=decoder)
        events = codec.encode(sound, rate, level=level)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "events.spk"
            write_events(file, events)
            kbps = file.stat().st_size * 8 / SECONDS / 1000
        soundfile.write(output / f"{name}.ogg", codec.decode(events), events.sample_rate)
        print(f"{name}: {kbps:.2f} kbps")


if __name__ == "__main__":
    main()
