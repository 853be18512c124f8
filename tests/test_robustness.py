"""Ten thousand damaged files of each format: a clear error or a correct partial result, and nothing else."""

import io
import multiprocessing
import os
import signal
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from rasters import bursty, matrix, raster

from snn_codec.errors import UserError
from snn_codec.storage import formats, h5, spk
from snn_codec.storage.spk import layout

N_FILES = 10_000


def damaged(whole: bytes, random: np.random.Generator) -> bytes:
    """`whole` after one of eight kinds of damage."""
    data, kind = bytearray(whole), random.integers(8)
    place, other = sorted(random.integers(0, len(data), 2))
    size = int(random.integers(1, 40))
    if kind == 0:
        data[place] ^= 1 << random.integers(8)
    elif kind == 1:
        data[place : place + size] = random.bytes(len(data[place : place + size]))
    elif kind == 2:
        del data[place:]
    elif kind == 3:
        del data[place : place + size]
    elif kind == 4:
        data[place:place] = random.bytes(size)
    elif kind == 5:
        data[place : place + size], data[other : other + size] = (
            data[other : other + size],
            data[place : place + size],
        )
    elif kind == 6:
        data[place : place + size] = b"\xff" * len(data[place : place + size])
    else:
        data[other:other] = data[place : place + size]
    return bytes(data)


def test_bitstreams():
    """Reading refuses every damage; salvaging gives right chunks only, and says which ones are missing."""
    recording = matrix(
        np.concatenate([raster(12, 60, 0.05), bursty(12, 60), raster(12, 20, 0.5)], 1), chunk_steps=20
    )
    file = io.BytesIO()
    spk.write(file, recording)
    whole, random, salvaged = file.getvalue(), np.random.default_rng(0), 0
    for number in range(N_FILES):
        data = damaged(whole, random)
        if data == whole:
            continue
        with pytest.raises(UserError):
            spk.read(io.BytesIO(data))
        if number % 5 == 0:
            try:
                kept, damages = spk.salvaged(io.BytesIO(data))
            except UserError:
                continue
            salvaged += 1
            lost = {damage.chunk for damage in damages}
            for chunk in range(kept.n_chunks):
                cells = slice(20 * chunk, min(20 * chunk + 20, kept.n_steps))
                expected = (
                    np.zeros_like(kept.events[:, cells]) if chunk in lost else recording.events[:, cells]
                )
                np.testing.assert_array_equal(kept.events[:, cells], expected)
                assert kept.loudness[chunk] == (0 if chunk in lost else recording.loudness[chunk])
    assert salvaged > N_FILES / 5 / 2


def test_bitstreams_whose_checksums_are_right():
    """A forger's files: any bytes in the frames and header, with checksums that fit."""
    recording = matrix(raster(6, 60, 0.2), chunk_steps=20)
    file = io.BytesIO()
    spk.write(file, recording)
    frames = list(spk.Reader(io.BytesIO(file.getvalue())).frames())
    random, refused = np.random.default_rng(1), 0
    for number in range(N_FILES):
        head = file.getvalue()[: spk.Reader(io.BytesIO(file.getvalue())).first - 4]
        if number % 2:
            body = damaged(head[6:], random)[:255]
            head = head[:5] + bytes([len(body)]) + body
        seed = struct.pack("<I", zlib.crc32(head))
        data = head + seed
        for chunk, frame in enumerate(frames):
            kind = int(random.integers(8))
            payload = damaged(frame.payload, random) if number % 3 else random.bytes(random.integers(1, 15))
            raw = layout.varint(len(payload) << 4 | kind << 1) + bytes([7]) + payload
            data += raw + layout.checksum(raw, seed, chunk)
        data += layout.pack_trailer(layout.Trailer(recording.n_samples, 3, []), seed)
        try:
            events = spk.read(io.BytesIO(data))
        except UserError:
            refused += 1
        else:
            assert events.n_samples == recording.n_samples
    assert N_FILES / 2 < refused < N_FILES


def test_packed_matrices():
    """The paper's formats have no checksum; what they accept is a matrix, and packs to the same bytes."""
    random = np.random.default_rng(2)
    for number in range(N_FILES):
        events = raster(12, 20, random.choice([0.02, 0.2, 0.6]), number)
        name = formats.FORMATS[number % 4]
        data = damaged(formats.pack(events, name) + b"\0", random)
        try:
            again = formats.pack(formats.unpack(data, name, 12, 20, int(events.sum())), name)
        except formats.FormatError:
            continue
        assert again == data


