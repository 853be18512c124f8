"""A network downstream of the codec: 88 leaky neurons in Lava that read piano keys from a spike stream.

snn-codec encode data/recording/bach-bwv846.flac -o bach.h5
snn-codec export spikes bach.h5 --to lava -o bach.npz
python experiments/lava_keys.py bach.npz data/recording/bach-bwv846.mid

The weights are a ridge regression from leaky traces of the events to the keys that sound, on the first half of
the recording; the second half is for the score. Lava, a torch twin (snntorch) and the integer reference run all of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import snntorch
import torch

from snn_codec import midi
from snn_codec.cli import fatal
from snn_codec.errors import UserError
from snn_codec.hardware.layer import Layer
from snn_codec.hardware.quantise import quantise
from snn_codec.hardware.simulate import in_lava

BETA, THRESHOLD = 0.5, 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stream", type=Path, help="file of snn-codec export spikes --to lava")
    parser.add_argument("midi", type=Path, help="the notes of the same recording")
    parser.add_argument("--lava-python", metavar="PROGRAM")
    options = parser.parse_args()
    try:
        with np.load(options.stream) as file:
            events, step = file["data"], float(file["hop"] / file["sample_rate"])
        keys = sounding(midi.read(options.midi), events.shape[1], step)
        run(events, keys, options.lava_python)
    except UserError as error:
        return fatal(error)
    except (OSError, KeyError, ValueError) as error:
        return fatal(UserError(f"{options.stream}: is not a spike stream for Lava ({error})"))
    return 0


def sounding(notes: midi.Notes, steps: int, step: float) -> np.ndarray:
    """Which of the 88 keys is down in each step, bool `[88, steps]`."""
    keys = np.zeros((88, steps), bool)
    for onset, offset, pitch in zip(notes.onset, notes.offset, notes.pitch, strict=True):
        keys[pitch - 21, int(onset / step) : int(np.ceil(offset / step))] = True
    return keys


def fit(events: np.ndarray, keys: np.ndarray) -> Layer:
    """Leaky neurons whose membrane, if nothing resets it, is the regression's estimate of `keys`."""
    trace = np.zeros(events.shape)
    for t in range(events.shape[1]):
        trace[:, t] = BETA * trace[:, max(0, t - 1)] * (t > 0) + events[:, t]
    inputs = np.concatenate([trace, np.full((1, trace.shape[1]), 1 / (1 - BETA))])
    weight = np.linalg.solve(inputs @ inputs.T + 10 * np.eye(len(inputs)), inputs @ keys.T).T
    return Layer(weight[:, :-1], weight[:, -1], np.zeros((88, 88)), 1, BETA, "zero", THRESHOLD)


def twin(layer: Layer, events: np.ndarray) -> np.ndarray:
    """The same neurons in torch: spikes, bool `[88, steps]`."""
    neuron = snntorch.Leaky(beta=layer.beta, threshold=layer.threshold, reset_mechanism=layer.reset)
    current = torch.from_numpy(layer.weight @ events + layer.bias[:, None])
    membrane, spikes = torch.zeros(88, dtype=torch.float64), []
    for t in range(current.shape[1]):
        spike, membrane = neuron(current[:, t], membrane)
        spikes.append(spike > 0)
    return torch.stack(spikes, 1).numpy()


def run(events: np.ndarray, keys: np.ndarray, python: str | None) -> None:
    half = events.shape[1] // 2
    layer = fit(events[:, :half], keys[:, :half])
    integers = quantise(layer, 1.0, input_bits=2)
    (lava,), expected = in_lava(layer, [events], python=python), twin(layer, events)
    (fixed,) = in_lava(integers, [events], python=python)
    print(f"{events.shape[1]} steps, {int(events.sum())} events in, {int(lava.sum())} spikes out")
    print(
        f"lava floating_pt = torch twin:        {100 * np.mean(lava == expected):.4f} % of {lava.size} cells"
    )
    print(f"lava fixed_pt = integer reference:    {100 * np.mean(fixed == integers.spikes(events)):.4f} %")
    print(f"lava fixed_pt = lava floating_pt:     {100 * np.mean(fixed == lava):.4f} %")
    hits, chance = on_keys(lava[:, half:] > 0, keys[:, half:])
    print(f"second half: {100 * hits:.1f} % of spikes are on a key that is down "
          f"({100 * chance:.1f} % if they came at any time)")  # fmt: skip


def on_keys(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """The share of spikes on a key that is down, bool `[88, steps]` each; and by chance: at any time, on the same keys.

    Without regard to keys, chance would be far less, as a piece plays few of the 88, which any readout finds.
    """
    spikes = max(int(found.sum()), 1)
    return float((found & true).sum()) / spikes, float(found.sum(1) @ true.mean(1)) / spikes


if __name__ == "__main__":
    raise SystemExit(main())
