"""Run the bottleneck, exported to NIR, in snntorch and norse, and decode the spikes: they are the encoder's own.

    python examples/nir_in_other_simulators.py [FOLDER TO WRITE TO]

Needs the extras nir and norse: pip install -e ".[nir,norse]"
"""

import subprocess
import sys
from pathlib import Path

import nir
import norse.torch
import numpy as np
import torch
from snntorch.import_nir import import_from_nir

from snn_codec import Codec, read_audio

recording = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
folder.mkdir(parents=True, exist_ok=True)

# The graph of free-plain, Affine and LIF, and beside it the features of a recording as NIRData.
export = [
    "export",
    "nir",
    str(recording),
    "--model",
    "free-plain",
    "-o",
    str(folder / "plain.nir"),
    "--force",
]
subprocess.run([sys.executable, "-m", "snn_codec", *export], check=True)

# From here on, nothing of this package: any reader of NIR would do.
graph = nir.read(str(folder / "plain.nir"))
data = nir.read_data(str(folder / "plain.nirdata")).nodes["input"].observables["features"].data
features = torch.as_tensor(np.asarray(data))[0]  # [steps, width]
spikes = {}
for name, network in {
    "snntorch": import_from_nir(graph),
    "norse": norse.torch.from_nir(graph, dt=1e-4),
}.items():
    state, rows = None, []
    with torch.no_grad():
        for row in features:
            out, state = network(row[None], state)
            rows.append(out[0] > 0)
    spikes[name] = torch.stack(rows).T.numpy()  # bool [units, steps]

# Back: the spikes are the encoder's, and decode.
codec = Codec.load("free-plain")
events = codec.encode(*read_audio(recording))
for name, found in spikes.items():
    print(f"{name}: {100 * np.mean(found == events.events):.3f} % of {found.size} cells as in torch")
sound = codec.decode(events.replace(events=spikes["norse"]))
print(f"{len(sound) / 22050:.1f} s of sound, decoded from norse's spikes")
