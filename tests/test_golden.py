"""Files of every version are read for ever, and the same events give the same bytes everywhere."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from snn_codec.storage import h5, spk
from snn_codec.storage.entropy_model import EntropyModel

FOLDER = Path(__file__).parent / "golden"
MAKE = runpy.run_path(str(FOLDER / "make.py"))
MADE = MAKE["bitstreams"]()
MODELS = {
    version: EntropyModel.load(FOLDER / file)
    for version, file in (
        ("v1", "v1_context.safetensors"),
        ("v2", "v1_context.safetensors"),
        ("v3", "v3_context.safetensors"),
        ("v4", "v3_context.safetensors"),
    )
}
CONTENT = {"v1": "recording", "v2": "prompted", "v3": "measured", "v4": "floored"}


@pytest.mark.parametrize("name", sorted(MADE))
def test_bitstreams_are_made_byte_for_byte_and_read(name):
    assert MADE[name] == (FOLDER / name).read_bytes()
    events = spk.read(FOLDER / name, entropy_model=MODELS[name[:2]])
    expected = MAKE[CONTENT[name[:2]]]()
    np.testing.assert_array_equal(events.events, expected.events[:, : events.n_steps])
    if name in ("v1.spk", "v1_context.spk", "v2.spk", "v3.spk", "v4.spk", "v4_without.spk"):
        assert events == expected
    else:
        assert spk.breakdown(FOLDER / name)["chunks"] == {name[3:-4]: 3}


def test_a_thermometers_chunks_are_coded_by_its_model():
    chunks = spk.breakdown(FOLDER / "v3.spk")["chunks"]
    assert chunks == {"thermometer": 3} == spk.breakdown(FOLDER / "v4.spk")["chunks"]
    assert MODELS["v3"].fingerprint == MAKE["thermometer_model"]().fingerprint == "c6c1e948"


def test_every_file_of_the_folder_is_tested():
    assert {path.name for path in FOLDER.glob("*.spk")} == set(MADE)


def test_entropy_models_are_read():
    assert MODELS["v1"].fingerprint == MAKE["entropy_model"]().fingerprint == "1e945c7d"


@pytest.mark.parametrize("name", ["v1.h5", "v1_compressed.h5", "v2.h5", "v3.h5"])
def test_spike_trains_are_read(name):
    with h5.SpikeTrains(FOLDER / name) as trains:
        assert list(trains) == ["one", "zwei ä"]
        assert trains["one"] == MAKE[{"v2": "prompted", "v3": "floored"}.get(name[:2], "recording")]()
        second = trains["zwei ä"]
    np.testing.assert_array_equal(second.events, MAKE["recording"]().events[:3, :60])
    assert (second.sample_rate, second.hop, second.n_samples, second.chunk_steps) == (44100, 441, 26460, 7)
    assert (
        second.fingerprint == ""
        and not len(second.loudness)
        and not len(second.levels)
        and not len(second.floor)
    )
