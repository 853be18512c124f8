"""elephant counts as we do."""

import numpy as np
import pytest
from rasters import raster

from snn_codec.analysis.correlation import Correlation
from snn_codec.analysis.synchrony import opinion
from snn_codec.errors import UserError

pytest.importorskip("elephant")


def test_counts_and_synchrony_agree():
    played = raster(1, 3000, 0.02, 0)
    after = np.zeros_like(played)
    after[:, 1:] = played[:, :-1]
    contrasts = []
    for events in (after, raster(1, 3000, 0.02, 1), raster(1, 3000, 0.5, 2)):
        sums = Correlation(1, 1, 40)
        sums.add(events, played)
        found = opinion(events[0], played[0], 40)
        np.testing.assert_array_equal(found.counts, sums.counts()[0, 0])
        contrasts.append(found.contrast)
    assert contrasts[0] > contrasts[1] + 0.1
    with pytest.raises(UserError, match="at least one event"):
        opinion(np.zeros(100, bool), played[0, :100], 10)
