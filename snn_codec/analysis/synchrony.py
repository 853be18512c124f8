"""The timing of one unit and one key by elephant (extra `analysis`), to check ours against."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from snn_codec.analysis import correlation
from snn_codec.errors import UserError


class Opinion(NamedTuple):
    """`counts` `[2 lags + 1]`: elephant's cross-correlation histogram in the order of Eq. 9's lags.

    `contrast`: SPIKE-contrast of the two trains (Ciba et al., 2018), 0 to 1 for synchronous.
    """

    counts: np.ndarray
    contrast: float


def opinion(fired: np.ndarray, played: np.ndarray, lags: int = correlation.LAGS) -> Opinion:
    """Measure the events of a unit and the onsets of a key, both bool `[T]`; only onsets in the interior count.

    A step is given to elephant as one millisecond, so that its bins are ours.

    Raises:
        UserError: elephant is not installed, or one of the two trains is empty.
    """
    try:
        import neo
        import quantities
        from elephant.conversion import BinnedSpikeTrain
        from elephant.spike_train_correlation import cross_correlation_histogram
        from elephant.spike_train_synchrony import spike_contrast
    except ImportError as error:
        raise UserError('a second opinion needs elephant: pip install "snn_codec[analysis]"') from error
    played = correlation.interior(played[None], lags)[0]
    if not fired.any() or not played.any():
        raise UserError("synchrony needs at least one event and one onset (in the interior of the recording)")
    trains = [
        neo.SpikeTrain(np.flatnonzero(each) + 0.5, units="ms", t_start=0, t_stop=len(each))
        for each in (fired, played)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own deprecations
        binned = [BinnedSpikeTrain(train, bin_size=1 * quantities.ms) for train in trains]
        histogram, _ = cross_correlation_histogram(*binned, window=[-lags, lags])
        contrast = spike_contrast(trains)
    return Opinion(np.rint(histogram.magnitude.ravel()).astype(np.int64), float(contrast))
