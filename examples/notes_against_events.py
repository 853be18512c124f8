"""Find the units that fire when a key is struck, by the cross-correlation of events and note onsets (Eq. 9).

python examples/notes_against_events.py [MODEL]
"""

import sys
from pathlib import Path

import numpy as np

from snn_codec import Codec, read_audio
from snn_codec.analysis import correlation, notes

data = Path(__file__).parent.parent / "data" / "recording"
model = sys.argv[1] if len(sys.argv) > 1 else "sparse"
codec = Codec.load(model)

events = codec.encode(*read_audio(data / "bach-bwv846.flac"))
played = notes.read(data / "bach-bwv846.mid").on(events).onsets()  # bool [88 keys, steps]

pairs = correlation.Correlation(events.n_units)
pairs.add(events.events, played)
counts = pairs.counts()  # [units, keys, lags]: how often a key is struck so many steps after a unit fires

enough = played.sum(1) >= 5  # a key that is struck once or twice says little
prominence = np.where(enough, correlation.prominence(counts), np.nan)
best = np.argsort(np.nan_to_num(prominence), axis=None)[::-1][:5]
print(f"{model}: {events.n_events} events, {played.sum()} onsets")
print(
    f"of a unit's events within {correlation.LAGS} steps of a key's onsets, the share within {correlation.HALF_WIDTH}; "
    f"{correlation.chance():.3f} is chance"
)
for unit, key in zip(*np.unravel_index(best, prominence.shape), strict=True):
    print(
        f"  unit {unit:2} and {notes.name(key):3}: {prominence[unit, key]:.3f} ({played[key].sum()} onsets)"
    )
