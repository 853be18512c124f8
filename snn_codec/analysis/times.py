"""Spans of time that an analysis uses, in milliseconds, so that models of different hops compare."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from snn_codec.errors import UserError

SECOND = 1000.0  # milliseconds: intervals of the jitter null, and how far a lag or latency is sought


class Steps(NamedTuple):
    """The spans on one grid.

    `half_width`: steps to both sides of an onset that count as near it; `lags`: the largest lag of a
    cross-correlation; `second`: steps of the jitter null's intervals, and within which a lag or latency is sought.
    """

    half_width: int
    lags: int
    second: int


@dataclass(frozen=True)
class Times:
    """What counts as near an onset, and how far a cross-correlation looks.

    The defaults are the paper's steps of 512 samples at 22 050 Hz: 13 steps around the onset, and 128 to each side.

    Attributes:
        half_width_ms: Half of the window around an onset; the window has whole steps, one at least.
        lags_ms: The largest lag.

    Raises:
        UserError: Not 0 <= half_width_ms < lags_ms, or not finite.

    Examples:
        >>> Times().on(22050 / 512), Times().on(22050 / 2048)
        (Steps(half_width=6, lags=128, second=43), Steps(half_width=1, lags=32, second=11))
    """

    half_width_ms: float = 150.0
    lags_ms: float = 2972.0

    def __post_init__(self) -> None:
        if not 0 <= self.half_width_ms < self.lags_ms <= 60_000:
            raise UserError(
                "the half width must be 0 ms or more and less than the largest lag, which is 60000 ms at most, not "
                f"{self.half_width_ms:g} ms and {self.lags_ms:g} ms"
            )

    def on(self, step_rate: float) -> Steps:
        """The spans in steps, of which there are `step_rate` a second.

        Raises:
            UserError: A step is so long that the window holds all lags.
        """
        a_step = 1000 / step_rate
        half_width = max(math.floor(self.half_width_ms / a_step), 0)
        lags = max(round(self.lags_ms / a_step), 1)
        if half_width >= lags:
            raise UserError(
                f"a step of this model is {a_step:.0f} ms, so that a half width of {self.half_width_ms:g} ms "
                f"holds all lags to {self.lags_ms:g} ms; take longer lags"
            )
        return Steps(half_width, lags, max(round(SECOND / a_step), 2))


PAPER = Times()
