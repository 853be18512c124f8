"""Augmentation of training crops: equaliser, reverberation, noise, polarity and loudness.

Without it a model would know one sampled piano in one room. (Tuning is varied where crops are read.) All filters
are applied in one FFT.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from snn_codec import settings as config

KNOTS_HZ = np.array([30.0, 90.0, 250.0, 700.0, 2000.0, 5500.0, 11000.0])


def augment(
    sound: np.ndarray,
    sample_rate: int,
    settings: config.Augmentation,
    random: np.random.Generator,
    *,
    inner: slice = slice(None),
    hop: int = 512,
) -> np.ndarray:
    """Return a varied, normalised copy of a crop, float32 `[samples]`.

    The equaliser, the room and the noise are on with `settings.probability`. The loudest step of the result has an RMS
    of 1, less an attenuation of 0 to `attenuation_db` (mostly little): quiet passages in a chunk whose level a loud one
    sets.

    Args:
        sound: `[samples]`, the crop and what is beside it. A filter would turn a cut into a click.
        sample_rate: In Hz.
        settings: How strong each effect is.
        random: Decides on the effects.
        inner: Which samples are the crop.
        hop: Samples a step.
    """
    size = fft.next_fast_len(len(sound) + sample_rate // 2, real=True)
    spectrum = None
    if random.random() < settings.probability:
        curve = equaliser(size, sample_rate, settings.equaliser_db, settings.tilt_db, random)
        spectrum = fft.rfft(sound, size) * curve
    if random.random() < settings.probability and settings.reverb:
        response = room_response(sample_rate, settings.reverb, random)
        spectrum = (fft.rfft(sound, size) if spectrum is None else spectrum) * fft.rfft(response, size)
    if spectrum is not None:
        sound = fft.irfft(spectrum, size)[: len(sound)]
    crop = sound[inner]
    crop = crop / max(loudest_step(crop, hop), 1e-6)
    if random.random() < settings.probability and settings.noise_db:
        amplitude = 10 ** ((settings.noise_db + random.uniform(-20, 0)) / 20)
        crop = crop + amplitude * random.standard_normal(len(crop))
    gain = 10 ** (-settings.attenuation_db * random.random() ** 2 / 20) * random.choice((-1, 1))
    return (crop * gain).astype(np.float32)


def loudest_step(crop: np.ndarray, hop: int = 512) -> float:
    """RMS of the loudest step of `hop` samples (`snn_codec.loudness` measures the same)."""
    steps = crop[: len(crop) // hop * hop].reshape(-1, hop) if len(crop) >= hop else crop[None]
    return float(np.sqrt(np.max(np.square(steps).mean(1))))


def equaliser(
    size: int, sample_rate: int, range_db: float, tilt_db: float, random: np.random.Generator
) -> np.ndarray:
    """Gain of each rfft bin: a tilt, and a random curve within +- `range_db` / 2 through knots over pitch.

    The tilt is -`tilt_db` / 2 to `tilt_db` per octave, 0 dB at 500 Hz. Pianos differ most in brightness, and
    bright ones are the hard ones: what they lack in the data, the tilt makes up for.
    """
    frequencies = np.maximum(fft.rfftfreq(size, 1 / sample_rate), KNOTS_HZ[0])
    knots = random.uniform(-range_db / 2, range_db / 2, len(KNOTS_HZ))
    tilt = random.uniform(-tilt_db / 2, tilt_db) * np.log2(frequencies / 500)
    return 10 ** ((tilt + np.interp(np.log(frequencies), np.log(KNOTS_HZ), knots)) / 20)


def room_response(sample_rate: int, amount: float, random: np.random.Generator) -> np.ndarray:
    """Impulse response of half a second: the direct sound and an exponentially decaying noise tail."""
    seconds = np.arange(sample_rate // 2) / sample_rate
    tail = random.standard_normal(len(seconds)) * 10 ** (-3 * seconds / random.uniform(0.15, 0.5))
    tail[: int(random.uniform(0.002, 0.02) * sample_rate)] = 0  # until the first reflection
    tail *= amount * random.random() / np.sqrt(np.square(tail).sum())
    tail[0] += 1
    return tail