def test_spike_trains(tmp_path):
    path = tmp_path / "a.h5"
    h5.write(path, {"a": matrix(raster(12, 300, 0.05)), "b": matrix(raster(3, 20, 0.5))})
    whole, random = path.read_bytes(), np.random.default_rng(3)
    for _ in range(N_FILES):
        data = damaged(whole, random)
        if data != whole:
            with pytest.raises(UserError):
                h5.SpikeTrains(io.BytesIO(data))


def forged(units: int, chunk_steps: int, n_chunks: int, full: bool = False) -> bytes:
    """A bitstream of silence, or of events in every cell, that claims to be large, with right checksums."""
    header = spk.Header(units, 22050, 512, chunk_steps=chunk_steps)
    data = layout.pack_header(header, "forged")
    seed, payload, sizes = data[-4:], layout.varint(units * chunk_steps if full else 0), []
    for chunk in range(n_chunks):
        frame = layout.pack_frame(
            layout.Frame("counted", len(payload), chunk_steps, chunk, payload), header, seed
        )
        data += frame
        sizes.append(len(frame))
    table = [sum(sizes[start : start + 16]) for start in range(0, n_chunks, 16)][:-1]
    return data + layout.pack_trailer(layout.Trailer(n_chunks * chunk_steps * 512, n_chunks, table), seed)


@pytest.mark.parametrize(
    "claim",
    [
        (2**39, 1, 1, False),
        (2**20, 256, 3, False),
        (1, 2**39, 1, False),
        (2**16, 256, 40, True),
        (256, 2**16, 30, True),
    ],
)
@pytest.mark.parametrize("read", [spk.read, spk.salvaged])
def test_absurd_claims_cost_no_memory(claim, read):
    data = forged(*claim)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="too large|not plausible"):
            read(io.BytesIO(data))
        assert tracemalloc.get_traced_memory()[1] < 250e6
    finally:
        tracemalloc.stop()


def test_long_silence_costs_little_memory_and_is_read():
    """Half an hour of 38 400 units in 2 kB, with a chunk lost: as a dense matrix it would be 700 MB."""
    data = bytearray(forged(38_400, 64, 300))
    data[len(data) // 2] ^= 1
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="--salvage"):
            spk.read(io.BytesIO(data))
        events, damages = spk.salvaged(io.BytesIO(data))
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
    assert (events.n_units, events.n_steps, events.n_events, len(damages)) == (38_400, 300 * 64, 0, 1)
    file = io.BytesIO()
    spk.write(file, events)
    assert spk.read(io.BytesIO(file.getvalue())) == events


@pytest.mark.parametrize("garbage", ["noise", "zeros", "heads"])
def test_salvaging_garbage_takes_no_time(garbage):
    file = io.BytesIO()
    spk.write(file, matrix(raster(80, 2000, 0.2)))
    start = spk.Reader(io.BytesIO(file.getvalue())).first
    random = np.random.default_rng(4).bytes(200_000)
    noise = {"noise": random, "zeros": bytes(200_000), "heads": b"\xd0\x9f\x01" * 70_000}[garbage]
    started = time.process_time()
    kept, damages = spk.salvaged(io.BytesIO(file.getvalue()[:start] + noise + file.getvalue()[start:]))
    assert kept == matrix(raster(80, 2000, 0.2)) and not damages
    assert time.process_time() - started < 60  # a hang, not a slow machine


def _write_again_and_again(module, path, files):
    while True:
        for file in files:
            module.write(path, file, force=True)


@pytest.mark.parametrize("module", [spk, h5])
def test_killed_writers_leave_the_old_file_or_the_new_one(tmp_path, module):
    path = tmp_path / "a.file"
    recordings = [matrix(raster(40, 600, 0.2, seed)) for seed in range(2)]
    files = [{"a": recording} for recording in recordings] if module is h5 else recordings
    random = np.random.default_rng(5)
    module.write(path, files[0])
    for _ in range(12):
        arguments = module, path, files
        process = multiprocessing.get_context("fork").Process(target=_write_again_and_again, args=arguments)
        process.start()
        time.sleep(random.uniform(0.02, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert module.read(path) in recordings
