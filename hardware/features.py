"""The features that the bottleneck gets from the encoder, for a recording, as the input of a simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from snn_codec.codec import Codec
from snn_codec.events import EventMatrix
from snn_codec.hardware.layer import Layer


def encode_with_features(
    codec: Codec,
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    progress: Callable[[float], None] = lambda seconds: None,
    *,
    level: float | None = None,
) -> tuple[EventMatrix, list[np.ndarray]]:
    """A recording's events, and the features they were made of: float32 `[width, steps]` of each run of neurons.

    A stateless neuron runs once through the recording; another starts from rest in every window of the
    codec's grid, so each window is one run, its margins included (`kept_steps` says which to keep).
    `level` is as in `Codec.encode`.
    """
    outputs: list[np.ndarray] = []
    hook = codec.before.register_forward_hook(
        lambda module, arguments, features: outputs.append(features[0].float().cpu().numpy().T.copy())
    )
    try:
        events = codec.encode_blocks(blocks, sample_rate, level=level, progress=progress)
    finally:
        hook.remove()
    if codec.bottleneck.stateless:
        kept = kept_steps(codec, events)
        return events, [np.concatenate([x[:, keep] for x, keep in zip(outputs, kept, strict=True)], 1)]
    return events, outputs


def encode_with_audio(
    codec: Codec,
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    progress: Callable[[float], None] = lambda seconds: None,
    *,
    level: float | None = None,
) -> tuple[EventMatrix, np.ndarray]:
    """A recording's events, and the normalised audio they were made of: float32 `[samples]`, whole steps."""
    windows: list[np.ndarray] = []
    hook = codec.encoder.register_forward_pre_hook(
        lambda module, arguments: windows.append(arguments[0][0].float().cpu().numpy().copy())
    )
    try:
        events = codec.encode_blocks(blocks, sample_rate, level=level, progress=progress)
    finally:
        hook.remove()
    kept = [slice(steps.start * events.hop, steps.stop * events.hop) for steps in kept_steps(codec, events)]
    return events, np.concatenate([audio[part] for audio, part in zip(windows, kept, strict=True)])


def kept_steps(codec: Codec, events: EventMatrix) -> list[slice]:
    """Which steps of each window of the codec's grid are its own; the others are its margins."""
    steps = events.chunk_steps
    starts = range(0, events.n_steps, steps)
    margin = codec.settings.margin_steps
    return [
        slice(min(start, margin), min(start, margin) + min(steps, events.n_steps - start)) for start in starts
    ]


def full_scale(codec: Codec, layer: Layer) -> float | np.ndarray:
    """The feature that becomes the largest graded integer: one for all, or one for each, `[width]`.

    Where every neuron has one input, as in a thermometer, it is just beyond the highest threshold of that input;
    otherwise that of `calibrated_peak`.
    """
    if isinstance(layer.weight, np.ndarray) or (np.diff(layer.weight.indptr) != 1).any():
        return calibrated_peak(codec)
    highest = np.zeros(layer.weight.shape[1])
    np.maximum.at(highest, layer.weight.indices, np.abs(layer.bias / layer.weight.data))
    return 1.01 * np.where(highest > 0, highest, highest.max())


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
        start = np.searchsorted(since, 0)
        since, pitch = since[start:], 27.5 * 2 ** (random.integers(0, 88) / 12)
        decay = np.exp(-3 * since)
        for harmonic in range(1, 9):
            if pitch * harmonic < rate / 2:
                sound[start:] += 0.2 * (np.sin(2 * np.pi * pitch * harmonic * since) * decay / harmonic)
    _, features = encode_with_features(codec, [sound.astype(np.float32)], rate)
    return 2 * float(max(np.abs(x).max() for x in features))
