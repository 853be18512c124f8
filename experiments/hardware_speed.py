"""How long Lava takes for a minute of piano, with every shipped model that spikes.

python experiments/hardware_speed.py --seconds 60

The recording is repeated to that length. `Lava` is from layer and features to spikes, the start of its processes
included; `all` adds loading the model, encoding and quantising, but not the start of Python. A model whose encoder is a
matrix has a row with the encoder in Lava, too, as `simulate --encoder` does.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from snn_codec import audio, checkpoints
from snn_codec.cli.common import fatal
from snn_codec.errors import UserError
from snn_codec.hardware.agreement import agreement
from snn_codec.hardware.encoder import encoder_of
from snn_codec.hardware.features import encode_with_audio, encode_with_features, full_scale
from snn_codec.hardware.fold import fold
from snn_codec.hardware.quantise import quantise
from snn_codec.hardware.simulate import in_lava
from snn_codec.loading import load

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recording", type=Path, default=RECORDING)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--models", nargs="+", help="shipped models or folders (default: all shipped)")
    parser.add_argument("--lava-python", metavar="PROGRAM", help="the Python 3.10 that has Lava")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    models = options.models or checkpoints.names()
    try:
        rate = audio.info(options.recording).sample_rate
        sound, _ = audio.read(options.recording)
        sound = np.resize(audio.mixed(sound), round(options.seconds * rate))
        print(
            "| model | in Lava | Lava (s) | all (s) | x real time | cells as our integers |\n|---|---|---|---|---|---|"
        )
        for model in models:
            for part, measured in (("bottleneck", bottleneck), ("encoder", encoder)):
                try:
                    took, whole, same = measured(model, sound, rate, options.lava_python)
                except UserError as error:
                    if "no spiking neurons" not in str(error) and "not a matrix" not in str(error):
                        raise
                    continue
                speed = options.seconds / whole
                print(
                    f"| `{Path(model).name}` | {part} | {took:.1f} | {whole:.1f} | {speed:.1f} | {same} |",
                    flush=True,
                )
    except UserError as error:
        return fatal(error)
    return 0


def bottleneck(model: str, sound: np.ndarray, rate: int, python: str | None) -> tuple[float, float, str]:
    """Seconds of Lava, seconds of all, and the share of cells that are those of the integers."""
    began = time.perf_counter()
    codec = load(model)
    layer = fold(codec.bottleneck)
    integers = quantise(layer, full_scale(codec, layer))
    _, runs = encode_with_features(codec, [sound], rate)
    graded = [integers.graded(run) for run in runs]
    start = time.perf_counter()
    found = in_lava(integers, graded, python=python)
    end = time.perf_counter()
    return end - start, end - began, share(found, [integers.spikes(run) for run in graded])


def encoder(model: str, sound: np.ndarray, rate: int, python: str | None) -> tuple[float, float, str]:
    """As `bottleneck`, from audio on."""
    began = time.perf_counter()
    codec = load(model)
    integers = encoder_of(codec)
    events, normal = encode_with_audio(codec, [sound], rate)
    frames = integers.frames(normal, events.hop)
    start = time.perf_counter()
    found = in_lava(integers, [frames], python=python)
    end = time.perf_counter()
    return end - start, end - began, share(found, [integers.spikes(frames)])


def share(found: list[np.ndarray], expected: list[np.ndarray]) -> str:
    """How many cells, and events, are the same."""
    return agreement(np.concatenate(found, 1), np.concatenate(expected, 1)).words()


if __name__ == "__main__":
    raise SystemExit(main())
