"""Read spike trains: with this package, and with nothing but h5py, as the file is SONATA's layout.

python examples/read_spikes.py [FOLDER TO WRITE TO]
"""

import sys
from pathlib import Path

import h5py
import numpy as np

from snn_codec import Codec, EventMatrix, SpikeTrains, read_audio, write_events

recording = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
folder.mkdir(parents=True, exist_ok=True)

codec, (sound, rate) = Codec.load("sparse"), read_audio(recording, stop=10 * 22050)
first, second = (codec.encode(part, rate) for part in np.array_split(sound, 2))
write_events(folder / "bach.h5", {"first half": first, "second half": second}, force=True)

# With this package: a mapping, read lazily, a window at a time if need be.
with SpikeTrains(folder / "bach.h5") as trains:
    for name in trains:
        print(f"{name}: {trains[name]}")
    window = trains.window("first half", 100, 200)  # bool [units, 100 steps]
    print(f"steps 100 to 200 of the first half: {window.sum()} events")

# As lists: step and unit of every event. Without loudness they are no sound, but they can be analysed.
steps, units = first.indices()
print(f"the first events: {list(zip(steps[:3].tolist(), units[:3].tolist(), strict=True))}")
assert EventMatrix.from_indices(steps, units, first.n_units, **first.metadata) == first

# As tokens for a language model: 0 to 79 are units, 80 and above move on in time.
tokens = first.to_tokens()
print(f"{len(tokens)} tokens, the first are {tokens[:8].tolist()}")
assert EventMatrix.from_tokens(tokens, first.n_units, **first.metadata) == first

# With h5py alone: milliseconds and units of all recordings, one after the other.
with h5py.File(folder / "bach.h5") as file:
    spikes = file["spikes/units"]
    times, nodes = spikes["timestamps"][:], spikes["node_ids"][:]
    start = file["recordings/start_ms"][1]
print(f"{np.count_nonzero(times < start)} + {np.count_nonzero(times >= start)} events by h5py")
assert np.array_equal(nodes[times < start], units)
