"""How exactly Lava runs the bottleneck, and how fast.

python experiments/hardware_benchmark.py --model free --recording piano.flac --seconds 60

Also takes --ground-truth FOLDER with in.npy, weight.npy and out.npy of tests/lava/lib/dl/netx/gts/dense in the
repository of lava-dl, whose network it runs by the integer reference.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from snn_codec import audio
from snn_codec.cli import fatal
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.hardware.features import calibrated_peak, encode_with_features
from snn_codec.hardware.fold import fold
from snn_codec.hardware.integers import IntegerLayer, Synapse
from snn_codec.hardware.layer import Layer
from snn_codec.hardware.quantise import quantise
from snn_codec.hardware.simulate import in_lava
from snn_codec.metrics import si_snr

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="free")
    parser.add_argument("--recording", type=Path, default=RECORDING)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--lava-python", metavar="PROGRAM")
    parser.add_argument("--ground-truth", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    try:
        run(options)
    except UserError as error:
        return fatal(error)
    return 0


def run(options: argparse.Namespace) -> None:
    began = time.perf_counter()
    codec = Codec.load(options.model)
    sound, rate = audio.read(options.recording)
    sound = audio.mixed(sound)[: round(options.seconds * rate)]
    sound = np.concatenate(list(audio.resampled([sound], rate, codec.settings.sample_rate)))
    events, runs = encode_with_features(codec, [sound], codec.settings.sample_rate)
    if not codec.bottleneck.stateless:
        raise UserError(
            f"{options.model}: this benchmark is for a stateless neuron; it adds leaky ones itself"
        )
    (features,), layer, peak = runs, fold(codec.bottleneck), calibrated_peak(codec)
    quality = si_snr(codec.decode(events), sound)
    print(f"{options.model}, {events.duration:.1f} s of {options.recording.name}, {events.n_cells} cells")

    def lava(of: Layer | IntegerLayer, x: np.ndarray) -> tuple[np.ndarray, float]:
        start = time.perf_counter()
        (spikes,) = in_lava(of, [x], python=options.lava_python)
        return spikes, time.perf_counter() - start

    for bits in (8, 15):
        integers = quantise(layer, peak, weight_bits=bits)
        graded = integers.graded(features)
        spikes, took = lava(integers, graded)
        change = si_snr(codec.decode(events.replace(events=spikes)), sound) - quality
        name = f"fixed_pt, {bits}-bit weights, 16-bit input"
        report(f"{name} = integer reference", spikes, integers.spikes(graded))
        report(f"{name} = torch float32", spikes, events.events, f"; SI-SNR {change:+.3f} dB")
        if bits == 8:
            total = time.perf_counter() - began
            print(
                f"start to end {total:.1f} s, {events.duration / total:.1f} x real time; Lava {took:.1f} s of it"
            )
    report("floating_pt = torch float32", lava(layer, features)[0], events.events)
    for reset in ("zero", "subtract"):
        leaky = replace(layer, beta=0.9, reset=reset, threshold=1.0)
        report(
            f"leaky, {reset} reset, floating_pt = reference", lava(leaky, features)[0], leaky.spikes(features)
        )
    if options.ground_truth:
        report("lava-dl's gts/dense by the integers", *ground_truth(options.ground_truth))


def ground_truth(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Our spikes and lava-dl's, of its test network: vth 6, du 4095, dv 415; its output is one step late."""
    try:
        weight, x, out = (np.load(folder / f"{name}.npy") for name in ("weight", "in", "out"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: holds no ground truth of lava-dl ({error})") from error
    synapse, none = Synapse(weight.astype(np.int32) // 2, 0), np.zeros(len(weight), int)
    layer = IntegerLayer((synapse,), (), none, none, decay=415, threshold=6, reset="zero", input_bits=2)
    spikes = layer.spikes(x.astype(np.int64))
    return np.pad(spikes, ((0, 0), (1, 0)))[:, :-1], out > 0


def report(what: str, one: np.ndarray, other: np.ndarray, more: str = "") -> None:
    differing = np.count_nonzero(one != other)
    print(f"{what:55} {100 - 100 * differing / one.size:9.4f} %  ({differing} of {one.size} differ{more})")


if __name__ == "__main__":
    raise SystemExit(main())
