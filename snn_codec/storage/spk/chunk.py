"""A chunk's events as bytes: the formats of a bitstream, and the choice of the shortest.

    dense, coordinate, compressed_time, compressed_unit     the paper's four (`snn_codec.storage.formats`)
    counted, adaptive                                       entropy coder without one (`snn_codec.storage.entropy`)
    the others                                              entropy coder with an entropy model

All but dense and those of entropy models have the varint number of events before their bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snn_codec import costs
from snn_codec.cells import Cells, Sparse
from snn_codec.storage import entropy, formats
from snn_codec.storage.entropy_model import NO_SIDE, Coded, EntropyModel, Side
from snn_codec.storage.spk.layout import FORMATS, Damaged, Frame, parse_varint, varint

# Chunks of more cells are not tried in what is slow and cannot win. (Up to here all are tried, so that files of the
# usual chunks have the bytes that earlier versions wrote.)
LARGE_CELLS = 2**17


def pack_chunk(
    events: np.ndarray | Sparse, entropy_model: EntropyModel | None = None, side: Side = NO_SIDE
) -> tuple[str, bytes]:
    """Pack a chunk in the shortest of `layout.FORMATS`: the format's name, and the payload.

    Args:
        events: bool `[units, steps]`, or a list (`snn_codec.cells.Sparse`), which is quicker if the chunk is large.
        entropy_model: Entropy model to try as well.
        side: The chunk's codes of loudness and level, which an entropy model may use.
    """
    units, steps = events.shape
    large = units * steps > LARGE_CELLS
    if isinstance(events, Sparse) and not large:
        events = events.window(0, steps)
    n_events = events.n_events if isinstance(events, Sparse) else int(np.count_nonzero(events))
    payloads: dict[str, bytes] = {}
    if entropy_model is not None and (coded := _coded(events, entropy_model, side)) is not None:
        payloads[entropy_model.CHUNK_FORMAT] = coded
    tried = [] if large else ["adaptive"]
    least = costs.floor_bits(units, steps, n_events) / 8  # of `counted`
    if not large or not payloads or least < min(map(len, payloads.values())):
        tried.append("counted")
    _add(payloads, tried, events)
    bits = formats.packed_bits(units, steps, n_events)
    for name in dict.fromkeys(("dense", formats.best(units, steps, n_events))):
        if bits[name] <= 8 * min(map(len, payloads.values())):
            _add(payloads, [name], events)
    shortest = min(payloads, key=lambda name: (len(payloads[name]), FORMATS.index(name)))
    return shortest, payloads[shortest]


def _coded(events: np.ndarray | Sparse, entropy_model: EntropyModel, side: Side) -> bytes | None:
    if isinstance(events, Sparse):
        return entropy_model.encode_sparse(events, side)
    return entropy_model.encode(events, side)


def _add(payloads: dict[str, bytes], names: list[str], events: np.ndarray | Sparse) -> None:
    for name in names:
        dense = events.window(0, events.shape[1]) if isinstance(events, Sparse) else events
        payloads[name] = pack(dense, name)


def ideal_bits(events: np.ndarray, entropy_model: EntropyModel | None = None, side: Side = NO_SIDE) -> float:
    """Bits of a chunk, bool `[units, steps]`, in its cheapest format, before they are rounded up to bytes."""
    units, steps = events.shape
    packed = formats.packed_bits(units, steps, int(np.count_nonzero(events)))
    coded = list(entropy.bits(events).values())
    if entropy_model is not None:
        coded.append(entropy_model.bits(events, side))
    return min(*packed.values(), *coded)


def pack(events: np.ndarray, name: str) -> bytes:
    """Pack bool `[units, steps]` in the format `name`, which needs no entropy model."""
    if name == "dense":
        return formats.pack(events, name)
    count = varint(int(np.count_nonzero(events)))
    if name == "counted":
        return count + entropy.encode_counted(events)
    if name == "adaptive":
        return count + entropy.encode_adaptive(events)
    return count + formats.pack(events, name)


def decode_several(frames: Sequence[Frame], entropy_model: EntropyModel | None) -> dict[int, Cells]:
    """Decode side by side the frames that the entropy model has coded: their events by number.

    Raises:
        entropy.EntropyError: As `unpack`, of any of them.
    """
    if entropy_model is None:
        return {}
    ours = [frame for frame in frames if frame.format == entropy_model.CHUNK_FORMAT]
    chunks = [Coded(frame.payload, frame.steps, Side(frame.loudness, frame.level)) for frame in ours]
    cells = entropy_model.decode_several(chunks)
    return {frame.number: events for frame, events in zip(ours, cells, strict=True)}


def unpack(frame: Frame, units: int, entropy_model: EntropyModel | None) -> np.ndarray:
    """Unpack a frame whose checksum was right: bool `[units, steps]`.

    Raises:
        Damaged, formats.FormatError, entropy.EntropyError: No matrix packs to its payload.
    """
    data, steps = frame.payload, frame.steps
    if entropy_model is not None and frame.format == entropy_model.CHUNK_FORMAT:
        return entropy_model.decode(data, steps, Side(frame.loudness, frame.level))
    if frame.format == "dense":
        cells = np.unpackbits(np.frombuffer(data, np.uint8))
        return formats.unpack(data, "dense", units, steps, int(np.count_nonzero(cells)))
    n_events, position = parse_varint(data, 0)
    if n_events is None:
        raise Damaged("has no number of events")
    data = data[position:]
    if frame.format == "counted":
        return entropy.decode_counted(data, units, steps, n_events)
    if frame.format == "adaptive":
        return entropy.decode_adaptive(data, units, steps, n_events)
    return formats.unpack(data, frame.format, units, steps, n_events)
