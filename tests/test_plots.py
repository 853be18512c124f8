import struct
import subprocess
import sys

import numpy as np
import pytest
from conftest import tones

from snn_codec import midi, plots
from snn_codec.errors import UserError


def test_the_overview_is_drawn(codec, tmp_path):
    pytest.importorskip("matplotlib")
    sound = tones(3.0)
    events = codec.encode(sound, 22050)
    notes = midi.Notes(*(np.array(x) for x in ([0.1, 1.0], [0.9, 2.0], [60, 64], [80, 80])))
    path = tmp_path / "a.png"
    for given, height in ((None, 4.5), (notes, 5.5)):
        plots.overview(path, sound, codec.decode(events), events, given, force=True, title="a")
        width, drawn = struct.unpack(">II", path.read_bytes()[16:24])
        assert width == 1500 and drawn == pytest.approx(1.75 * height * 150, abs=2)
    with pytest.raises(UserError, match="exists already"):
        plots.overview(path, sound, sound, events)


def test_importing_the_package_needs_no_extra():
    """Plotting, MIDI and simulators are for those who ask for them."""
    code = (
        "import sys\n"
        "for name in ('matplotlib', 'pretty_midi', 'lava', 'norse', 'nir'): sys.modules[name] = None\n"
        "import snn_codec.codec, snn_codec.cli, snn_codec.training.loop, snn_codec.plots, snn_codec.midi\n"
        "from snn_codec.errors import UserError\n"
        "try: snn_codec.plots.pyplot()\n"
        "except UserError as error: print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install" in found.stdout
