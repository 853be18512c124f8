"""What every coder that can be evaluated is: sound goes in, sound and what its code costs come out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

NONE = float("nan")


class Coded(NamedTuple):
    """A decoded clip, float32 as long as the clip, and what its code costs; NaN where there are no events."""

    audio: np.ndarray
    kbps: float
    dense_kbps: float = NONE
    density: float = NONE
    events_per_second: float = NONE


class Coder(Protocol):
    """Whatever makes a clip of `length` samples at `sample_rate` smaller, and gives it back.

    `fingerprint` changes when the results may.
    """

    name: str
    fingerprint: str
    sample_rate: int
    length: int

    def code(self, clip: np.ndarray) -> Coded: ...
