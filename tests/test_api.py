import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasters
import soundfile
from conftest import tones

import snn_codec
from snn_codec import (
    SpikeTrains,
    UserError,
    read_audio,
    read_events,
    write_audio,
    write_events,
)
from snn_codec.storage import spk
from snn_codec.storage.entropy_model import EntropyNetwork

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"


def matrix(seed=0, **fields):
    return rasters.matrix(rasters.raster(6, 300, 0.1, seed), **fields)


def test_the_example_of_the_package_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("bach.flac", tones(2.0), 22050)
    example = [line[4:] for line in snn_codec.__doc__.splitlines() if line.startswith("    ")]
    result = {}
    exec("\n".join(example), result)
    events, sound = result["events"], result["sound"]
    assert events.fingerprint and events.n_events > 0
    assert sound.shape == (events.n_samples,) == (44100,)
    assert spk.breakdown("bach.spk")["chunks"] == {"learned": 1}  # the entropy model was found, both times


def test_all_public_names_are_there_and_listed():
    for name in snn_codec.__all__:
        assert getattr(snn_codec, name).__name__ == name
    assert set(snn_codec.__all__) <= set(dir(snn_codec))
    assert issubclass(UserError, ValueError)
    with pytest.raises(AttributeError, match="no attribute 'encode'"):
        snn_codec.encode  # noqa: B018
    with pytest.raises(ImportError, match="read_sound"):
        from snn_codec import read_sound  # noqa: F401


def test_a_name_is_imported_when_it_is_used():
    code = (
        "import sys, snn_codec; assert 'snn_codec.events' not in sys.modules; snn_codec.EventMatrix; "
        "assert 'snn_codec.events' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_audio_goes_out_and_in(tmp_path):
    sound = (np.sin(np.arange(1000) / 9) / 2).astype(np.float32)
    write_audio(tmp_path / "a.flac", sound, 16000)
    samples, rate = read_audio(tmp_path / "a.flac")
    assert rate == 16000 and samples.dtype == np.float32
    np.testing.assert_allclose(samples, sound, atol=2**-15)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.flac", 100, 200)[0], samples[100:200])
    with pytest.raises(UserError, match="exists"):
        write_audio(tmp_path / "a.flac", sound, 16000)
    write_audio(tmp_path / "a.flac", sound[:10], 16000, force=True)
    assert len(read_audio(tmp_path / "a.flac")[0]) == 10


@pytest.mark.parametrize("suffix", [".spk", ".h5"])
def test_one_recording_is_read_back(tmp_path, suffix):
    events, path = matrix(), str(tmp_path / f"a{suffix}")
    write_events(path, events)
    assert read_events(path) == events
    with pytest.raises(UserError, match="exists"):
        write_events(path, events)
    write_events(path, matrix(1), force=True)
    assert read_events(path) == matrix(1)


def test_several_recordings_are_a_mapping(tmp_path):
    recordings = {"b": matrix(0), "a": matrix(1)}
    write_events(tmp_path / "all.h5", recordings)
    with SpikeTrains(tmp_path / "all.h5") as trains:
        assert dict(trains) == recordings and list(trains) == ["b", "a"]
    assert read_events(tmp_path / "all.h5", "a") == recordings["a"]
    with pytest.raises(UserError, match="2 recordings; name one of b, a"):
        read_events(tmp_path / "all.h5")
    write_events(tmp_path / "all.csv", recordings)
    with open(tmp_path / "all.csv", encoding="utf-8") as file:
        assert {row["recording"] for row in csv.DictReader(file)} == {"a", "b"}


@pytest.mark.parametrize(
    ("name", "recordings", "message"),
    [
        ("a.wav", matrix(), "suffix"), ("a", matrix(), "suffix"), ("a.spk", {"a": matrix(), "b": matrix()}, "not 2"),
        ("a.spk", {}, "no recordings"), ("a.h5", {}, "no recordings"), ("missing/a.spk", matrix(), "missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_one_sentence(tmp_path, name, recordings, message):
    with pytest.raises(UserError, match=message):
        write_events(tmp_path / name, recordings)
    assert not list(tmp_path.iterdir())


def test_an_entropy_model_of_ones_own_is_used(tmp_path):
    events, model = matrix(), rasters.entropy_model(6)
    own = EntropyNetwork(model.history, model.layers, model.output, model.same_step, events.fingerprint)
    write_events(tmp_path / "a.spk", events, entropy_model=own)
    with open(tmp_path / "a.spk", "rb") as file:
        assert spk.Reader(file).header.entropy_model == own.fingerprint
    assert read_events(tmp_path / "a.spk", entropy_model=own) == events


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda codec: codec.encode("a.wav", 22050), "read_audio reads a file"),
        (lambda codec: codec.encode(np.zeros(100, np.int16), 22050), "divide 16-bit integers by 32768"),
        (lambda codec: codec.encode(np.zeros((1, 2, 100)), 22050), r"not float64 \(1, 2, 100\)$"),
        (lambda codec: codec.encode(np.zeros((2, 22050)), 22050), "transpose it"),
        (lambda codec: codec.encode(np.zeros(100), 0), "positive integer in Hz"),
        (lambda codec: codec.encode(np.zeros(100), 22050, batch_size=0), "1 chunk or more"),
        (lambda codec: codec.decode("a.spk"), "must be an EventMatrix, not str; snn_codec.read_events"),
        (
            lambda codec: codec.spikes(np.zeros((1, 100))),
            "must be a tensor, not ndarray; encode takes arrays",
        ),
        (lambda codec: snn_codec.write_events("a.spk", np.eye(3, dtype=bool)), "must be an EventMatrix"),
        (lambda codec: snn_codec.write_audio("a.txt", np.zeros(3), 22050), "stands for no audio format"),
        (lambda codec: snn_codec.write_audio("a.wav", np.zeros(3), 0), "positive integer in Hz"),
        (lambda codec: snn_codec.write_audio("a.wav", np.zeros(3, np.int16), 22050), "must be float"),
        (lambda codec: snn_codec.read_audio(RECORDING, 10, 5), "give 0 <= start <= stop"),
        (lambda codec: snn_codec.read_events(RECORDING), "is an audio file, not events; encode it first"),
    ],
)
def test_a_wrong_call_is_one_sentence(codec, call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError), match=message) as error:
        call(codec)
    assert len(str(error.value).splitlines()) == 1 and not list(tmp_path.iterdir())


def test_objects_are_described_in_one_line(codec, tmp_path):
    parts = r"Codec\(spectral -> spiking -> spectral, 80 units at 43.07 Hz, [0-9,]+ parameters, model [0-9a-f]{16}\)"
    assert re.fullmatch(parts, repr(codec))
    snn_codec.write_events(tmp_path / "a.h5", {"one": matrix()})
    with snn_codec.SpikeTrains(tmp_path / "a.h5") as trains:
        assert repr(trains) == f"SpikeTrains({str(tmp_path / 'a.h5')!r}, 1 recordings)"


def test_completion_shows_what_is_public():
    shown = [name for name in dir(snn_codec) if not name.startswith("_")]
    assert set(snn_codec.__all__) <= set(shown)
    assert not {"sys", "importlib", "Path", "TYPE_CHECKING", "annotations"} & set(shown)
