"""What an HDF5 file of spike trains holds.

Layout, version 1, 2 if recordings have levels, or 3 if they have a floor (every dataset is one-dimensional and carries
Fletcher-32 checksums):

    /                         magic, version: a SONATA file
    /spikes/units             sorting = by_time; one flat population, the recordings one after the other
        timestamps            float64 ms, the middle of the event's step, to within 1/8 step
        node_ids              uint64 unit
    /clips                    one row a chunk of `chunk_steps` steps; a recording starts a new clip
        indptr                int64 [clips + 1]: the events of clip c are indptr[c]:indptr[c + 1]
        level                 uint8 code of the loudness, 0 where the recording has none
        compression           from version 2: uint8 code of the level, 0 where the recording has none
        floor                 version 3: uint8, one chunk after the other: a code a band, where the recording has any
    /recordings               one row a recording
        name, fingerprint     UTF-8, fixed length
        sample_rate, hop, n_samples, n_units, chunk_steps, has_levels; from version 2: has_compression;
            version 3: floor_bands
        start_ms              float64; step = floor((timestamp - start_ms) * sample_rate / (1000 hop))
"""

from __future__ import annotations

from dataclasses import dataclass

from snn_codec.events import steps_for

FORMAT = "snn_codec.spiketrains"
VERSIONS = 1, 2, 3  # without levels, with them, and with a floor
POPULATION = "spikes/units"
SONATA_MAGIC, SONATA_VERSION = 0x0A7A, (0, 1)
SORTING = {"none": 0, "by_id": 1, "by_time": 2}

MAX_TEXT_BYTES = 255
MAX_INTEGER = 2**53  # of any metadata field, and of a timestamp in units of its resolution

# The integer columns of /recordings by version; two have an older name in the file.
NUMBERS: dict[int, tuple[str, ...]] = {
    1: ("sample_rate", "hop", "n_samples", "n_units", "chunk_steps", "has_loudness")
}
NUMBERS[2] = (*NUMBERS[1], "has_levels")
NUMBERS[3] = (*NUMBERS[2], "floor_bands")
IN_FILE = {"has_loudness": "has_levels", "has_levels": "has_compression"}


@dataclass(frozen=True)
class Recording:
    """The metadata of one recording."""

    name: str
    fingerprint: str
    sample_rate: int
    hop: int
    n_samples: int
    n_units: int
    chunk_steps: int
    has_loudness: int
    start_ms: float
    has_levels: int = 0
    floor_bands: int = 0

    @property
    def n_steps(self) -> int:
        """T, the number of steps."""
        return steps_for(self.n_samples, self.hop)

    @property
    def n_clips(self) -> int:
        """Number of rows in `/clips`."""
        return steps_for(self.n_steps, self.chunk_steps)

    @property
    def step_ms(self) -> float:
        """Length of a step in milliseconds."""
        return 1000 * self.hop / self.sample_rate
