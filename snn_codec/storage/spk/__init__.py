"""The bitstream (`.spk`): events in about as few bytes as theory allows, readable from a pipe, damage reported.

    write("a.spk", events, entropy_model=model)             # model: the checkpoint's EntropyModel, or None
    read("a.spk", entropy_model=model)                      # -> EventMatrix, equal to events
    for chunk in Reader(sys.stdin.buffer): ...              # bounded memory
    Reader(open("a.spk", "rb")).window(1000, 1256)          # -> bool [units, 256], reads only what it needs

`layout` says where every byte stands, `chunk` how a chunk's events become bytes; `writer` and `reader` go through a
file in order, `salvage` finds what is undamaged in one that is not whole.
"""

from snn_codec.storage.spk.chunk import ideal_bits, pack_chunk
from snn_codec.storage.spk.layout import FORMATS, MAGIC, WITHOUT_MODEL, Header
from snn_codec.storage.spk.reader import Chunk, Reader, breakdown, read
from snn_codec.storage.spk.salvage import Damage, salvaged
from snn_codec.storage.spk.writer import Writer, write

__all__ = [
    "FORMATS",
    "MAGIC",
    "WITHOUT_MODEL",
    "Chunk",
    "Damage",
    "Header",
    "Reader",
    "Writer",
    "breakdown",
    "ideal_bits",
    "pack_chunk",
    "read",
    "salvaged",
    "write",
]
