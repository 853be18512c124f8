"""The floor: codes say how loud what is left out is, by band; files carry them; a decoder uses them."""

import io

import numpy as np
import pytest
import torch
from rasters import matrix, raster
from test_mdct import RATE, codec, tones

from snn_codec import decoders, floor
from snn_codec import settings as config
from snn_codec.cli import main
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.storage import h5, spk

SETTINGS = config.Filling(block=32, bands=6, width=8, blocks=1, floor_bands=4)


def floored(bands: int = 5):
    events = matrix(raster(12, 150, 0.1), chunk_steps=64)
    codes = np.random.default_rng(0).integers(0, 32, (3, bands)).astype(np.uint8)
    return events.replace(floor=codes)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a codec with a decoder that takes a floor."""
    made, folder = codec(), tmp_path_factory.mktemp("floor")
    made.save(folder)
    torch.manual_seed(0)
    decoders.save(folder, SETTINGS, decoders.build(SETTINGS, made), made.fingerprint)
    return folder


@pytest.mark.parametrize("decibels", [-60, -33, -9])
def test_white_noise_has_its_own_level_in_all_bands(decibels):
    noise = np.random.default_rng(0).standard_normal(2**16) * 10 ** (decibels / 20)
    codes = floor.measure(noise, 16, 22050)
    expected = 31 + round(decibels / 3.01)
    # the mean of decibels lies below the decibels of the mean, most in bands of few bins
    assert codes.max() == expected and codes.min() >= expected - 1
    assert floor.octaves(torch.from_numpy(codes)).max() == (expected - 31) / 2


def test_a_band_is_measured_where_it_is():
    share = floor.shares(8, 257, 22050)
    hertz = np.argmax(share[5]) * 22050 / 512
    tone = np.sin(2 * np.pi * hertz * np.arange(2**14) / 22050)
    assert np.argmax(floor.measure(tone, 8, 22050)) == 5


def test_a_short_attack_has_little_say():
    quiet = np.random.default_rng(0).standard_normal(2**16) * 1e-2
    loud = quiet.copy()
    loud[30000:30500] *= 100
    assert np.abs(floor.measure(loud, 8, 22050).astype(int) - floor.measure(quiet, 8, 22050)).max() <= 1


def test_silence_and_what_is_shorter_than_a_window_have_codes():
    assert not floor.measure(np.zeros(100), 16, 22050).any()


@pytest.mark.parametrize("bands", [1, 5, 16, 64])
def test_five_bits_a_band_come_back(bands):
    codes = np.random.default_rng(bands).integers(0, 32, bands).astype(np.uint8)
    data = floor.pack(codes)
    assert len(data) == floor.packed_bytes(bands) == -(-5 * bands // 8)
    assert np.array_equal(floor.unpack(data, bands), codes)


def test_files_carry_it(tmp_path):
    events, plain = floored(), matrix(raster(12, 150, 0.1), chunk_steps=64)
    assert events != plain and events.replace(floor=None) == plain
    file = io.BytesIO()
    spk.write(file, events)
    assert spk.read(io.BytesIO(file.getvalue())) == events
    assert spk.salvaged(io.BytesIO(file.getvalue())) == (events, [])
    h5.write(tmp_path / "a.h5", {"with": events, "without": plain, "more": floored(3)})
    with h5.SpikeTrains(tmp_path / "a.h5") as trains:
        assert dict(trains) == {"with": events, "without": plain, "more": floored(3)}


def test_info_tells_of_it(tmp_path, capsys):
    h5.write(tmp_path / "a.h5", {"with": floored(), "without": floored().replace(floor=None)})
    assert main(["info", str(tmp_path / "a.h5")]) == 0
    with_it, without = capsys.readouterr().out.split("without:")
    assert "floor: 5 bands a chunk" in with_it and "floor" not in without


def test_a_lost_chunk_has_a_silent_floor():
    file = io.BytesIO()
    spk.write(file, floored())
    data = bytearray(file.getvalue())
    at = len(data) // 2  # in the second of three chunks
    data[at] ^= 1
    events, damages = spk.salvaged(io.BytesIO(bytes(data)))
    assert [damage.chunk for damage in damages] == [1]
    assert not events.floor[1].any() and np.array_equal(events.floor[[0, 2]], floored().floor[[0, 2]])


@pytest.mark.parametrize(
    "codes",
    [np.zeros((2, 5), np.uint8), np.zeros((3, 5), int), np.full((3, 5), 32, np.uint8), np.zeros(3, np.uint8)],
)
def test_impossible_codes_are_refused(codes):
    with pytest.raises(ValueError, match=r"floor must be uint8 \[3, 1 to 64\], 0 to 31"):
        floored().replace(floor=codes)


def test_encoding_measures_it_for_a_checkpoint_whose_decoder_takes_it(saved):
    sound = tones(50 * 256)
    with_it, without = Codec.load(saved), codec()
    events = with_it.encode(sound, RATE, level=20)
    assert events.floor.shape == (events.n_chunks, 4)
    assert events.replace(floor=None) == without.encode(sound, RATE, level=20)
    halves = with_it.encode_blocks([sound[:5000], sound[5000:]], RATE, level=20, batch_size=3)
    assert halves == events
    louder = with_it.encode(
        sound + 0.05 * np.random.default_rng(0).standard_normal(len(sound)), RATE, level=20
    )
    assert (louder.floor.astype(int) - events.floor).mean() > 2


def test_the_plain_decoder_takes_no_notice_of_it(saved):
    events = Codec.load(saved).encode(tones(50 * 256), RATE, level=20)
    assert np.array_equal(codec().decode(events), codec().decode(events.replace(floor=None)))


def test_a_decoder_fills_in_as_loud_as_it_says_and_what_is_usual_without_one(saved):
    filling = Codec.load(saved, decoder="filling")
    events = filling.encode(tones(50 * 256), RATE, level=20)
    plain = Codec.load(saved).decode(events)
    power = [
        np.square(filling.decode(events.replace(floor=codes)) - plain).mean()
        for codes in (np.full_like(events.floor, 10), np.full_like(events.floor, 20), None)
    ]
    assert power[1] == pytest.approx(power[0] * 2**10, rel=0.1)
    assert np.isfinite(power[2]) and power[2] > 0


def test_a_floor_of_other_bands_is_refused(saved):
    events = Codec.load(saved).encode(tones(50 * 256), RATE, level=20)
    other = events.replace(floor=np.zeros((events.n_chunks, 7), np.uint8))
    with pytest.raises(
        UserError, match="a floor of 7 bands, and the decoder filling takes 4; use the decoder plain"
    ):
        Codec.load(saved, decoder="filling").decode(other)
