"""Sizes and speeds of stored events, each beside its bound or a peer, in one run on one core.

    python experiments/storage_benchmark.py [--quick] [--model free]

The peer of the paper's four formats is the straightforward route: `scipy.sparse` for the lists, integers to bits by
shifting, `numpy.packbits`, and the same backwards. The flat layout beside HDF5 spike trains is what `h5py` makes of
plain integers (step, unit, index; gzip, shuffle, Fletcher-32). Real events are those of the shipped recording.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from scipy import sparse

from snn_codec import audio, costs
from snn_codec.cli import fatal
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import CHUNK_STEPS, EventMatrix
from snn_codec.storage import entropy, formats, h5, spk

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"
UNITS, STEPS, STEP_RATE = 80, CHUNK_STEPS, 22050 / 512
# where each format is the cheapest
DENSITY = {"dense": 0.3, "coordinate": 0.003, "compressed_time": 0.03, "compressed_unit": 0.11}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="free", help="a shipped model or a checkpoint folder (free)")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; half a minute")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    try:
        codec = Codec.load(options.model)
        sound, rate = audio.read(RECORDING)
        events = codec.encode(np.resize(sound, 60 * rate), rate)
        report_formats(random, 20 if options.quick else 400)
        report_floor(random, 4 if options.quick else 40)
        report_bitstream(codec, events)
        report_spike_trains(random, 100 if options.quick else 1000)
        report_flips(events, random, 50 if options.quick else 2000)
    except UserError as error:
        return fatal(error)
    return 0


def best_time(run: Callable[[], object], rounds: int = 5) -> float:
    """Seconds, the shortest of several."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def raster(density: float, random: np.random.Generator) -> np.ndarray:
    return random.random((UNITS, STEPS)) < density


