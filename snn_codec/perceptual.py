"""Distances that model hearing: ViSQOL and Zimtohrli, as mean opinion scores from 1 (bad) to 5; extra `metrics`.

They take seconds a clip, so an evaluation measures them on request and on a part of the clips. Both want 48 kHz, and
both hear less of soft recordings. ViSQOL brings the decoded sound to the level of the original, but its floor is fixed,
so that its scores are higher the softer both are.

References: Chinen et al. 2020, "ViSQOL v3" (arXiv 2004.09584), in the port `visqol-python`, audio mode;
Zimtohrli, https://github.com/google/zimtohrli.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from snn_codec import audio
from snn_codec.errors import UserError

RATE = 48_000


def visqol(estimate: np.ndarray, target: np.ndarray, sample_rate: int, gain_db: float = 0.0) -> float:
    """ViSQOL's MOS-LQO in audio mode, of `[samples]`, both amplified by `gain_db`; NaN if one of both is silent.

    Raises:
        UserError: visqol-python, or what it needs for music, is not installed.
    """
    api = visqol_api()
    if not np.any(estimate) or not np.any(target):
        return float("nan")
    gain = 10 ** (gain_db / 20)
    reference, degraded = (gain * _at_48_khz(sound, sample_rate) for sound in (target, estimate))
    return float(api.measure_from_arrays(reference, degraded, RATE).moslqo)


def zimtohrli(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Zimtohrli's mean opinion score, of `[samples]`; NaN if one of both is silent.

    Raises:
        UserError: zimtohrli is not installed.
    """
    measure = zimtohrli_api()
    if not np.any(estimate) or not np.any(target):
        return float("nan")
    return float(
        measure(*(_at_48_khz(sound, sample_rate).astype(np.float32) for sound in (target, estimate)))
    )


@lru_cache
def visqol_api():  # noqa: ANN201
    """ViSQOL, ready to measure.

    Raises:
        UserError: visqol-python, or what it needs for music, is not installed.
    """
    try:
        from visqol import VisqolApi
    except ImportError as error:
        raise UserError('ViSQOL needs visqol-python: pip install "snn_codec[metrics]"') from error
    api = VisqolApi()
    try:
        api.create(mode="audio")
    except ImportError as error:  # of a package that it needs only for music
        raise UserError(
            f"ViSQOL lacks a package ({error}); install it with: pip install libsvm-official"
        ) from error
    return api


def zimtohrli_api():  # noqa: ANN201
    """Zimtohrli's function of two signals.

    Raises:
        UserError: zimtohrli is not installed.
    """
    try:
        from zimtohrli import mos_from_signals
    except ImportError as error:
        raise UserError('Zimtohrli needs its package: pip install "snn_codec[metrics]"') from error
    return mos_from_signals


def _at_48_khz(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    sound = np.asarray(sound, np.float32)
    return np.concatenate(list(audio.resampled([sound], sample_rate, RATE))).astype(np.float64)
