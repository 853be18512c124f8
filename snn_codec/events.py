"""The one data type: a binary event matrix and what is needed to turn it back into sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict

import numpy as np
from numpy.typing import NDArray

from snn_codec import costs, tokens
from snn_codec.cells import Builder, Cells, Dense, Sparse, equal, listed, stored
from snn_codec.errors import UserError
from snn_codec.floor import MAX_BANDS, TOP

if TYPE_CHECKING:
    import neo
    import pandas
    from typing_extensions import Unpack

__all__ = ["CHUNK_STEPS", "Builder", "EventMatrix", "Metadata", "steps_for"]

CHUNK_STEPS = 256  # the paper's clip: 2**17 samples at a hop of 512


def steps_for(n_samples: int, hop: int) -> int:
    """Number of steps that cover `n_samples` samples: ceil(n_samples / hop)."""
    return -(-n_samples // hop)


class Metadata(TypedDict, total=False):
    """The fields of an `EventMatrix` apart from its events, as keyword arguments."""

    sample_rate: int
    hop: int
    n_samples: int
    fingerprint: str
    loudness: NDArray[np.uint8]
    chunk_steps: int
    levels: NDArray[np.uint8]
    floor: NDArray[np.uint8]


@dataclass(frozen=True, eq=False, repr=False, init=False)
class EventMatrix:
    """The code of one recording: which of N units fired at which of T steps.

    Step t stands for the samples [t hop, (t + 1) hop) at `sample_rate`; seconds are derived, never stored.
    A large matrix with few events is stored as a list (`snn_codec.cells`) to save memory. `window` gives a part as a
    dense matrix, `events` all of it, and `indices` the list.

    Args:
        events: bool `[N units, T steps]`, which is copied; or what a `Builder` has collected.

    Attributes:
        sample_rate: Samples per second of the coded audio.
        hop: Samples per step.
        n_samples: Length of the recording in samples at `sample_rate`; T = ceil(n_samples / hop).
        fingerprint: Of the checkpoint that made the events ("" if none did).
        loudness: uint8 `[ceil(T / chunk_steps)]`, the quantised loudness of each chunk (`snn_codec.loudness`);
            empty if the events carry none.
        chunk_steps: Steps per chunk of the canonical grid.
        levels: uint8 `[ceil(T / chunk_steps)]`, the level that each chunk was made with, in eighths
            (`snn_codec.levels`); empty if the model has no levels.
        floor: uint8 `[ceil(T / chunk_steps), B]`, how loud is what the events leave out, by band (`snn_codec.floor`);
            empty if nothing was measured.

    Raises:
        TypeError: `events` is not a boolean matrix, or an integer field is not an integer.
        ValueError: A field contradicts another; the message says which.

    Examples:
        >>> events = EventMatrix(np.eye(3, dtype=bool), sample_rate=22050, hop=512, n_samples=1500)
        >>> events
        EventMatrix(3 units x 3 steps, 3 events, 0.068 s)
        >>> events.window(1, 3).shape
        (3, 2)
    """

    cells: Cells
    sample_rate: int
    hop: int
    n_samples: int
    fingerprint: str
    loudness: NDArray[np.uint8]
    chunk_steps: int
    levels: NDArray[np.uint8]
    floor: NDArray[np.uint8]

    def __init__(
        self,
        events: NDArray[np.bool_] | Cells,
        sample_rate: int,
        hop: int,
        n_samples: int,
        fingerprint: str = "",
        loudness: NDArray[np.uint8] | None = None,
        chunk_steps: int = CHUNK_STEPS,
        levels: NDArray[np.uint8] | None = None,
        floor: NDArray[np.uint8] | None = None,
    ) -> None:
        integers = {
            "sample_rate": sample_rate,
            "hop": hop,
            "n_samples": n_samples,
            "chunk_steps": chunk_steps,
        }
        self._set(cells=_cells(events), fingerprint=fingerprint)
        self._set(**{name: _positive(name, value) for name, value in integers.items()})
        if self.n_units < 1:
            raise ValueError("events has no units")
        if self.n_steps != steps_for(self.n_samples, self.hop):
            raise ValueError(
                f"events has {self.n_steps} steps, but {self.n_samples} samples at a hop of {self.hop} "
                f"are {steps_for(self.n_samples, self.hop)} steps (did you pass seconds?)"
            )
        self._set(loudness=self._codes("loudness", loudness), levels=self._codes("levels", levels))
        self._set(floor=self._bands(floor))

    def _set(self, **fields: object) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _codes(self, name: str, codes: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        codes = np.zeros(0, np.uint8) if codes is None else np.array(codes)
        if codes.dtype != np.uint8 or codes.shape not in ((0,), (self.n_chunks,)):
            raise ValueError(
                f"{name} must be uint8 [{self.n_chunks}], one a chunk of {self.chunk_steps} steps, or empty, "
                f"not {codes.dtype} {codes.shape}"
            )
        codes.flags.writeable = False
        return codes

    def _bands(self, codes: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        codes = np.zeros((0, 0), np.uint8) if codes is None else np.array(codes)
        right = codes.ndim == 2 and len(codes) == self.n_chunks and 1 <= codes.shape[1] <= MAX_BANDS
        if codes.dtype != np.uint8 or not (codes.shape == (0, 0) or right) or np.any(codes > TOP):
            raise ValueError(
                f"floor must be uint8 [{self.n_chunks}, 1 to {MAX_BANDS}], 0 to {TOP}, a row a chunk of "
                f"{self.chunk_steps} steps, or empty, not {codes.dtype} {codes.shape}"
            )
        codes.flags.writeable = False
        return codes

    @classmethod
    def from_indices(
        cls,
        steps: NDArray[np.integer],
        units: NDArray[np.integer],
        n_units: int,
        **metadata: Unpack[Metadata],
    ) -> EventMatrix:
        """Make a matrix from the steps and units of its events, in any order.

        Args:
            steps: Integers `[K]`.
            units: Integers `[K]`.
            n_units: N.
            **metadata: The fields of the class.

        Raises:
            ValueError: An event lies outside the matrix or is given twice; or as the class.
        """
        n_steps = steps_for(metadata["n_samples"], metadata["hop"])
        return cls(listed(steps, units, n_units, n_steps), **metadata)

    @classmethod
    def from_integers(
        cls,
        integers: NDArray[np.integer],
        n_units: int,
        *,
        bits: int = tokens.BITS,
        **metadata: Unpack[Metadata],
    ) -> EventMatrix:
        """Invert `to_integers`. Without `n_samples`, the last step counts as full.

        Args:
            integers: int `[T, ceil(N / bits)]`.
            n_units: N.
            bits: As in `to_integers`.
            **metadata: The fields of the class.

        Raises:
            ValueError: The integers are not the packing of a matrix (`snn_codec.tokens`); or as the class.
        """
        return cls._of_sequence(tokens.from_integers(integers, n_units, bits), metadata)

    @classmethod
    def from_tokens(
        cls,
        sequence: NDArray[np.integer],
        n_units: int,
        *,
        max_shift: int = tokens.MAX_SHIFT,
        **metadata: Unpack[Metadata],
    ) -> EventMatrix:
        """Invert `to_tokens`. Without `n_samples`, the last step counts as full.

        Args:
            sequence: int `[tokens]`.
            n_units: N.
            max_shift: As in `to_tokens`.
            **metadata: The fields of the class.

        Raises:
            ValueError: The sequence is not one of tokens of N units (`snn_codec.tokens`); or as the class.
        """
        return cls._of_sequence(tokens.from_tokens(sequence, n_units, max_shift), metadata)

    @classmethod
    def _of_sequence(cls, cells: Cells, metadata: Metadata) -> EventMatrix:
        if "n_samples" not in metadata:
            metadata = {**metadata, "n_samples": cells.shape[1] * metadata["hop"]}
        return cls(cells, **metadata)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EventMatrix):
            return NotImplemented
        plain = ("sample_rate", "hop", "n_samples", "fingerprint", "chunk_steps")
        return (
            all(getattr(self, name) == getattr(other, name) for name in plain)
            and np.array_equal(self.loudness, other.loudness)
            and np.array_equal(self.levels, other.levels)
            and np.array_equal(self.floor, other.floor)
            and equal(self.cells, other.cells)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        model = f", model {self.fingerprint}" if self.fingerprint else ""
        return (
            f"EventMatrix({self.n_units} units x {self.n_steps} steps, {self.n_events} events, "
            f"{self.duration:.3f} s{model})"
        )

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "an EventMatrix is no array: use .events (bool [units, steps]), .window(start, stop) for a part, "
            "or .indices() for the steps and units of its events"
        )

    @property
    def metadata(self) -> Metadata:
        """The fields apart from the events: `EventMatrix(other.events, **other.metadata) == other`."""
        return {name: getattr(self, name) for name in Metadata.__annotations__}  # type: ignore[return-value]

    def replace(self, **changes: Any) -> EventMatrix:
        """A copy with other `events` or fields.

        Raises:
            TypeError, ValueError: As the class.
        """
        fields: dict[str, Any] = {"events": self.cells, **self.metadata}
        return EventMatrix(**(fields | changes))

    @property
    def events(self) -> NDArray[np.bool_]:
        """All events as a dense matrix: bool `[N units, T steps]`, read-only; computed on each access from a list."""
        return self.window(0, self.n_steps)

    def window(self, start: int, stop: int) -> NDArray[np.bool_]:
        """The events of steps [start, stop): bool `[units, stop - start]`, read-only.

        Raises:
            ValueError: Not 0 <= start <= stop <= T.
        """
        if not 0 <= start <= stop <= self.n_steps:
            raise ValueError(f"steps {start}..{stop} are not inside the recording (0..{self.n_steps})")
        return self.cells.window(start, stop)

    def chunks(self) -> Iterator[NDArray[np.bool_]]:
        """The chunks of the canonical grid in order: bool `[units, up to chunk_steps]`."""
        for start in range(0, self.n_steps, self.chunk_steps):
            yield self.window(start, min(start + self.chunk_steps, self.n_steps))

    def chunk_cells(self) -> Iterator[Cells]:
        """As `chunks`, each as it is held: a dense matrix or a list (`snn_codec.cells`)."""
        for start in range(0, self.n_steps, self.chunk_steps):
            yield self.cells.part(start, min(start + self.chunk_steps, self.n_steps))

    def indices(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Step and unit of every event, by step and then by unit: int64 `[K]` each."""
        return self.cells.indices()

    def step_counts(self) -> NDArray[np.int64]:
        """Events of each step: int64 `[T]`."""
        return self.cells.step_counts()

    def unit_counts(self) -> NDArray[np.int64]:
        """Events of each unit: int64 `[N]`."""
        return self.cells.unit_counts()

    def to_integers(self, bits: int = tokens.BITS) -> NDArray[np.int64]:
        """Each step as integers of `bits` bits: int64 `[T, ceil(N / bits)]` (`snn_codec.tokens`).

        `from_integers` is the inverse. Loudness, levels and floor, some bytes a chunk, are in `metadata`.

        Raises:
            ValueError: `bits` is not 1 to 62.

        Examples:
            >>> events = EventMatrix(np.eye(3, dtype=bool), sample_rate=22050, hop=512, n_samples=1500)
            >>> events.to_integers(bits=2).tolist()
            [[2, 0], [1, 0], [0, 2]]
        """
        return tokens.to_integers(self.cells, bits)

    def to_tokens(self, max_shift: int = tokens.MAX_SHIFT) -> NDArray[np.int64]:
        """Unit and time-shift tokens, as MIDI language models have them: int64 `[tokens]` (`snn_codec.tokens`).

        `from_tokens` is the inverse. Loudness, levels and floor, some bytes a chunk, are in `metadata`.

        Raises:
            ValueError: `max_shift` is less than 1.

        Examples:
            >>> events = EventMatrix(np.eye(3, dtype=bool), sample_rate=22050, hop=512, n_samples=1500)
            >>> events.to_tokens().tolist()
            [0, 3, 1, 3, 2, 3]
        """
        return tokens.to_tokens(self.cells, max_shift)

    def to_dataframe(self) -> pandas.DataFrame:
        """Make a pandas table of one row per event: `step`, `unit` and `seconds` (the middle of the step).

        Raises:
            UserError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UserError("to_dataframe needs pandas; install it with: pip install pandas") from error
        steps, units = self.indices()
        return pandas.DataFrame({"step": steps, "unit": units, "seconds": self.seconds(steps)})

    def to_neo(self) -> neo.Segment:
        """Make a `neo.Segment` of one spike train per unit, events in the middle of their steps.

        Raises:
            UserError: neo is not installed.
        """
        try:
            import neo
        except ImportError as error:
            raise UserError("to_neo needs neo; install it with: pip install neo") from error
        steps, units = self.indices()
        order = np.argsort(units, kind="stable")
        trains = np.split(self.seconds(steps[order]), np.cumsum(self.unit_counts())[:-1])
        segment = neo.Segment(name=self.fingerprint)
        end = self.n_steps / self.step_rate
        segment.spiketrains = [
            neo.SpikeTrain(times, units="s", t_start=0, t_stop=end, unit=unit)
            for unit, times in enumerate(trains)
        ]
        return segment

    def seconds(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Times of the middle of these steps, in seconds."""
        return (steps + 0.5) * self.hop / self.sample_rate

    @property
    def n_units(self) -> int:
        """N, the number of units."""
        return self.cells.shape[0]

    @property
    def n_steps(self) -> int:
        """T, the number of steps."""
        return self.cells.shape[1]

    @property
    def n_cells(self) -> int:
        """N T, the number of cells."""
        return self.n_units * self.n_steps

    @property
    def n_chunks(self) -> int:
        """Chunks of the canonical grid; the last one may be shorter."""
        return steps_for(self.n_steps, self.chunk_steps)

    @cached_property
    def n_events(self) -> int:
        """K, the number of events."""
        return self.cells.n_events

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
        return self.n_events / self.n_cells

    @property
    def events_per_second(self) -> float:
        """Events of all units per second of audio."""
        return self.n_events / self.duration

    @property
    def costs(self) -> dict[str, int]:
        """Bits in each of the paper's four formats (`snn_codec.costs`)."""
        return costs.all_bits(self.n_units, self.n_steps, self.n_events)

    def kbps(self, n_bytes: float) -> float:
        """Bit rate in kbit/s of a file of `n_bytes` bytes that holds this recording."""
        return n_bytes * 8 / self.duration / 1000


def _cells(events: NDArray[np.bool_] | Cells) -> Cells:
    if isinstance(events, (Dense, Sparse)):
        return events
    events = np.asarray(events)
    if events.dtype != np.bool_ or events.ndim != 2:
        raise TypeError(f"events must be a boolean matrix [units, steps], not {events.dtype} {events.shape}")
    return stored(events)


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return int(value)
