import struct
import subprocess
import sys

import numpy as np
import pytest
from conftest import tones

from snn_codec import midi, plots
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.settings import Model
from snn_codec.settings.wide import Mdct, Thermometer


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


def test_rasters_of_several_models_share_seconds(codec, tmp_path, drawn):
    sound = tones(3.0)
    by_number = plots.Raster("small", codec.encode(sound, 22050))
    hop = 2048
    few = EventMatrix.from_indices(
        np.array([2, 2, 2, 9]), np.array([0, 1, 4, 3]), 6, sample_rate=22050, hop=hop, n_samples=3 * 22050
    )
    by_frequency = plots.Raster("wide", few, np.array([250.0, 250.0, 400.0, 400.0, 900.0, 900.0]))
    notes = midi.Notes(*(np.array(x) for x in ([0.1, 1.0], [0.9, 2.0], [60, 64], [80, 80])))
    plots.rasters(tmp_path / "a.png", [by_number, by_frequency], notes=notes, sound=sound, seconds=(0, 2))
    (figure,) = drawn
    *_, dense, sparse = figure.axes
    assert dense.get_xlim() == sparse.get_xlim() == (0, 2)
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    dashes = sparse.collections[0].get_segments()  # where the axis is linear: at logarithms of frequencies
    places = {
        (round(float(piece[0][0]) * 22050 / hop, 3), round(10 ** float(piece[0][1]), 3)) for piece in dashes
    }
    assert {(2.0, 250.0), (2.0, 900.0), (9.0, 400.0)} <= places  # two events of one frequency are one dash
    shades = sparse.collections[0].get_colors()[:, 3]
    assert shades[0] > shades[1] == shades[2]
    with pytest.raises(UserError, match="at least one"):
        plots.rasters(tmp_path / "b.png", [])


@pytest.mark.parametrize("samples", [0, 1000, 4096])
def test_no_notes_short_sounds_and_recordings_that_have_ended_are_drawn(tmp_path, samples):
    pytest.importorskip("matplotlib")
    none = midi.Notes(np.zeros(0), np.zeros(0), np.zeros(0, int), np.zeros(0, int))
    events, longer = (EventMatrix(np.ones((2, steps), bool), 22050, 512, steps * 512) for steps in (4, 100))
    models = [
        plots.Raster("ended", events),
        plots.Raster("by frequency", longer, np.array([100.0, 200.0])),
        plots.Raster("longer", longer),
    ]
    sound = np.zeros(samples, np.float32)
    plots.rasters(tmp_path / "a.png", models, notes=none, sound=sound, seconds=(0.5, 1.0))
    plots.overview(tmp_path / "b.png", sound, sound, events, none)


def test_rasters_of_many_cells_are_bounded_and_show_every_event(tmp_path, drawn):
    units, steps, rate = 38_400, 9000, 22050 / 2048
    random = np.random.default_rng(0)
    places = np.unique(random.integers(0, units * steps, 3000))
    step, unit = np.divmod(places, units)
    many = EventMatrix.from_indices(step, unit, units, sample_rate=22050, hop=2048, n_samples=steps * 2048)
    hertz = np.geomspace(50, 3000, 100)[np.arange(units) // 384]
    plots.rasters(tmp_path / "a.png", [plots.Raster("by number", many), plots.Raster("a", many, hertz)])
    by_number, by_frequency = drawn[0].axes
    (image,) = by_number.images
    shade, (left, right, low, high) = image.get_array(), image.get_extent()
    assert shade.size <= 4 * plots.COLUMNS * plots.ROWS and shade.max() == 1
    row = (unit - low) / (high - low) * shade.shape[0]
    column = (step + 0.5) / rate / (right - left) * shade.shape[1]
    seen = np.zeros(shade.shape, bool)
    seen[row.astype(int), column.astype(int)] = True
    np.testing.assert_array_equal(shade > 0, seen)
    dashes = np.stack(by_frequency.collections[0].get_segments())
    assert len(np.unique(dashes[:, 0, 0])) <= 2 * plots.COLUMNS
    found = {(round(x * rate / 4), y) for x, y in dashes[:, 0].round(6).tolist()}
    assert found == set(zip((step // 4).tolist(), np.log10(hertz[unit]).round(6).tolist(), strict=True))


def test_few_steps_of_many_units_show_every_event(tmp_path, drawn):
    step, unit = np.arange(40), np.arange(40) * 950 + 7
    few = EventMatrix.from_indices(step, unit, 38_400, sample_rate=22050, hop=2048, n_samples=40 * 2048)
    plots.rasters(tmp_path / "a.png", [plots.Raster("few", few)])
    shade = drawn[0].axes[0].images[0].get_array()
    assert len(shade) <= 2 * plots.ROWS  # of more rows, a figure would leave out most
    assert (shade > 0).sum() == 40


def test_only_what_is_shown_of_a_sound_is_drawn(tmp_path, drawn):
    sound = np.zeros(200 * 22050, np.float32)
    sound[int(100.5 * 22050)] = 1
    one = EventMatrix(np.ones((2, 8), bool), 22050, 512, 8 * 512)
    for seconds in ((100, 101), None):
        plots.rasters(
            tmp_path / "a.png",
            [plots.Raster("one", one)],
            sound=sound,
            seconds=seconds or (0, 200),
            force=True,
        )
        (mesh,) = drawn[-1].axes[0].collections
        assert mesh.get_array().shape[1] <= (50 if seconds else 2 * plots.COLUMNS)
        loudest = np.unravel_index(mesh.get_array().argmax(), mesh.get_array().shape)
        at = mesh.get_coordinates()[loudest][0]
        assert at == pytest.approx(100.5, abs=0.1)


def test_a_raster_of_events_alone_is_black(tmp_path, drawn):
    full = EventMatrix(np.ones((2, 8), bool), 22050, 512, 8 * 512)
    plots.rasters(tmp_path / "a.png", [plots.Raster("full", full)])
    (image,) = drawn[0].axes[0].images
    assert image.to_rgba(np.ones((1, 1)), bytes=True)[0, 0, :3].tolist() == [0, 0, 0]


def test_units_of_a_thermometer_have_frequencies():
    thermometer = Thermometer(edges=(2, 8), thresholds=(2, 1), scales=2)
    part = Mdct(width=8, refined=8)
    model = Model(hop=16, units=20, encoder=part, bottleneck=thermometer, decoder=part, chunk_steps=64)
    hertz = model.unit_hertz()
    assert hertz.shape == (20,) and np.all(np.diff(hertz) >= 0)
    assert hertz[:4].tolist() == [22050 / 32 / 2] * 4 and hertz[-1] == 7.5 * 22050 / 32
    assert Model().unit_hertz() is None


def test_figures_leave_it_to_the_program_how_it_shows_its_own(tmp_path, monkeypatch):
    """As choosing a backend, or even importing pyplot, would not."""
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    full = EventMatrix(np.ones((2, 8), bool), 22050, 512, 8 * 512)
    plots.rasters(tmp_path / "a.svg", [plots.Raster("full", full)])
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


def test_importing_the_package_needs_no_extra():
    """Plotting, MIDI and simulators are for those who ask for them."""
    code = (
        "import sys\n"
        "for name in ('matplotlib', 'pretty_midi', 'lava', 'norse', 'nir'): sys.modules[name] = None\n"
        "import snn_codec.codec, snn_codec.cli, snn_codec.training.loop, snn_codec.plots, snn_codec.midi\n"
        "from snn_codec.errors import UserError\n"
        "try: snn_codec.plots.check_matplotlib()\n"
        "except UserError as error: print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install" in found.stdout
