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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from snn_codec.hardware.matrices import Weights


@dataclass(frozen=True, eq=False)
class Layer:
    """N neurons with `v = beta v + weight x + lateral z + bias - reset`, which spike where v > threshold.

    Attributes:
        weight: float64 `[N, width]`, dense or sparse.
        bias: float64 `[N]`.
        lateral: float64 `[N, N]`, from the spikes of earlier groups: zero on and right of the diagonal blocks; not
            used with one group.
        groups: G; a group is N / G units.
        beta: Share of v kept per step; 0 for the codec's stateless neuron.
        reset: After a spike, "zero" sets v to 0, "subtract" takes the threshold off v at the next step.
        threshold: Of the membrane.
    """

    weight: Weights
    bias: np.ndarray
    lateral: Weights
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
    """Time steps by which the input of each unit `[N]`, and each lateral weight `[N, N]`, is delayed.

    One group has no lateral weights: `[0, 0]`.
    """
    group = group_of(units, groups)
    if groups == 1:  # of thousands of units, whose matrix would take gigabytes
        return group, np.zeros((0, 0), np.int64)
    return group, np.maximum(group[:, None] - 1 - group, 0)


def by_group(
    drive: np.ndarray, lateral: Weights, groups: int, fire: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Spikes, bool `[N, steps]`, of all groups in turn: `fire` gets a group's current, `[N / G, steps]`."""
    if groups == 1:
        return fire(drive)
    spikes = np.zeros(drive.shape, bool)
    for group in np.split(np.arange(len(drive)), groups):
        before = slice(0, group[0])
        spikes[group] = fire(drive[group] + lateral[group, before] @ spikes[before].astype(drive.dtype))
    return spikes
