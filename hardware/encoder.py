"""An encoder that is a matrix, in Loihi's integers: from frames of 16-bit audio to graded features, and on to spikes.

A lapped transform, followed by one layer of spiking neurons, needs no other network: audio goes in, events come out.

    q = rint(x / peak 32767) = 256 h + l         audio as two messages of 8 bits
    a = sum of four synapses of 8 bits           (high and low weights) x (h and l), each rounded down
    feature = clip((a + offset) >> shift)        16 bits; every feature has a shift of its own

16-bit weights times 16-bit audio over thousands of taps would overflow the 32 bits in which a synapse adds up, so
both are split. `a` has 24 bits, and a feature's shift fits its 16 to how large it gets: coefficients of
high frequencies are small. `offset` rounds, and gives back what the four synapses lose by rounding down.
Loudness is set before: the host multiplies by the gain of `snn_codec.loudness`, which looks a chunk ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.hardware.features import full_scale
from snn_codec.hardware.fold import encoder_matrix, fold
from snn_codec.hardware.integers import IntegerLayer, Synapse
from snn_codec.hardware.layer import Layer
from snn_codec.hardware.matrices import nonzero_columns
from snn_codec.hardware.operations import operations
from snn_codec.hardware.quantise import quantise

FULL_SCALE = 2**15 - 1  # of audio and of features
WEIGHT = 2**14 - 1  # of both parts together
PEAK = 8.0  # of normalised audio, whose loudest step has an RMS of 1
LARGEST_A = 2**23 - 1


@dataclass(frozen=True, eq=False)
class IntegerTransform:
    """A matrix in integers; the names are those of the formulas above.

    Attributes:
        synapses: Of h with the high and low weights, and of l with the high and low weights; `[width, frame]` each.
        offset, shift: int `[width]`.
        scale: float `[width]`: a feature is its graded integer times this.
    """

    synapses: tuple[Synapse, Synapse, Synapse, Synapse]
    offset: np.ndarray
    shift: np.ndarray
    scale: np.ndarray

    def arriving(self, audio: np.ndarray) -> np.ndarray:
        """Frames of 16-bit audio `[frame, steps]` -> a, int64 `[width, steps]`."""
        high, low = split(audio)
        return sum(synapse(part) for synapse, part in zip(self.synapses, (high, high, low, low), strict=True))

    def graded(self, audio: np.ndarray) -> np.ndarray:
        """Frames of 16-bit audio `[frame, steps]` -> features in graded integers, int32 `[width, steps]`."""
        features = (self.arriving(audio) + self.offset[:, None]) >> self.shift[:, None]
        return np.clip(features, -FULL_SCALE, FULL_SCALE).astype(np.int32)


@dataclass(frozen=True, eq=False)
class IntegerEncoder:
    """Audio to events in integers: a transform, then neurons.

    Attributes:
        before: The frame of a step begins so many samples before the step.
        peak: The sample of normalised audio that becomes the largest integer.
    """

    transform: IntegerTransform
    neurons: IntegerLayer
    before: int = 0
    peak: float = PEAK

    def frames(self, audio: np.ndarray, hop: int) -> np.ndarray:
        """Normalised audio `[samples]` -> frames of 16-bit audio, `[frame, steps]`."""
        return frames(audio, self.transform.synapses[0].weight.shape[1], hop, self.before, self.peak)

    def spikes(self, audio: np.ndarray) -> np.ndarray:
        """Frames of 16-bit audio `[frame, steps]` -> spikes, bool `[N, steps]`."""
        return self.neurons.spikes(self.transform.graded(audio))


def encoder_of(codec: Codec, level: float | None = None, *, weight_bits: int = 8) -> IntegerEncoder:
    """The encoder of a codec in integers, from normalised audio to its events.

    Raises:
        UserError: The codec's encoder is no matrix, there is no such level, or as `integer_encoder`.
    """
    matrix, before = encoder_matrix(codec, level)
    layer = fold(codec.bottleneck)
    peaks = np.broadcast_to(full_scale(codec, layer), len(matrix))
    return integer_encoder(matrix, layer, peaks, weight_bits=weight_bits, before=before)


def integer_encoder(
    matrix: np.ndarray,
    layer: Layer,
    peaks: np.ndarray,
    *,
    weight_bits: int = 8,
    peak: float = PEAK,
    before: int = 0,
) -> IntegerEncoder:
    """An encoder in integers.

    Args:
        matrix: float `[width, frame]`: features = matrix @ samples.
        layer: The neurons behind it, stateless and of one group.
        peaks: How large each feature gets, `[width]`; what is beyond is clipped.
        weight_bits: Of the neurons' weights.
        peak, before: As in `frames`.

    Raises:
        UserError: The neurons are leaky or in groups, or a matrix or peak cannot be held in these integers.
    """
    if layer.groups > 1 or layer.beta > 0:
        raise UserError(
            "an encoder on hardware ends in stateless neurons of one group; simulate the bottleneck alone"
        )
    transform = _transform(peak * np.asarray(matrix, np.float64), np.asarray(peaks, np.float64))
    neurons = quantise(layer, transform.scale * FULL_SCALE, weight_bits=weight_bits)
    return IntegerEncoder(transform, neurons, before, peak)


def _transform(matrix: np.ndarray, peaks: np.ndarray) -> IntegerTransform:
    largest = np.abs(matrix).max(1)
    if not np.isfinite(matrix).all() or not (largest > 0).all() or not (peaks > 0).all():
        raise UserError(
            "a row of the transform, or the peak of a feature, is 0 or not finite; leave that feature out"
        )
    whole = np.rint(matrix / largest[:, None] * WEIGHT)
    high = np.clip(np.rint(whole / 128), -127, 127)
    low = whole - 128 * high
    worst = np.abs(whole).sum(1).max() * FULL_SCALE + 4
    drop = max(0, int(np.ceil(np.log2(worst / LARGEST_A))))
    # the part of 256 h counts 2^8, high weights count 2^7, and Loihi doubles all weights
    synapses = tuple(
        Synapse(weight.astype(np.int32), bits - 1 - drop)
        for bits, weight in ((15, high), (8, low), (7, high), (0, low))
    )
    for synapse in synapses:
        if synapse.reach(128) >= 2**31:
            raise UserError(
                f"a frame of {matrix.shape[1]} samples overflows the accumulator of a synapse; shorten it"
            )
    unit = largest * 2.0**drop / WEIGHT / FULL_SCALE  # what 1 of a stands for
    shift = np.clip(np.ceil(np.log2(peaks / unit / FULL_SCALE)), 0, 16).astype(np.int64)
    rounded_down = sum(synapse.exponent < 0 for synapse in synapses)
    offset = (2**shift >> 1) + rounded_down // 2
    return IntegerTransform(synapses, offset, shift, unit * 2.0**shift)


def split(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """16-bit integers q as (h, l) with q = 256 h + l, both int16, h in -128 to 128 and l in -128 to 127."""
    high = (audio.astype(np.int32) + 128) >> 8
    return high.astype(np.int16), (audio - 256 * high).astype(np.int16)


def frames(audio: np.ndarray, frame: int, hop: int, before: int, peak: float = PEAK) -> np.ndarray:
    """Normalised audio `[samples]` as frames of 16-bit integers `[frame, steps]`, one a hop.

    Step t holds the samples from t hop - `before` on; around the recording there is silence. What is beyond `peak`,
    the full scale, is clipped.
    """
    steps = -(-len(audio) // hop)
    padded = np.zeros(before + steps * hop + frame)
    padded[before : before + len(audio)] = audio
    whole = np.clip(np.rint(padded / peak * FULL_SCALE), -FULL_SCALE, FULL_SCALE).astype(np.int32)
    return np.lib.stride_tricks.sliding_window_view(whole, frame)[: steps * hop : hop].T


def encoder_operations(
    encoder: IntegerEncoder, audio: np.ndarray, seconds: float, decoder: np.ndarray | None = None
) -> dict[str, float]:
    """Per second of audio, as `snn_codec.hardware.operations`, and of the transform: `transform_macs`, those of its
    four synapses that are not 0, and `dense_transform_macs`, all of them."""
    high, low = split(audio)
    nonzero = [np.count_nonzero(part, 1) for part in (high, high, low, low)]
    macs = sum(
        float(nonzero_columns(synapse.weight) @ count)
        for synapse, count in zip(encoder.transform.synapses, nonzero, strict=True)
    )
    width, frame = encoder.transform.synapses[0].weight.shape
    graded = encoder.transform.graded(audio)
    counts = operations(encoder.neurons, graded, encoder.neurons.spikes(graded), seconds, decoder)
    return {
        "transform_macs": macs / seconds,
        "dense_transform_macs": len(nonzero) * width * frame * audio.shape[1] / seconds,
        **counts,
    }
