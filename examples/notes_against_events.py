"""Find the units that fire when a key is struck, by the cross-correlation of events and note onsets (Eq. 9).

python examples/notes_against_events.py [MODEL]

Where units have frequencies, as those of wide, all of a semitone are taken together.
"""

import sys
from pathlib import Path

import numpy as np

from snn_codec import Codec, read_audio
from snn_codec.analysis import correlation, notes, rows, times

data = Path(__file__).parent.parent / "data" / "recording"
model = sys.argv[1] if len(sys.argv) > 1 else "sparse"
codec = Codec.load(model)

events = codec.encode(*read_audio(data / "bach-bwv846.flac"))
played = notes.read(data / "bach-bwv846.mid").on(events).onsets()  # bool [88 keys, steps]

grouped = rows.rows_of(codec.settings.unit_hertz(), events.n_units)
steps = times.Times(half_width_ms=150, lags_ms=2972).on(events.step_rate)  # the paper's, on this model's grid
pairs = correlation.Correlation(grouped.number, lags=steps.lags)
pairs.add(grouped.merged(events).events, played)
counts = pairs.counts()  # [rows, keys, lags]: how often a key is struck so many steps after a row fires

enough = played.sum(1) >= 5  # a key that is struck once or twice says little
prominence = np.where(enough, correlation.prominence(counts, steps.half_width), np.nan)
best = np.argsort(np.nan_to_num(prominence), axis=None)[::-1][:5]
print(f"{model}: {events.n_events} events, {played.sum()} onsets")
near, far = (1000 * found / events.step_rate for found in (steps.half_width, steps.lags))
chance = correlation.chance(steps.half_width, steps.lags)
print(
    f"of events within {far:.0f} ms of a key's onsets, the share within {near:.0f} ms; {chance:.3f} is chance"
)
for row, key in zip(*np.unravel_index(best, prominence.shape), strict=True):
    print(
        f"  {grouped.name(row)} and {notes.name(key)}: {prominence[row, key]:.3f} ({played[key].sum()} onsets)"
    )
