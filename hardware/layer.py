"""The encoder's bottleneck as one layer of spiking neurons: weights, bias, lateral weights, leak and reset.

Batch norm is folded into the weights. With spikes z in {0, 1} in place of the signs s = 2 z - 1 of
`snn_codec.models.spiking`, the lateral term of the residual form splits into a weight and a bias:

    u = g (L x - (L D) s) + c = (g L) x - 2 g (L D) z + c + g sum(L D)

so that one layer says all: `u = weight x + lateral z + bias`, where `lateral` joins a group's units to those
of the later groups. A group needs the spikes of the groups before it, of the same step of sound. Hardware
has no such thing as "before, in the same step": group k runs k time steps late, by delays k of its input and
k - 1 - j of what it gets from group j (which takes one time step besides).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.models.spiking import SpikingBottleneck


@dataclass(frozen=True, eq=False)
class Layer:
    """N neurons with `v = beta v + weight x + lateral z + bias - reset`, which spike where v > threshold.

    Attributes:
        weight: float64 `[N, width]`.
        bias: float64 `[N]`.
        lateral: float64 `[N, N]`, from the spikes of earlier groups: zero on and right of the diagonal blocks.
        groups: G; a group is N / G units.
        beta: Share of v kept per step; 0 for the codec's stateless neuron.
        reset: After a spike, "zero" sets v to 0, "subtract" takes the threshold off v at the next step.
        threshold: Of the membrane.
    """

    weight: np.ndarray
    bias: np.ndarray
    lateral: np.ndarray
    groups: int = 1
    beta: float = 0.0
    reset: str = "none"
    threshold: float = 0.0

    def spikes(self, features: np.ndarray) -> np.ndarray:
        """Features `[width, steps]` -> spikes, bool `[N, steps]`, from a membrane at rest, in float64."""
        drive = self.weight @ features + self.bias[:, None]

        def fire(current: np.ndarray) -> np.ndarray:
            if self.beta == 0:
                return current > self.threshold
            spikes, v = np.zeros(current.shape, bool), np.zeros(len(current))
            for t in range(current.shape[1]):
                fired = v > self.threshold
                v = self.beta * (np.where(fired, 0, v) if self.reset == "zero" else v) + current[:, t]
                v -= self.threshold * fired if self.reset == "subtract" else 0
                spikes[:, t] = v > self.threshold
            return spikes

        return by_group(drive, self.lateral, self.groups, fire)


def group_of(units: int, groups: int) -> np.ndarray:
    """The group of every unit, `[units]`."""
    return np.arange(units) // (units // groups)


def delays(units: int, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Time steps by which the input of each unit `[N]`, and each lateral weight `[N, N]`, is delayed."""
    group = group_of(units, groups)
    return group, np.maximum(group[:, None] - 1 - group, 0)


def by_group(
    drive: np.ndarray, lateral: np.ndarray, groups: int, fire: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Spikes, bool `[N, steps]`, of all groups in turn: `fire` gets a group's current, `[N / G, steps]`."""
    spikes = np.zeros(drive.shape, bool)
    for group in np.split(np.arange(len(drive)), groups):
        before = slice(0, group[0])
        spikes[group] = fire(drive[group] + lateral[group, before] @ spikes[before].astype(drive.dtype))
    return spikes


def fold(bottleneck: nn.Module) -> Layer:
    """The trained bottleneck as one layer; the threshold of a stateless neuron goes into the bias.

    Raises:
        UserError: The bottleneck has no neurons.
    """
    if not isinstance(bottleneck, SpikingBottleneck):
        raise UserError(
            "this model's bottleneck has no spiking neurons, so there is nothing to put on hardware"
        )
    neuron, norms = bottleneck.neuron, bottleneck.norms

    def joined(name: str) -> np.ndarray:
        return _float64(torch.cat([getattr(norm, name) for norm in norms]))

    gain = joined("weight") / np.sqrt(joined("running_var") + norms[0].eps)
    group = group_of(len(gain), len(norms))
    earlier = group[None] < group[:, None]
    signed = (
        gain[:, None] * (_float64(bottleneck.encode_weight) @ _float64(bottleneck.decode_weight)) * earlier
    )
    bias = joined("bias") - gain * joined("running_mean") + signed.sum(1)
    threshold, stateless = float(neuron.threshold), bottleneck.stateless
    return Layer(
        weight=gain[:, None] * _float64(bottleneck.encode_weight),
        bias=bias - threshold if stateless else bias,
        lateral=-2 * signed,
        groups=len(norms),
        beta=float(neuron.beta),
        reset="none" if stateless else neuron.reset_mechanism,
        threshold=0.0 if stateless else threshold,
    )


def encode_with_features(
    codec: Codec,
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    progress: Callable[[float], None] = lambda seconds: None,
) -> tuple[EventMatrix, list[np.ndarray]]:
    """A recording's events, and the features they were made of: float32 `[width, steps]` of each run of neurons.

    A stateless neuron runs once through the recording; another starts from rest in every window of the
    codec's grid, so each window is one run, its borrowed context included (`kept_steps` says which to keep).
    """
    outputs: list[np.ndarray] = []
    hook = codec.before.register_forward_hook(
        lambda module, arguments, features: outputs.append(features[0].float().cpu().numpy().T.copy())
    )
    try:
        events = codec.encode_blocks(blocks, sample_rate, progress=progress)
    finally:
        hook.remove()
    if codec.bottleneck.stateless:
        kept = kept_steps(codec, events)
        return events, [np.concatenate([x[:, keep] for x, keep in zip(outputs, kept, strict=True)], 1)]
    return events, outputs


def kept_steps(codec: Codec, events: EventMatrix) -> list[slice]:
    """Which steps of each window of the codec's grid are its own; the others are context."""
    steps = events.chunk_steps
    starts = range(0, events.n_steps, steps)
    context = codec.settings.margin_steps
    return [
        slice(min(start, context), min(start, context) + min(steps, events.n_steps - start))
        for start in starts
    ]


def calibrated_peak(codec: Codec) -> float:
    """Twice the largest feature of a fixed test sound: the full scale of graded input, one per model.

    Raises:
        UserError: As `Codec.encode`.
    """
    rate = codec.settings.sample_rate
    random = np.random.default_rng(0)
    time = np.arange(6 * rate) / rate
    sound = 0.02 * random.standard_normal(len(time))
    for onset in range(24):
        since = time - onset / 4
        pitch = 27.5 * 2 ** (random.integers(0, 88) / 12)
        for harmonic in range(1, 9):
            note = np.sin(2 * np.pi * pitch * harmonic * since) * np.exp(-3 * np.abs(since)) / harmonic
            sound += np.where((since >= 0) & (pitch * harmonic < rate / 2), 0.2 * note, 0)
    _, features = encode_with_features(codec, [sound.astype(np.float32)], rate)
    return 2 * float(max(np.abs(x).max() for x in features))


def _float64(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float64)
