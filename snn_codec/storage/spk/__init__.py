"""The bitstream (`.spk`): events in about as few bytes as theory allows, readable from a pipe, damage reported.

    write("a.spk", events, entropy_model=model)             # model: the checkpoint's EntropyModel, or None
    read("a.spk", entropy_model=model)                      # -> EventMatrix, equal to events
    for chunk in Reader(sys.stdin.buffer): ...              # bounded memory
    Reader(open("a.spk", "rb")).window(1000, 1256)          # -> bool [units, 256], reads only what it needs
    survey("a.spk")                                         # where its bytes are, without decoding events

`layout` says where every byte stands, `frames` reads the stored chunks, and `chunk` says how a chunk's events become
bytes; `writer` and `reader` go through a file in order, `salvage` finds what is undamaged in one that is not whole.
Names are imported when they are first used, so that a file can be surveyed without what codes events.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snn_codec.storage.spk.chunk import ideal_bits, pack_chunk
    from snn_codec.storage.spk.frames import Survey, breakdown, is_bitstream, survey
    from snn_codec.storage.spk.layout import FORMATS, MAGIC, WITHOUT_MODEL, Header
    from snn_codec.storage.spk.reader import Chunk, Reader, read
    from snn_codec.storage.spk.salvage import Damage, salvaged
    from snn_codec.storage.spk.writer import Writer, write

_HOMES = {
    "FORMATS": "layout",
    "MAGIC": "layout",
    "WITHOUT_MODEL": "layout",
    "Chunk": "reader",
    "Damage": "salvage",
    "Header": "layout",
    "Reader": "reader",
    "Survey": "frames",
    "Writer": "writer",
    "breakdown": "frames",
    "ideal_bits": "chunk",
    "is_bitstream": "frames",
    "pack_chunk": "chunk",
    "read": "reader",
    "salvaged": "salvage",
    "survey": "frames",
    "write": "writer",
}
__all__ = [
    "FORMATS",
    "MAGIC",
    "WITHOUT_MODEL",
    "Chunk",
    "Damage",
    "Header",
    "Reader",
    "Survey",
    "Writer",
    "breakdown",
    "ideal_bits",
    "is_bitstream",
    "pack_chunk",
    "read",
    "salvaged",
    "survey",
    "write",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value
