"""The one data type: a binary event matrix and what is needed to turn it back into sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from snn_codec import costs

CHUNK_STEPS = 256  # the paper's clip: 2**17 samples at a hop of 512


def steps_for(n_samples: int, hop: int) -> int:
    """Steps that cover `n_samples`: ceil(n_samples / hop)."""
    return -(-n_samples // hop)


@dataclass(frozen=True, eq=False)
class EventMatrix:
    """Which unit fired at which step, of one recording.

    Step t stands for the samples [t hop, (t + 1) hop) at `sample_rate`; seconds are derived, never stored.

    Attributes:
        events: bool `[N units, T steps]`, read-only.
        sample_rate: Samples per second of the coded audio.
        hop: Samples per step.
        n_samples: Length of the recording in samples at `sample_rate`; T = ceil(n_samples / hop).
        fingerprint: Of the checkpoint that made the events ("" if none did).
        loudness: uint8 `[ceil(T / chunk_steps)]`, the quantised loudness of each chunk (`snn_codec.loudness`);
            empty if the events carry none.
        chunk_steps: Steps per chunk of the canonical grid.
        levels: uint8 `[ceil(T / chunk_steps)]`, the compression level that each chunk was made with, in
            eighths (`snn_codec.levels`); empty if the model has no levels.

    Raises:
        TypeError: `events` is not a boolean matrix, or an integer field is not an integer.
        ValueError: A field contradicts another; the message says which.
    """

    events: np.ndarray
    sample_rate: int
    hop: int
    n_samples: int
    fingerprint: str = ""
    loudness: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    chunk_steps: int = CHUNK_STEPS
    levels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))

    def __post_init__(self) -> None:
        events = np.asarray(self.events)
        if events.dtype != np.bool_ or events.ndim != 2:
            raise TypeError(
                f"events must be a boolean matrix [units, steps], not {events.dtype} {events.shape}"
            )
        for name in ("sample_rate", "hop", "n_samples", "chunk_steps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
            object.__setattr__(self, name, int(value))
        units, steps = events.shape
        if units < 1:
            raise ValueError("events has no units")
        if steps != steps_for(self.n_samples, self.hop):
            raise ValueError(
                f"events has {steps} steps, but {self.n_samples} samples at a hop of {self.hop} "
                f"are {steps_for(self.n_samples, self.hop)} steps (did you pass seconds?)"
            )
        arrays = {"events": events}
        for name in ("loudness", "levels"):
            arrays[name] = codes = np.asarray(getattr(self, name))
            if codes.dtype != np.uint8 or codes.shape not in ((0,), (steps_for(steps, self.chunk_steps),)):
                raise ValueError(
                    f"{name} must be uint8 [{steps_for(steps, self.chunk_steps)}], one a chunk of "
                    f"{self.chunk_steps} steps, or empty, not {codes.dtype} {codes.shape}"
                )
        for name, array in arrays.items():
            array = array.copy()
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EventMatrix):
            return NotImplemented
        return (
            (self.sample_rate, self.hop, self.n_samples, self.fingerprint, self.chunk_steps)
            == (other.sample_rate, other.hop, other.n_samples, other.fingerprint, other.chunk_steps)
            and np.array_equal(self.events, other.events)
            and np.array_equal(self.loudness, other.loudness)
            and np.array_equal(self.levels, other.levels)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def n_units(self) -> int:
        """N, the number of units."""
        return self.events.shape[0]

    @property
    def n_steps(self) -> int:
        """T, the number of steps."""
        return self.events.shape[1]

    @property
    def n_chunks(self) -> int:
        """Chunks of the canonical grid; the last one may be shorter."""
        return steps_for(self.n_steps, self.chunk_steps)

    @cached_property
    def n_events(self) -> int:
        """K, the number of events."""
        return int(np.count_nonzero(self.events))

    @property
    def step_rate(self) -> float:
        """Steps per second, sample_rate / hop (the paper: 43.07 Hz)."""
        return self.sample_rate / self.hop

    @property
    def duration(self) -> float:
        """Length of the recording in seconds."""
        return self.n_samples / self.sample_rate

    @property
    def density(self) -> float:
        """Events per cell, K / (N T)."""
        return self.n_events / self.events.size

    @property
    def events_per_second(self) -> float:
        """Events of all units per second of audio."""
        return self.n_events / self.duration

    @property
    def costs(self) -> dict[str, int]:
        """Bits in each of the paper's four formats (`snn_codec.costs`)."""
        return costs.all_bits(self.n_units, self.n_steps, self.n_events)

    def kbps(self, n_bytes: float) -> float:
        """Kilobits per second of audio if this recording is stored in `n_bytes`."""
        return n_bytes * 8 / self.duration / 1000
