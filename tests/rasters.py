"""Event matrices that the storage tests share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies

from snn_codec.events import EventMatrix, steps_for
from snn_codec.storage.entropy_model import EntropyNetwork


def raster(units: int, steps: int, density: float, seed: int = 0) -> np.ndarray:
    """Independent events: bool `[units, steps]`."""
    return np.random.default_rng(seed).random((units, steps)) < density


def bursty(units: int, steps: int, seed: int = 0, rate: float = -2.5) -> np.ndarray:
    """Events that a model can learn: bursts of all units, refractory steps, unequal rates."""
    random = np.random.default_rng(seed)
    own = random.normal(rate, 0.8, units)
    events, drive = np.zeros((units, steps), bool), 0.0
    for step in range(steps):
        drive = 0.9 * drive + random.normal(0, 0.5)
        refractory = events[:, step - 1] if step else 0
        events[:, step] = random.random(units) < 1 / (1 + np.exp(6 * refractory - own - 1.2 * drive))
    return events


def matrix(events: np.ndarray, *, loudness: bool = True, chunk_steps: int = 256, **fields) -> EventMatrix:
    """A recording of these events, whose last step is not full."""
    hop = fields.pop("hop", 512)
    n_chunks = steps_for(events.shape[1], chunk_steps)
    codes = np.arange(n_chunks, dtype=np.uint8) if loudness else np.zeros(0, np.uint8)
    settings = {"sample_rate": 22050, "n_samples": events.shape[1] * hop - hop // 2} | fields
    settings = {"fingerprint": "0123456789abcdef"} | settings
    if settings.get("levels") is True:
        settings["levels"] = (255 - 3 * np.arange(n_chunks)).astype(np.uint8)
    return EventMatrix(events, hop=hop, loudness=codes, chunk_steps=chunk_steps, **settings)


@strategies.composite
def rasters(draw, max_units: int = 40, max_steps: int = 80) -> np.ndarray:
    """Any bool matrix, with all densities from 0 to 1, the two included."""
    units = draw(strategies.integers(1, max_units))
    steps = draw(strategies.integers(1, max_steps))
    density = draw(strategies.sampled_from([0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.9, 1.0]))
    return raster(units, steps, density, draw(strategies.integers(0, 2**16)))


def entropy_model(
    units: int, history: int = 2, layers: tuple[int, ...] = (6, 5), seed=0, scale=60
) -> EntropyNetwork:
    """An entropy model with random weights, in units of 1 / 256."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, scale, shape).astype(np.int16)

    widths = [history * units, *layers]
    shapes = zip(layers, widths[:-1], strict=True)
    hidden = [(weights(*shape), weights(shape[0]).astype(np.int32)) for shape in shapes]
    output = weights(units, sum(widths)), weights(units).astype(np.int32)
    return EntropyNetwork(history, tuple(hidden), output, np.tril(weights(units, units), -1))


def chain(units: int) -> EntropyNetwork:
    """An entropy model that expects every unit to do what the unit before it did."""
    output = np.zeros((units, units), np.int16), np.full(units, -4 * 256, np.int32)
    output[1][0] = 0
    return EntropyNetwork(1, (), output, (8 * 256 * np.eye(units, k=-1)).astype(np.int16))
