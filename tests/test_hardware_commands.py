"""`snn-codec simulate` and `export` from the command line."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import settled, small_model, tones
from test_mdct import codec as mdct_codec
from test_mdct import tones as mdct_tones

from snn_codec import audio
from snn_codec import settings as config
from snn_codec.cli.main import main, parser
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.hardware import exchange, interpreter, netx, streams
from snn_codec.hardware.agreement import rounded_down
from snn_codec.hardware.fold import fold
from snn_codec.hardware.integers import IntegerLayer
from snn_codec.hardware.interpreter import lava_python
from snn_codec.storage import event_files, h5

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """Folder of a small codec with one group."""
    folder = tmp_path_factory.mktemp("checkpoint") / "plain"
    settled(small_model(bottleneck=config.Spiking())).save(folder)
    return folder


@pytest.fixture(scope="session")
def leaky(tmp_path_factory):
    """Folder of a small codec with leaky neurons."""
    folder = tmp_path_factory.mktemp("checkpoint") / "leaky"
    settled(small_model(bottleneck=config.Spiking(beta=0.8, reset="subtract", threshold=0.5))).save(folder)
    return folder


@pytest.fixture
def sound(tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(14.0), 22050)
    return tmp_path / "a.wav"


@pytest.fixture
def cli(capsys):
    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def test_the_width_of_weights_is_that_of_the_option(cli, plain, sound, tmp_path):
    shared = ("simulate", sound, "--model", plain, "--backend", "integer", "--weight-bits")
    status, _, err = cli(*shared, 16, "-o", tmp_path / "a.h5")
    assert status == 2 and "not 16" in err
    assert cli(*shared, 2, "-o", tmp_path / "a.h5")[0] == cli(*shared, 8, "-o", tmp_path / "b.h5")[0] == 0
    assert h5.read(tmp_path / "a.h5") != h5.read(tmp_path / "b.h5")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["--net", "a.net", "--weight-bits", 15],
            "--weight-bits: a.net has its widths; leave one of the two out",
        ),
        (
            ["--net", "a.net", "--input-bits", 4],
            "--input-bits: a.net has its widths; leave one of the two out",
        ),
        (["--backend", "lava-float", "--weight-bits", 4], "--weight-bits: lava-float has no integers"),
        (["--backend", "lava-float", "--input-bits", 4], "--input-bits: lava-float has no integers"),
        (["--model", "free", "--level", 3], "free: has no levels; use --model wide or mu-sparse"),
        (["--timeout", "nan"], "--timeout nan: must be more than 0 seconds"),
        (["--timeout", 0], "--timeout 0: must be more than 0 seconds"),
    ],
)
def test_an_option_without_a_use_is_refused_first(cli, tmp_path, arguments, reason):
    status, _, err = cli("simulate", tmp_path / "missing.wav", "-o", tmp_path / "a.h5", *arguments)
    assert status == 2 and reason in err and len(err.splitlines()) == 1


LAVA = [pytest.param(name, marks=pytest.mark.lava) for name in ("lava-fixed", "lava-float")]


@pytest.mark.parametrize("backend", ["integer", *LAVA])
@pytest.mark.parametrize("model", ["checkpoint", "leaky"])
def test_a_recording_becomes_events_that_decode(cli, request, sound, tmp_path, model, backend):
    folder = request.getfixturevalue(model)
    status, out, err = cli(
        "simulate", sound, "--model", folder, "-o", tmp_path / "a.h5", "--backend", backend, "--report",
        "--lava-python", sys.executable,
    )  # fmt: skip
    assert (status, err) == (0, "")
    codec = Codec.load(folder)
    expected, found = codec.encode(soundfile.read(sound)[0], 22050), h5.read(tmp_path / "a.h5")
    same = np.mean(found.events == expected.events)
    assert f"{rounded_down(same, 3)} % of {expected.n_cells} cells" in out
    assert same == 1 if backend == "lava-float" else 0.9 < same
    assert found.fingerprint == codec.fingerprint and found.n_samples == expected.n_samples
    assert re.search(r"bottleneck macs +\d+\n.*dense macs +\d+", out, re.S) and "0.0000 % clipped" in out
    assert cli("decode", tmp_path / "a.h5", "--model", folder)[0] == 2  # a.wav is the recording
    assert cli("decode", tmp_path / "a.h5", "--model", folder, "-o", tmp_path / "b.wav")[0] == 0


def test_a_long_recording_is_simulated_some_steps_at_a_time(cli, plain, sound, tmp_path, monkeypatch):
    widths, at_once = [], IntegerLayer.spikes

    def spikes(layer, graded):
        widths.append(graded.shape[1])
        return at_once(layer, graded)

    monkeypatch.setattr(IntegerLayer, "spikes", spikes)
    found, said = [], []
    for cells in (1 << 22, 80 * 50):
        monkeypatch.setattr("snn_codec.cells.BLOCK_CELLS", cells)
        path = tmp_path / f"{cells}.h5"
        status, out, _ = cli(
            "simulate", sound, "--model", plain, "-o", path, "--backend", "integer", "--report"
        )
        assert status == 0
        found.append(h5.read(path))
        said.append(re.findall(r"% of .*|graded input.*|.*(?:events|macs|operations) +\d+", out))
    assert found[0] == found[1] and said[0] == said[1] and len(said[0]) >= 6
    assert widths[0] > 50 and max(widths[2:]) == 50


def test_the_encoder_is_simulated_too(cli, tmp_path, plain):
    lapped = mdct_codec()
    lapped.save(tmp_path / "lapped")
    soundfile.write(tmp_path / "a.wav", mdct_tones(40000), 22050)
    shared = ("simulate", tmp_path / "a.wav", "-o", tmp_path / "a.h5", "--encoder")
    status, out, err = cli(
        *shared, "--model", tmp_path / "lapped", "--backend", "integer", "--level", 3, "--report"
    )
    assert status == 0, err
    assert float(re.search(r"([\d.]+) % of \d+ cells", out)[1]) > 99.5 and "transform macs" in out
    found = h5.read(tmp_path / "a.h5")
    assert found == lapped.encode(*audio.read(tmp_path / "a.wav"), level=3).replace(events=found.events)
    for arguments, reason in (
        (("--model", plain), "its encoder is a network"),
        (("--backend", "lava-float"), "--encoder: runs in integers"),
        (("--net", tmp_path / "a.net"), "--encoder: a --net holds the bottleneck alone"),
        (("--input-bits", 8), "--encoder: its features have 16 bits"),
    ):
        backend = () if "--backend" in arguments else ("--backend", "integer")
        status, _, err = cli(*shared, *backend, *arguments, "--force")
        assert status == 2 and reason in err.replace("this model's", "its"), err


@pytest.mark.parametrize("backend", ["integer", LAVA[0]])
def test_an_exported_network_is_simulated(cli, plain, sound, tmp_path, backend):
    net = tmp_path / "a.net"
    assert cli("export", "netx", sound, "--model", plain, "-o", net)[0] == 0
    graded = exchange.features(tmp_path / "a.npz")
    assert graded.dtype == np.int32 and graded.shape == (16, 603)
    arguments = ("--model", plain, "-o", tmp_path / "a.h5", "--lava-python", sys.executable)
    assert cli("simulate", sound, "--net", net, "--backend", backend, *arguments)[0] == 0
    np.testing.assert_array_equal(h5.read(tmp_path / "a.h5").events, netx.read(net)[0].spikes(graded))


def test_a_network_of_another_model_or_a_damaged_one_is_refused(cli, plain, checkpoint, sound, tmp_path):
    net = tmp_path / "a.net"
    cli("export", "netx", "--model", plain, "-o", net)
    arguments = (sound, "--net", net, "-o", tmp_path / "a.h5", "--backend", "integer")
    status, _, err = cli("simulate", *arguments, "--model", checkpoint)
    assert status == 2 and "was exported from the model" in err
    net.write_bytes(net.read_bytes()[:-1])
    status, _, err = cli("simulate", *arguments, "--model", plain)
    assert status == 2 and "a.net: is damaged" in err and len(err.splitlines()) == 1


def test_without_lava_it_says_what_to_do_before_it_works(cli, plain, sound, tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter, "__file__", str(tmp_path / "hardware" / "simulate.py"))
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    monkeypatch.delenv(interpreter.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    status, _, err = cli("simulate", sound, "--model", plain, "-o", tmp_path / "a.h5")
    assert status == 2 and "make lava-venv" in err and len(err.splitlines()) == 1
    status, _, err = cli("simulate", sound, "--model", plain, "-o", "a.h5", "--lava-python", "/bin/true")
    assert status == 2 and "ended too early" in err and not (tmp_path / "a.h5").exists()


def test_what_a_file_cannot_express_is_refused_and_nothing_is_written(cli, leaky, sound, tmp_path):
    for kind, reason in (("netx", "leaky"), ("nir", "reset=subtract")):
        if kind == "nir":
            pytest.importorskip("nir")
        status, _, err = cli("export", kind, "--model", leaky, "-o", tmp_path / "a.net")
        assert status == 2 and reason in err and list(tmp_path.iterdir()) == [sound]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["free-plain"], "free-plain: is a model, not a recording; give it as --model free-plain"),
        (["none.flac"], "none.flac: no such file"),
        (["{}", "--recording", "{}"], "give one recording"),
    ],
)
def test_a_recording_is_looked_at_before_the_network_is_written(cli, sound, tmp_path, arguments, reason):
    named = [part.format(sound) for part in arguments]
    status, _, err = cli("export", "netx", *named, "-o", tmp_path / "a.net")
    assert status == 2 and reason in err and list(tmp_path.iterdir()) == [sound]


@pytest.mark.parametrize(("kind", "suffix"), [("netx", "npz"), ("nir", "nirdata")])
def test_an_export_that_is_refused_leaves_no_network_behind(cli, plain, sound, tmp_path, kind, suffix):
    if kind == "nir":
        pytest.importorskip("nir")
    bad, net = tmp_path / "nan.wav", tmp_path / "a.net"
    soundfile.write(bad, np.full(9000, np.nan), 22050, subtype="FLOAT")
    same, before = tmp_path / f"same.{suffix}", sound.read_bytes()
    for arguments, reason in {
        (bad, "-o", net): f"{bad}: ",
        (sound, "-o", net, "--level", 3): "has no levels",
        ("-o", net, "--level", 3): "--level 3: is for the features of a recording; give one, or leave it out",
        (sound, "-o", same): f"{same}: the features go to a file of this name",
        (sound, "-o", same, "--force"): f"{same}: the features go to a file of this name",
        (sound, "-o", sound, "--force"): f"{sound}: is the input itself",
    }.items():
        status, _, err = cli("export", kind, *arguments, "--model", plain)
        assert status == 2 and reason in err and len(err.splitlines()) == 1
        assert set(tmp_path.iterdir()) == {sound, bad} and sound.read_bytes() == before
    assert cli("export", kind, "-o", same, "--model", plain)[0] == 0


@pytest.mark.parametrize("kind", ["netx", "nir"])
@pytest.mark.parametrize("model", ["checkpoint", "prompted"])
def test_what_comes_back_from_another_simulator_decodes(cli, request, sound, tmp_path, kind, model):
    """Groups, and a model with levels: the features carry loudness, level and grid."""
    if kind == "nir":
        pytest.importorskip("nir")
    folder, level = request.getfixturevalue(model), ["--level", 3] if model == "prompted" else []
    net, like = tmp_path / "a.net", tmp_path / ("a.npz" if kind == "netx" else "a.nirdata")
    assert cli("export", kind, "--recording", sound, "--model", folder, "-o", net, *level)[0] == 0
    codec = Codec.load(folder)
    events = codec.encode(soundfile.read(sound)[0], 22050, level=3 if level else None)
    if kind == "netx":
        spikes = netx.read(net)[0].spikes(exchange.features(like))
    else:
        spikes = fold(codec.bottleneck).spikes(exchange.features(like))
        np.testing.assert_array_equal(spikes, events.events)
    np.save(tmp_path / "back.npy", np.pad(spikes, ((0, 0), (1, 2))).T)
    back = tmp_path / "back.h5"
    assert cli("import", tmp_path / "back.npy", "--like", like, "-o", back, "--late", 1)[0] == 0
    assert h5.read(back) == events.replace(events=spikes)
    assert cli("decode", back, "--model", folder, "-o", tmp_path / "b.wav")[0] == 0


def test_spikes_that_are_not_of_the_recording_are_refused(cli, plain, sound, tmp_path):
    assert cli("export", "netx", sound, "--model", plain, "-o", tmp_path / "a.net")[0] == 0
    like = ("--like", tmp_path / "a.npz", "-o", tmp_path / "b.h5")
    np.save(tmp_path / "short.npy", np.zeros((80, 602)))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-40])
    (tmp_path / "text.h5").write_text("spikes")
    for name, reason in {
        "short.npy": "80 x 602 cells, where", "cut.npz": "cannot be read", "text.h5": "cannot be read",
        "missing.npy": "No such file", "a.npz": "16 x 603 cells",
    }.items():  # fmt: skip
        status, _, err = cli("import", tmp_path / name, *like)
        assert status == 2 and name in err and reason in err and len(err.splitlines()) == 1
        assert not (tmp_path / "b.h5").exists()


def test_features_of_leaky_neurons_are_not_one_run(cli, tmp_path, sound):
    pytest.importorskip("nir")
    model = small_model(bottleneck=config.Spiking(beta=0.8, reset="zero", threshold=0.5))
    settled(model).save(tmp_path / "zero")
    arguments = ("export", "nir", "--model", tmp_path / "zero", "-o", tmp_path / "a.nir")
    status, _, err = cli(*arguments, "--recording", sound)
    assert status == 2 and "start from rest in every chunk" in err and not (tmp_path / "a.nir").exists()
    assert cli(*arguments)[0] == 0


def test_a_folder_is_simulated_by_workers_at_a_level(cli, prompted, music, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("piece0.wav", "piece1.wav"):
        (tmp_path / "in" / name).write_bytes((music / name).read_bytes())
    (tmp_path / "in" / "bad.wav").write_text("no sound")
    status, out, err = cli(
        "simulate", tmp_path / "in", "--model", prompted, "--level", 6, "-o", tmp_path / "out",
        "--backend", "integer", "--workers", 2,
    )  # fmt: skip
    assert status == 2 and "bad.wav" in err and len(err.splitlines()) == 1
    assert len(re.findall(r"[\d.]+ % of \d+ cells and [\d.]+ % of events as in torch", out)) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["piece0.spk", "piece1.spk"]
    one = tmp_path / "one.spk"
    arguments = ("--model", prompted, "--level", 6, "-o", one, "--backend", "integer")
    assert cli("simulate", music / "piece1.wav", *arguments)[0] == 0
    assert one.read_bytes() == (tmp_path / "out" / "piece1.spk").read_bytes()
    assert event_files.read(one).levels.tolist() == [48, 48]


def test_nir_from_the_command_line(cli, plain, tmp_path):
    nir = pytest.importorskip("nir")
    assert cli("export", "nir", "--model", plain, "-o", tmp_path / "a.nir")[0] == 0
    graph = nir.read(str(tmp_path / "a.nir"))
    assert graph.metadata["fingerprint"] == Codec.load(plain).fingerprint
    assert graph.nodes["affine"].weight.shape == (80, 16)


@pytest.mark.parametrize("kind", ["lava", "nir", "sonata", "shd"])
def test_spike_streams(cli, codec, tmp_path, kind):
    if kind == "nir" and not hasattr(pytest.importorskip("nir"), "write_data"):
        pytest.skip("needs nir 1.0.8")
    events = codec.encode(tones(3.0), 22050)
    h5.write(tmp_path / "a.h5", {"piece": events})
    assert cli("export", "spikes", tmp_path / "a.h5", "--to", kind)[0] == 0
    (written,) = set(tmp_path.iterdir()) - {tmp_path / "a.h5"}
    if kind == "lava":
        with np.load(written) as file:
            np.testing.assert_array_equal(file["data"], events.events)
            assert (file["sample_rate"], file["hop"]) == (22050, 512)
    elif kind == "sonata":
        assert h5.read(written) == events
    assert cli("export", "spikes", tmp_path / "a.h5", "--to", kind)[0] == 2  # exists


def test_a_stream_for_lava_is_written_some_units_at_a_time(tmp_path, monkeypatch):
    """As the matrix of an hour would take 6 GB; with the bytes that numpy writes."""
    events = EventMatrix(np.random.default_rng(0).random((80, 130)) < 0.2, 22050, 512, 130 * 512)
    fields = {"sample_rate": events.sample_rate, "hop": events.hop}
    np.savez_compressed(tmp_path / "numpy.npz", data=events.events.astype(np.int32), **fields)
    monkeypatch.delattr(EventMatrix, "events")
    monkeypatch.setattr(streams, "BLOCK_CELLS", 7 * events.n_steps)
    streams.write(tmp_path / "a.npz", "lava", [("piece", events)])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "numpy.npz").read_bytes()


@pytest.mark.parametrize("command", ["export spikes a.h5 --to lava", "convert a.h5 a.nwb"])
def test_a_form_of_one_recording_says_how_to_choose_it(cli, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    if command.endswith("nwb"):
        pytest.importorskip("pynwb")
    events = EventMatrix(np.eye(5, 3, dtype=bool), 22050, 512, 1500)
    h5.write(tmp_path / "a.h5", {"one": events, "two": events})
    status, _, err = cli(*command.split())
    assert status == 2 and "one recording, not 2; choose one with --recording" in err


def test_the_page_in_docs_can_be_followed():
    page = ROOT / "docs" / "neuromorphic.md"
    text = page.read_text(encoding="utf-8")
    lines = [shlex.split(line.split(" #")[0])[1:] for line in re.findall("^snn-codec .*", text, re.M)]
    assert len(lines) >= 6
    for line in lines:
        parser().parse_args(line)
    for link in re.findall(r"\]\(([^h)][^)]+)\)", text):
        assert (page.parent / link).exists(), link


def test_lava_runs_in_another_python(cli, checkpoint, sound, tmp_path):
    """The way that users go: this Python here, Lava's there."""
    try:
        lava_python()
    except UserError as error:
        pytest.skip(str(error))
    found = []
    for backend in ("lava-fixed", "integer"):
        output = tmp_path / f"{backend}.spk"
        status, _, err = cli("simulate", sound, "--model", checkpoint, "-o", output, "--backend", backend)
        assert (status, err) == (0, "")
        found.append(output.read_bytes())
    assert found[0] == found[1]
