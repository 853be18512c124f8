"""From noise to a sample: the v-objective with DDIM, and flow matching with Euler steps; pure functions.

v-objective (Ho & Salimans 2022, and Salimans & Ho 2022, "Progressive distillation", appendix D), t from 1, noise, to 0:

    alpha = cos(pi t / 2), sigma = sin(pi t / 2)      x_t = alpha x + sigma e      v = alpha e - sigma x
    x = alpha x_t - sigma v                           e = sigma x_t + alpha v

DDIM goes to x_s = alpha_s x' + sigma_s e', where x' and e' are what the network's v says of x and e.

Flow matching (Lipman et al. 2023), t from 0, noise, to 1:

    x_t = (1 - t) e + t x      v = x - e
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from snn_codec.events import CHUNK_STEPS

Network = Callable[[Tensor, Tensor], Tensor]  # (x_t, t `[batch]`) -> v


def angles(time: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma."""
    return torch.cos(time * (math.pi / 2)), torch.sin(time * (math.pi / 2))


def diffused(x: Tensor, noise: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """x_t and v of the v-objective; `time` broadcasts to `x`."""
    alpha, sigma = angles(time)
    return alpha * x + sigma * noise, alpha * noise - sigma * x


def undone(x_t: Tensor, v: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """x and the noise that x_t and v are of."""
    alpha, sigma = angles(time)
    return alpha * x_t - sigma * v, sigma * x_t + alpha * v


def ddim(network: Network, noise: Tensor, steps: int) -> Tensor:
    """A sample from `noise` `[batch, ...]` by so many evaluations of a network that was trained on v."""
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    x = noise
    for now, then in zip(times[:-1], times[1:], strict=True):
        v = network(x, x.new_full((len(x),), float(now)))
        signal, remaining = undone(x, v, now.to(x))
        alpha, sigma = angles(then.to(x))
        x = alpha * signal + sigma * remaining
    return x


def flowing(x: Tensor, noise: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """x_t and v of flow matching; `time` broadcasts to `x`."""
    return (1 - time) * noise + time * x, x - noise


def euler(network: Network, noise: Tensor, steps: int) -> Tensor:
    """A sample from `noise` `[batch, ...]` by so many evaluations of a network that was trained on the flow's v."""
    x = noise
    for step in range(steps):
        x = x + network(x, x.new_full((len(x),), step / steps)) / steps
    return x


def guided(with_condition: Network, without: Network, scale: float) -> Network:
    """Classifier-free guidance (Ho & Salimans 2022): `scale` 1 is the conditional network, 0 the unconditional one."""
    if scale == 1:
        return with_condition

    def network(x: Tensor, time: Tensor) -> Tensor:
        free = without(x, time)
        return free + scale * (with_condition(x, time) - free)

    return network


def step_noise(seed: int, first: int, count: int, size: int) -> np.ndarray:
    """Normal noise of the steps [first, first + count) of a recording, float32 `[count, size]`.

    It is drawn chunk by chunk of the canonical grid, so that a step has the same noise in every window that holds it.
    """
    blocks = range(first // CHUNK_STEPS, (first + count - 1) // CHUNK_STEPS + 1)
    drawn = [
        np.random.default_rng([seed, b]).standard_normal((CHUNK_STEPS, size), np.float32) for b in blocks
    ]
    start = first - blocks[0] * CHUNK_STEPS
    return np.concatenate(drawn)[start : start + count]
