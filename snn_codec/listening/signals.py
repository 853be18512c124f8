"""Processing of stimuli: loudness, delay, anchors; float `[samples]` at 48 kHz.

References: ITU-R BS.1770-4 (loudness), ITU-R BS.1534-3 (anchors).
"""

from __future__ import annotations

import numpy as np
from scipy import signal

RATE = 48_000
FADE = 240  # 5 ms

# BS.1770-4, tables 1 and 2: a shelf for the head, then a high-pass; second-order sections at 48 kHz
_K_WEIGHTING = np.array(
    [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621],
    ]
)
_BLOCK, _HOP = RATE * 4 // 10, RATE // 10
_TAPS = 801  # of the low-pass: a transition of 500 Hz at 80 dB needs 480


def loudness(audio: np.ndarray) -> float:
    """Integrated loudness in LUFS of one channel (BS.1770-4, gated); -inf for silence or less than 0.4 s."""
    if len(audio) < _BLOCK:
        return -np.inf
    power = np.concatenate([[0.0], np.cumsum(np.square(signal.sosfilt(_K_WEIGHTING, audio)))])
    starts = np.arange(0, len(audio) - _BLOCK + 1, _HOP)
    blocks = np.maximum(power[starts + _BLOCK] - power[starts], 1e-30) / _BLOCK
    heard = blocks[_lufs(blocks) > -70]
    if not len(heard):
        return -np.inf
    return float(_lufs(heard[_lufs(heard) > _lufs(heard.mean()) - 10].mean()))


def _lufs(power: np.ndarray) -> np.ndarray:
    return -0.691 + 10 * np.log10(power)


def lag(audio: np.ndarray, reference: np.ndarray, limit: int = RATE // 4) -> int:
    """Samples by which `audio` is late: where it correlates most, with the right sign, within +-`limit`."""
    correlation = signal.correlate(audio, reference, method="fft")
    zero = len(reference) - 1  # index of lag 0
    first = max(0, zero - limit)
    return int(np.argmax(correlation[first : zero + limit + 1])) + first - zero


def shifted(audio: np.ndarray, late: int, length: int) -> np.ndarray:
    """`audio` without its first `late` samples (negative: with silence in front), cut or padded to `length`."""
    audio = audio[late:] if late > 0 else np.pad(audio, (-late, 0))
    return np.pad(audio[:length], (0, max(0, length - len(audio))))


def low_pass(audio: np.ndarray, corner: float) -> np.ndarray:
    """The anchor band-limited at `corner` Hz, without delay.

    BS.1534-3 asks of the 3.5 kHz anchor: +-0.1 dB below it, 25 dB less at 4 kHz, 50 dB less at 4.5 kHz.
    """
    taps = signal.firwin(_TAPS, corner + 250, window=("kaiser", 8.0), fs=RATE)
    return signal.fftconvolve(audio, taps, mode="same").astype(np.float32)


def degraded(audio: np.ndarray) -> np.ndarray:
    """The lowest anchor: every twelfth sample held (4 kHz, with all aliases), in 4 bits.

    Departs: the paper "distorted by hand" and gives no recipe; this one is as bad, and the same every time.
    """
    held = np.repeat(audio[::12], 12)[: len(audio)]
    step = max(np.abs(audio).max(), 1e-9) / 8
    return (np.round(held / step) * step).astype(np.float32)


def faded(audio: np.ndarray) -> np.ndarray:
    """`audio` with raised-cosine fades of 5 ms at both ends."""
    ramp = np.sin(np.pi / 2 * (np.arange(FADE) + 0.5) / FADE) ** 2
    audio = audio.copy()
    audio[:FADE] *= ramp
    audio[-FADE:] *= ramp[::-1]
    return audio
