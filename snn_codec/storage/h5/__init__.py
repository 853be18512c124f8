"""HDF5 spike trains (`.h5`), the analysis form: many recordings in one SONATA file, exact integers kept.

    write("corpus.h5", {"a": events_a, "b": events_b})
    read("corpus.h5", "a")                                  # -> EventMatrix, equal to events_a
    trains = SpikeTrains("corpus.h5")                       # lazy; a Mapping from name to EventMatrix
    trains.window("a", 1000, 1256)                          # -> bool [units, 256], reads only what it needs

`layout` says what the file holds, `seal` how a change by another program is noticed.

HDF5 costs kilobytes a file: never quote its size as a bit rate (`snn_codec.storage.spk` is for that).
"""

from snn_codec.storage.h5.layout import Recording
from snn_codec.storage.h5.reader import SpikeTrains, names, read
from snn_codec.storage.h5.repair import check_content, is_sealed, reseal
from snn_codec.storage.h5.seal import SEAL, seal
from snn_codec.storage.h5.writer import write

__all__ = [
    "SEAL",
    "Recording",
    "SpikeTrains",
    "check_content",
    "is_sealed",
    "names",
    "read",
    "reseal",
    "seal",
    "write",
]
