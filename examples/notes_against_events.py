"""Find the units that fire when a key is struck: by the cross-correlation of events and note onsets (Eq. 9), tested.

python examples/notes_against_events.py [MODEL]

Where units have frequencies, as those of wide, all of a semitone are taken together.
"""

import sys
from pathlib import Path

import numpy as np

from snn_codec import Codec, read_audio
from snn_codec.analysis import notes, rows
from snn_codec.analysis.study import study

data = Path(__file__).parent.parent / "data" / "recording"
model = sys.argv[1] if len(sys.argv) > 1 else "sparse"
codec = Codec.load(model)

events = codec.encode(*read_audio(data / "bach-bwv846.flac"))
score = notes.read(data / "bach-bwv846.mid")
grouped = rows.rows_of(codec.settings.unit_hertz(), events.n_units)
found = study([("bach", events, score)], model, rows=grouped)

steps = found.times.on(events.step_rate)
near, far = (1000 * each / events.step_rate for each in (steps.half_width, steps.lags))
print(f"{model}: {events.n_events} events, {score.on(events).onsets().sum()} onsets")
print(
    f"of events within {far:.0f} ms of a key's onsets, the share within {near:.0f} ms; {found.chance:.3f} is chance"
)

# The largest shares are those of units that fire a handful of times, once of them at a note. So sort by how unlikely
# a share is: z-scores against onsets moved at random within their second, of keys with 20 onsets or more.
z, sure = found.jitter.z(), found.jitter.selective()
for place in np.argsort(np.nan_to_num(z), axis=None)[::-1][:5]:
    row, key = np.unravel_index(place, z.shape)
    print(
        f"  {grouped.name(row)} and {notes.name(key)}: {found.prominence[row, key]:.3f}, z {z[row, key]:.1f}"
        f"{', selective' if sure[row, key] else ''}"
    )
print(f"{sure.sum()} of {found.jitter.tested.sum()} pairs are selective, at a false-discovery rate of 5 %")
