import io
import math
import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasters import bursty, chain, entropy_model, matrix, raster, rasters

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.storage import entropy, spk
from snn_codec.storage.entropy_model import NO_SIDE, EntropyModel, Side
from snn_codec.storage.spk import (
    Damage,
    Header,
    Reader,
    Writer,
    breakdown,
    chunk,
    frames,
    layout,
    read,
    salvaged,
    survey,
    write,
    writer,
)
from snn_codec.storage.spk.chunk import pack

RECORDING = matrix(np.concatenate([raster(80, 600, 0.02), raster(80, 600, 0.5), bursty(80, 3700)], 1))


def packed(events: EventMatrix, entropy_model=None) -> bytes:
    file = io.BytesIO()
    write(file, events, entropy_model=entropy_model)
    return file.getvalue()


@settings(max_examples=60, deadline=None)
@given(
    rasters(),
    st.integers(1, 50),
    st.booleans(),
    st.integers(1, 600),
    st.sampled_from(["", "ab", "AB", "free"]),
)
def test_what_is_read_is_what_was_written(events, chunk_steps, loudness, hop, fingerprint):
    recording = matrix(
        events, chunk_steps=chunk_steps, loudness=loudness, hop=hop, sample_rate=7, fingerprint=fingerprint
    )
    assert read(io.BytesIO(packed(recording))) == recording
    model = entropy_model(recording.n_units)
    assert read(io.BytesIO(packed(recording, model)), entropy_model=model) == recording


@settings(max_examples=30, deadline=None)
@given(rasters(), st.integers(1, 50), st.booleans())
def test_levels_are_read_as_written(events, chunk_steps, loudness):
    recording = matrix(events, chunk_steps=chunk_steps, loudness=loudness, levels=True)
    data = packed(recording)
    assert data[4] == 2 and packed(matrix(events, chunk_steps=chunk_steps, loudness=loudness))[4] == 1
    assert read(io.BytesIO(data)) == recording
    found = survey(io.BytesIO(data))
    assert found.parts["side"] == recording.n_chunks * (1 + loudness)
    assert found.levels == list(recording.levels) and found.n_samples == recording.n_samples
    window = Reader(io.BytesIO(data)).window(0, recording.n_steps)
    np.testing.assert_array_equal(window, events)


