"""A chunk's events as bytes: the formats of a bitstream, and the choice of the shortest.

The formats are the paper's four (`snn_codec.storage.formats`) and the entropy coder with one of three models
(`snn_codec.storage.entropy`); all but dense and learned have the varint number of events before their bits.
"""

from __future__ import annotations

import numpy as np

from snn_codec.storage import entropy, formats
from snn_codec.storage.entropy_model import EntropyModel
from snn_codec.storage.spk.layout import Damaged, Frame, parse_varint, varint


def pack_chunk(events: np.ndarray, entropy_model: EntropyModel | None = None) -> tuple[str, bytes]:
    """The cheapest of `layout.FORMATS` for a chunk, bool `[units, steps]`, and its payload in a bitstream."""
    lists = formats.best(*events.shape, int(np.count_nonzero(events)))
    names = dict.fromkeys(("dense", lists, "counted", "adaptive", *(["learned"] if entropy_model else [])))
    payloads = {name: pack(events, name, entropy_model) for name in names}
    shortest = min(payloads, key=lambda name: len(payloads[name]))
    return shortest, payloads[shortest]


def ideal_bits(events: np.ndarray, entropy_model: EntropyModel | None = None) -> float:
    """What the cheapest format of a chunk, bool `[units, steps]`, costs before it is rounded up to bytes."""
    n_events = int(np.count_nonzero(events))
    packed = min(formats.packed_bits(*events.shape, n_events).values())
    coded = entropy.bits(events) | ({"learned": entropy_model.bits(events)} if entropy_model else {})
    return min(packed, *coded.values())


def pack(events: np.ndarray, name: str, entropy_model: EntropyModel | None) -> bytes:
    """Bool `[units, steps]` in the format `name`."""
    if name == "dense":
        return formats.pack(events, name)
    if name == "learned":
        return entropy_model.encode(events)
    count = varint(int(np.count_nonzero(events)))
    if name == "counted":
        return count + entropy.encode_counted(events)
    if name == "adaptive":
        return count + entropy.encode_adaptive(events)
    return count + formats.pack(events, name)


def unpack(frame: Frame, units: int, entropy_model: EntropyModel | None) -> np.ndarray:
    """Bool `[units, steps]` of a frame whose checksum was right.

    Raises:
        Damaged, formats.FormatError, entropy.EntropyError: No matrix packs to its payload.
    """
    data, steps = frame.payload, frame.steps
    if frame.format == "learned":
        return entropy_model.decode(data, steps)
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