def report_formats(random: np.random.Generator, n_matrices: int) -> None:
    """Pack and unpack in the paper's formats, and by the straightforward route."""
    print(f"Four formats, {UNITS} x {STEPS}, {n_matrices} matrices, pack and unpack:")
    print(f"{'':18}{'density':>9}{'M cells/s':>11}{'peer':>9}{'ratio':>8}")
    for name, density in DENSITY.items():
        matrices = [raster(density, random) for _ in range(n_matrices)]
        for events in matrices:
            bits = formats.packed_bits(UNITS, STEPS, int(events.sum()))[name]
            assert len(formats.pack(events, name)) == -(-bits // 8)
            assert (_peer_unpack(*_peer_pack(events, name), name) == events).all()

        def ours(matrices: list[np.ndarray] = matrices, name: str = name) -> None:
            for events in matrices:
                formats.unpack(formats.pack(events, name), name, UNITS, STEPS, int(np.count_nonzero(events)))

        def peers(matrices: list[np.ndarray] = matrices, name: str = name) -> None:
            for events in matrices:
                _peer_unpack(*_peer_pack(events, name), name)

        # in turns, so that a machine that is busy for a while slows both
        rounds = [(best_time(ours, 1), best_time(peers, 1)) for _ in range(9)]
        speeds = [n_matrices * UNITS * STEPS / min(times) / 1e6 for times in zip(*rounds, strict=True)]
        print(f"{name:18}{density:9.3f}{speeds[0]:11.0f}{speeds[1]:9.1f}{speeds[0] / speeds[1]:8.1f}")


def _peer_pack(events: np.ndarray, name: str) -> tuple[bytes, int]:
    """Packed bytes and the number of events, by scipy.sparse, shifts, and numpy.packbits."""
    if name == "dense":
        return np.packbits(events).tobytes(), int(np.count_nonzero(events))
    if name == "coordinate":
        matrix = sparse.coo_matrix(events)
        parts = [_peer_bits(matrix.row, UNITS - 1), _peer_bits(matrix.col, STEPS - 1)]
    else:
        matrix = sparse.csr_matrix(events if name == "compressed_time" else events.T)
        parts = [_peer_bits(matrix.indptr[1:-1], matrix.nnz), _peer_bits(matrix.indices, matrix.shape[1] - 1)]
    return np.packbits(np.concatenate([part.ravel() for part in parts])).tobytes(), matrix.nnz


def _peer_unpack(data: bytes, n_events: int, name: str) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if name == "dense":
        return bits.reshape(UNITS, STEPS).view(bool)
    if name == "coordinate":
        row, bits = _peer_numbers(bits, n_events, UNITS - 1)
        column, _ = _peer_numbers(bits, n_events, STEPS - 1)
        ones = np.ones(n_events, bool)
        return sparse.coo_matrix((ones, (row, column)), (UNITS, STEPS)).toarray()
    rows, columns = (UNITS, STEPS) if name == "compressed_time" else (STEPS, UNITS)
    pointers, bits = _peer_numbers(bits, rows - 1, n_events)
    indices, _ = _peer_numbers(bits, n_events, columns - 1)
    pointers = np.concatenate([[0], pointers, [n_events]])
    matrix = sparse.csr_matrix((np.ones(n_events, bool), indices, pointers), (rows, columns)).toarray()
    return matrix if name == "compressed_time" else matrix.T


def _peer_bits(values: np.ndarray, largest: int) -> np.ndarray:
    width = max(1, int(largest).bit_length())
    return (values[:, None] >> np.arange(width)[::-1] & 1).astype(np.uint8)


def _peer_numbers(bits: np.ndarray, count: int, largest: int) -> tuple[np.ndarray, np.ndarray]:
    width = max(1, int(largest).bit_length())
    numbers = bits[: count * width].reshape(count, width) @ (1 << np.arange(width)[::-1])
    return numbers, bits[count * width :]


def report_floor(random: np.random.Generator, n_matrices: int) -> None:
    """Independent events by the entropy coder without a checkpoint, beside log2 C(N T, K)."""
    print(f"\nEntropy coder on independent events, {n_matrices} matrices, bytes over log2 C(N T, K) / 8:")
    for density in (0.01, 0.03, 0.1, 0.3):
        over, worst = [], 0.0
        for _ in range(n_matrices):
            events = raster(density, random)
            floor = costs.floor_bits(UNITS, STEPS, int(events.sum())) / 8
            _, payload = spk.pack_chunk(events)
            over.append(len(payload) / floor - 1)
            worst = max(worst, len(payload) - 1.02 * floor)
        print(
            f"  density {density:4.2f}: {100 * np.mean(over):.2f} % over, "
            f"at most {worst:.1f} bytes beyond 2 % over"
        )


def report_bitstream(codec: Codec, events: EventMatrix) -> None:
    """Size of a file of real events beside the sum of its chunks' ideal code lengths, and the speed."""
    file = io.BytesIO()
    spk.write(file, events, entropy_model=codec.entropy_model)
    n_bytes = len(file.getvalue())
    parts = spk.breakdown(io.BytesIO(file.getvalue()))
    chunks = [events.events[:, start : start + STEPS] for start in range(0, events.n_steps, STEPS)]
    print(f"\nBitstream of the shipped recording, repeated to {events.duration:.0f} s, {parts['chunks']}:")
    ideal = sum(spk.ideal_bits(chunk, codec.entropy_model) for chunk in chunks) / 8
    print(
        f"  {n_bytes} bytes, {events.kbps(n_bytes):.3f} kbps; ideal {ideal:.0f}: "
        f"{100 * (n_bytes / ideal - 1):.2f} % over, {n_bytes - 1.02 * ideal:.1f} bytes beyond 2 % over"
    )
    dense = events.costs["dense"] / 8
    print(f"  one bit a cell would be {dense:.0f} bytes: {100 * (1 - n_bytes / dense):.1f} % less")

    def write() -> None:
        spk.write(io.BytesIO(), events, entropy_model=codec.entropy_model)

    def read() -> None:
        spk.read(io.BytesIO(file.getvalue()), entropy_model=codec.entropy_model)

    for what, run in (("write", write), ("read", read)):
        print(f"  {what}: {events.duration / best_time(run, 3):.0f} x real time")
    matrices = {"counted": raster(0.03, np.random.default_rng(1)), "adaptive": chunks[0]}
    for name, matrix in matrices.items():
        encode, decode = getattr(entropy, f"encode_{name}"), getattr(entropy, f"decode_{name}")
        data, n_events, seconds = encode(matrix), int(matrix.sum()), STEPS / STEP_RATE
        speeds = (
            seconds / best_time(lambda encode=encode, matrix=matrix: encode(matrix)),
            seconds / best_time(lambda decode=decode, data=data, n=n_events: decode(data, UNITS, STEPS, n)),
        )
        print(f"  {name} model: encode {speeds[0]:.0f} x, decode {speeds[1]:.0f} x real time")


def report_spike_trains(random: np.random.Generator, n_recordings: int) -> None:
    """A file of many recordings of one chunk each: size, beside the flat layout, and random access."""
    recordings = {}
    for number in range(n_recordings):
        matrix = np.zeros(UNITS * STEPS, bool)
        matrix[random.choice(matrix.size, 600, replace=False)] = True
        recordings[f"clip{number:04}"] = EventMatrix(
            matrix.reshape(UNITS, STEPS),
            22050,
            512,
            STEPS * 512,
            "0123456789abcdef",
            np.array([90], np.uint8),
        )
    print(f"\nHDF5 spike trains, {n_recordings} recordings of {UNITS} x {STEPS} with 600 events:")
    with tempfile.TemporaryDirectory() as folder:
        flat = Path(folder) / "flat.h5"
        sizes = []
        for values in (4096, 65536):  # that are read together: the more, the smaller
            _write_flat(flat, list(recordings.values()), values)
            sizes.append(flat.stat().st_size / n_recordings)
            print(f"  flat integers, gzip, {values} together: {sizes[-1]:.0f} bytes a recording")
        for compress in (False, True):
            path = Path(folder) / f"{compress}.h5"
            h5.write(path, recordings, compress=compress)
            names = random.permutation(list(recordings))[:500]
            with h5.SpikeTrains(path) as trains:

                def read(trains: h5.SpikeTrains = trains, names: np.ndarray = names) -> None:
                    for name in names:
                        trains[name]

                took = best_time(read, 3) / len(names)
                assert all(trains[name] == recordings[name] for name in names)
            ours = path.stat().st_size / n_recordings
            print(
                f"  {'gzip' if compress else 'default':8} {ours:.0f} bytes a recording, {ours / sizes[0]:.2f} and "
                f"{ours / sizes[1]:.2f} x flat; random access to one {1000 * took:.2f} ms"
            )


def _write_flat(path: Path, recordings: list[EventMatrix], values: int) -> None:
    lists = [events.indices() for events in recordings]
    chunks = (min(values, sum(len(step) for step, _ in lists)),)
    options = {"chunks": chunks, "compression": "gzip", "shuffle": True, "fletcher32": True}
    with h5py.File(path, "w") as file:
        file.create_dataset("step", data=np.concatenate([step for step, _ in lists]).astype("u2"), **options)
        file.create_dataset("unit", data=np.concatenate([unit for _, unit in lists]).astype("u1"), **options)
        file["indptr"] = np.cumsum([0, *(len(step) for step, _ in lists)])


def report_flips(events: EventMatrix, random: np.random.Generator, n_flips: int) -> None:
    """Files with one flipped bit: how many are noticed."""
    with tempfile.TemporaryDirectory() as folder:
        stream = io.BytesIO()
        spk.write(stream, events)
        trains = Path(folder) / "a.h5"
        h5.write(trains, {"a": events})
        print(f"\nOne flipped bit, {n_flips} places each:")
        for kind, whole, read in (
            (".spk", stream.getvalue(), spk.read),
            (".h5", trains.read_bytes(), h5.SpikeTrains),
        ):
            noticed = 0
            for place in random.integers(8 * len(whole), size=n_flips):
                data = bytearray(whole)
                data[place // 8] ^= 1 << place % 8
                try:
                    read(io.BytesIO(data))
                except UserError:
                    noticed += 1
            print(f"  {kind:5} {noticed} noticed ({100 * noticed / n_flips:.2f} %)")


if __name__ == "__main__":
    raise SystemExit(main())