def test_salvage_keeps_the_compression_levels_of_what_is_left():
    recording = matrix(raster(80, 1100, 0.05), levels=True)
    data = bytearray(packed(recording))
    data[len(data) // 2] ^= 1
    events, (damage,) = salvaged(io.BytesIO(bytes(data)))
    kept = [number for number in range(recording.n_chunks) if number != damage.chunk]
    np.testing.assert_array_equal(events.loudness[kept], recording.loudness[kept])
    assert events.loudness[damage.chunk] == 0


def test_a_version_that_contradicts_its_flags_is_damage():
    import struct
    import zlib

    data = bytearray(packed(matrix(raster(8, 20, 0.1), levels=True)))
    data[4] = 1
    end = 6 + data[5]
    data[end : end + 4] = struct.pack("<I", zlib.crc32(bytes(data[:end])))
    with pytest.raises(UserError, match="another version"):
        read(io.BytesIO(bytes(data)))


def test_files_keep_the_rules_of_files(tmp_path):
    path = tmp_path / "a.spk"
    write(path, RECORDING)
    assert read(path) == RECORDING
    with pytest.raises(UserError, match="--force"):
        write(path, RECORDING)
    write(path, matrix(raster(3, 9, 0.5)), force=True)
    assert read(path).n_units == 3
    for wrong in (tmp_path / "b.spk", tmp_path):
        with pytest.raises(UserError, match=str(wrong)):
            read(wrong)
    path.write_text("not a bitstream")
    with pytest.raises(UserError, match="no .spk bitstream"):
        read(path)


def test_each_chunk_takes_its_cheapest_format():
    chunks = breakdown(io.BytesIO(packed(RECORDING)))["chunks"]
    assert set(chunks) == {"counted", "adaptive", "dense"}
    assert breakdown(io.BytesIO(packed(matrix(raster(1, 1, 1.0)))))["chunks"] == {"dense": 1}


@pytest.mark.parametrize("name", spk.FORMATS[:-1])  # of a thermometer: tests/test_golden.py
def test_every_format_is_read(name, monkeypatch):
    """Also those that another one beats on most matrices."""
    model, recording = entropy_model(80, scale=2), matrix(raster(80, 700, 0.02))

    def only(events, model, side):
        return name, model.encode(events, side) if name == "learned" else pack(events, name)

    monkeypatch.setattr(writer, "pack_chunk", only)
    data = packed(recording, model)
    found = survey(io.BytesIO(data))
    assert found.parts["chunks"] == {name: 3}
    assert found.n_events == (recording.n_events if name in spk.WITHOUT_MODEL else None)
    assert read(io.BytesIO(data), entropy_model=model) == recording


@pytest.mark.parametrize("density", [0, 0.01, 0.1, 0.5, 1])
def test_a_chunk_takes_its_ideal_bits_and_a_few_bytes(density):
    for model in (None, entropy_model(30, scale=2)):
        events = raster(30, 200, density)
        name, payload = spk.pack_chunk(events, model)
        assert name in spk.FORMATS
        ideal = spk.ideal_bits(events, model) / 8
        assert ideal <= len(payload) + 1e-6 and len(payload) <= 1.01 * ideal + 4


def test_the_breakdown_adds_up():
    data = packed(RECORDING)
    parts = breakdown(io.BytesIO(data))
    total = sum(parts[name] for name in ("header", "framing", "side", "events", "checksums", "trailer"))
    assert total == parts["total"] == len(data)
    assert parts["side"] == RECORDING.n_chunks and parts["checksums"] == 4 * RECORDING.n_chunks
    assert parts["samples"] == RECORDING.n_samples


def test_a_minute_costs_two_per_cent_and_64_bytes_over_the_ideal():
    events = raster(80, 2584, 0.03)
    ideal = 0.0
    for start in range(0, 2584, 256):
        chunk = events[:, start : start + 256]
        ideal += min(entropy.bits(chunk).values()) / 8 + 2  # the number of events has 2 bytes
    assert len(packed(matrix(events))) <= 1.02 * ideal + 64


def test_a_pipe_is_enough_and_chunks_arrive_one_by_one():
    """The reader sees a chunk before the writer has the next; neither seeks."""
    ours, theirs = os.pipe()
    got = threading.Semaphore(0)
    chunks = []

    def listen():
        with os.fdopen(ours, "rb", buffering=0) as file:
            reader = Reader(file)
            for chunk in reader:
                chunks.append(chunk)
                got.release()
            chunks.append(reader.n_samples)

    listener = threading.Thread(target=listen)
    listener.start()
    with os.fdopen(theirs, "wb", buffering=0) as file:
        writer = Writer(file, Header(5, 16000, 100))
        for number in range(3):
            writer.write(raster(5, 256, 0.1, number))
            assert got.acquire(timeout=20)
        writer.finish(3 * 25600)
    listener.join(20)
    assert chunks.pop() == 3 * 25600
    for number, part in enumerate(chunks):
        np.testing.assert_array_equal(part.events, raster(5, 256, 0.1, number))
        assert (part.number, part.start, part.loudness) == (number, 256 * number, None)


class _Dribble(io.RawIOBase):
    """A pipe that gives one byte at a time and cannot seek."""

    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        self.position += 1
        return self.data[self.position - 1 : self.position]


def test_short_reads_do_not_matter():
    recording = matrix(raster(9, 700, 0.1))
    assert read(_Dribble(packed(recording))) == recording


def test_windows_are_parts_of_the_whole():
    data = packed(RECORDING)
    reader = Reader(io.BytesIO(data))
    for start, stop in ((0, 0), (0, 1), (255, 257), (256, 512), (4400, 4900), (4899, 4900), (4900, 4900)):
        np.testing.assert_array_equal(reader.window(start, stop), RECORDING.events[:, start:stop])
    assert reader.n_samples == RECORDING.n_samples
    with pytest.raises(ValueError, match="not inside"):
        reader.window(0, 4901)


def test_windows_of_a_long_recording_jump_to_their_block():
    long = matrix(np.tile(raster(4, 64, 0.2), 400), chunk_steps=8)  # 3200 chunks

    class Counting(io.BytesIO):
        taken = 0

        def read(self, size=-1):
            self.taken += size
            return super().read(size)

    file = Counting(packed(long))
    reader = Reader(file)
    np.testing.assert_array_equal(reader.window(20_000, 20_010), long.events[:, 20_000:20_010])
    before = file.taken
    reader.window(24_000, 24_010)
    assert file.taken - before < len(file.getvalue()) / 50


def test_the_writer_is_told_what_is_wrong():
    header = Header(4, 22050, 512, has_loudness=True)
    for events, level in (
        (raster(5, 256, 0.1), 0),
        (raster(4, 257, 0.1), 0),
        (raster(4, 0, 0.1), 0),
        (raster(4, 256, 0.1), None),
    ):
        with pytest.raises(ValueError, match="chunk|loudness"):
            Writer(io.BytesIO(), header).write(events, level)
    writer = Writer(io.BytesIO(), header)
    writer.write(raster(4, 100, 0.1), 3)
    with pytest.raises(ValueError, match="after the last"):
        writer.write(raster(4, 256, 0.1), 3)
    for n_samples in (0, 99 * 512, 100 * 512 + 1):
        with pytest.raises(ValueError, match="are not 100 steps"):
            writer.finish(n_samples)
    with pytest.raises(UserError, match="too large"):
        Writer(io.BytesIO(), Header(2**20, 22050, 512))
    with pytest.raises(UserError, match="for 5 units, not 4"):
        write(io.BytesIO(), matrix(raster(4, 9, 0.5)), entropy_model=entropy_model(5))


def test_a_learned_chunk_needs_its_model():
    model = chain(20)
    recording = matrix(np.repeat(raster(1, 200, 0.5), 20, axis=0))
    data = packed(recording, model)
    assert breakdown(io.BytesIO(data))["chunks"] == {"learned": 1}
    assert read(io.BytesIO(data), entropy_model=model) == recording
    needed = f"{model.fingerprint} of checkpoint 0123456789abcdef"
    for other in (None, entropy_model(20, seed=1)):
        with pytest.raises(UserError, match=needed):
            read(io.BytesIO(data), entropy_model=other)
        with pytest.raises(UserError, match=needed):
            salvaged(io.BytesIO(data), entropy_model=other)


def test_a_damaged_chunk_is_named_and_the_rest_is_kept():
    data = bytearray(packed(RECORDING))
    position = Reader(io.BytesIO(data)).first
    sizes = [frame.size for frame in Reader(io.BytesIO(data)).frames()]
    for number in (0, 3, 7, RECORDING.n_chunks - 1):
        for offset in (0, 1, sizes[number] // 2, sizes[number] - 1):
            damaged = data.copy()
            damaged[position + sum(sizes[:number]) + offset] ^= 0x15
            start = number * 256 * 512 / 22050
            with pytest.raises(UserError, match=rf"chunk {number} \({start:.2f} s to .*--salvage"):
                read(io.BytesIO(damaged))
            kept, damages = salvaged(io.BytesIO(damaged))
            assert [damage.chunk for damage in damages] == [number]
            assert str(damages[0]).startswith(f"chunk {number} ({start:.2f} s to ")
            expected, loudness = RECORDING.events.copy(), RECORDING.loudness.copy()
            expected[:, number * 256 : (number + 1) * 256] = False
            loudness[number] = 0
            np.testing.assert_array_equal(kept.events, expected)
            np.testing.assert_array_equal(kept.loudness, loudness)
            assert kept.n_samples == RECORDING.n_samples


def test_salvage_of_cut_shuffled_and_punched_files():
    data = packed(RECORDING)
    sizes = np.cumsum([Reader(io.BytesIO(data)).first] + [f.size for f in Reader(io.BytesIO(data)).frames()])
    cut, damages = salvaged(io.BytesIO(data[: sizes[5] + 3]))
    np.testing.assert_array_equal(cut.events, RECORDING.events[:, : 5 * 256])
    seconds = 5 * 256 * 512 / RECORDING.sample_rate
    assert cut.n_samples == 5 * 256 * 512 and damages == [Damage(5, seconds, math.inf)]
    assert str(damages[0]) == f"the end of the file is missing; what came after {seconds:.2f} s is lost"
    without_trailer, damages = salvaged(io.BytesIO(data[: sizes[-1]]))
    assert without_trailer == RECORDING.replace(n_samples=RECORDING.n_steps * 512)
    assert [damage.chunk for damage in damages] == [RECORDING.n_chunks]
    with pytest.raises(UserError, match="ends within chunk 5"):
        read(io.BytesIO(data[: sizes[5] + 3]))

    missing = data[: sizes[4]] + data[sizes[9] :]
    kept, damages = salvaged(io.BytesIO(missing))
    assert [damage.chunk for damage in damages] == [4, 5, 6, 7, 8]
    np.testing.assert_array_equal(kept.events[:, 9 * 256 :], RECORDING.events[:, 9 * 256 :])

    swapped = data[: sizes[2]] + data[sizes[3] : sizes[4]] + data[sizes[2] : sizes[3]] + data[sizes[4] :]
    with pytest.raises(UserError, match="chunk 2"):
        read(io.BytesIO(swapped))
    kept, damages = salvaged(io.BytesIO(swapped))
    assert [damage.chunk for damage in damages] == [2]
    np.testing.assert_array_equal(kept.events[:, 3 * 256 :], RECORDING.events[:, 3 * 256 :])

    alien = packed(matrix(raster(80, 4900, 0.3), fingerprint="another"))
    mixed = data[: sizes[1]] + alien[Reader(io.BytesIO(alien)).first :]
    with pytest.raises(UserError, match="chunk 1"):
        read(io.BytesIO(mixed))
    assert salvaged(io.BytesIO(mixed))[0].n_chunks == 1

    first = sizes[0]
    for hopeless in (data[: first + 5], b"\x93SPK" + data[5:]):
        with pytest.raises(UserError):
            salvaged(io.BytesIO(hopeless))


def test_trailing_bytes_are_refused():
    with pytest.raises(UserError, match="more bytes"):
        read(io.BytesIO(packed(RECORDING) + b"\0"))


def test_a_bitstream_without_chunks_is_damaged():
    head = layout.pack_header(Header(20, 22050, 512), "a.spk")
    data = head + layout.pack_trailer(layout.Trailer(0, 0, []), head[-4:])
    for use in (read, survey, salvaged):
        with pytest.raises(UserError, match="comes before any chunk|no chunk of it"):
            use(io.BytesIO(data))


@pytest.mark.parametrize(("units", "format"), [(19, "learned"), (20, "thermometer")])
def test_chunks_that_their_entropy_model_cannot_have_made_are_damaged(units, format):
    model = chain(20)
    header = Header(units, 22050, 512, entropy_model=model.fingerprint)
    head = layout.pack_header(header, "a.spk")
    data = head + layout.pack_frame(layout.Frame(format, 1, 256, payload=b"\0"), header, head[-4:])
    data += layout.pack_trailer(layout.Trailer(256 * 512, 1, []), head[-4:])
    for use in (read, salvaged, lambda file, **model: Reader(file, **model).window(0, 1)):
        with pytest.raises(UserError, match="chunk 0 is not coded as by its entropy model"):
            use(io.BytesIO(data), entropy_model=model)


class Doubled(EntropyModel):
    """A kind of entropy model from outside, whose chunks begin with the codes of loudness and level."""

    KIND, VERSION, CHUNK_FORMAT = "tests.doubled", "1", "doubled"

    def __init__(self, units: int, checkpoint: str = ""):
        self.units, self.checkpoint = units, checkpoint

    @property
    def n_units(self):
        return self.units

    def encode(self, events, side=NO_SIDE):
        return bytes([side.loudness, side.level]) + entropy.encode_cells(
            events.T.ravel(), self._likely(events)
        )

    def decode(self, data, steps, side=NO_SIDE):
        if data[:2] != bytes([side.loudness, side.level]):
            raise entropy.EntropyError("the codes are those of another chunk")
        cells = entropy.decode_cells(entropy.decoder(data[2:]), np.full(steps * self.units, 200))
        return cells.reshape(steps, self.units).T

    def bits(self, events, side=NO_SIDE):
        return 16 + entropy.ideal_bits(events.T.ravel(), self._likely(events))

    def _likely(self, events):
        return np.full(events.size, 200)

    def settings(self):
        return {"units": str(self.units)}

    def tensors(self):
        return {"none": np.zeros(1, np.int16)}

    @classmethod
    def from_parts(cls, settings, tensors, checkpoint):
        return cls(int(settings["units"]), checkpoint)


def test_another_kind_of_entropy_model_is_a_class_a_format_and_a_version(tmp_path, monkeypatch):
    """What a reader knows of a chunk reaches it; programs without it say that they are too old."""
    recording = matrix(raster(3000, 150, 0.003), chunk_steps=64, levels=True)
    model = Doubled(3000, "0123456789abcdef")
    model.save(tmp_path / "context.safetensors")
    again = EntropyModel.of(tmp_path, "0123456789abcdef")
    assert isinstance(again, Doubled) and again.fingerprint == model.fingerprint
    with monkeypatch.context() as patch:
        for module in (chunk, frames, layout):
            patch.setattr(module, "FORMATS", (*module.FORMATS[:-1], "doubled"))  # a number has three bits
        patch.setattr(layout, "SINCE", {"doubled": 5})
        patch.setattr(chunk, "pack", lambda events, name: bytes(10**5))
        data = packed(recording, model)
        assert data[4] == 5
        assert breakdown(io.BytesIO(data))["chunks"] == {"doubled": 3}
        assert read(io.BytesIO(data), entropy_model=again) == recording
        assert salvaged(io.BytesIO(data), entropy_model=again) == (recording, [])
        with pytest.raises(UserError, match=f"needs the entropy model {model.fingerprint}"):
            read(io.BytesIO(data))
        with pytest.raises(ValueError, match="another entropy model"):
            Writer(
                io.BytesIO(), Header(3000, 22050, 512, entropy_model=model.fingerprint), entropy_model=model
            )
    without = packed(matrix(raster(9, 20, 0.1)))
    assert without[4] == 1 and read(io.BytesIO(without)).n_units == 9
    with pytest.raises(
        UserError, match="is version 5 of the format, and this program reads 1, 2, 3, 4; get a newer"
    ):
        read(io.BytesIO(data))


def test_large_chunks_are_not_tried_in_what_cannot_win(monkeypatch):
    tried = []

    def noted(events, name):
        tried.append(name)
        return pack(events, name)

    monkeypatch.setattr(chunk, "pack", noted)
    monkeypatch.setattr(chunk, "FORMATS", (*chunk.FORMATS[:-1], "doubled"))
    sparse, model = raster(3000, 64, 0.001), Doubled(3000)
    name, payload = chunk.pack_chunk(sparse, model, Side(1, 2))
    assert (name, tried) == ("counted", ["counted"]) and len(payload) < len(model.encode(sparse, Side(1, 2)))
    tried.clear()
    assert chunk.pack_chunk(raster(3000, 64, 0.5))[0] == "dense" and tried == ["counted", "dense"]
    tried.clear()
    model.encode = lambda events, side: b"ok"
    assert chunk.pack_chunk(sparse, model, Side(1, 2)) == ("doubled", b"ok") and not tried
    assert chunk.LARGE_CELLS == 2**17 and sparse.size > 2**17 > 80 * 256
    chunk.pack_chunk(raster(512, 256, 0.01))
    assert {"counted", "adaptive"} <= set(tried)
