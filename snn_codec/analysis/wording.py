"""Figures as text, for pages: a dash where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence

NONE = "–"


def figure(value: float, digits: int) -> str:
    """Return a value to so many digits.

    >>> figure(0.0506, 3), figure(float("nan"), 3)
    ('0.051', '–')
    """
    return f"{value:.{digits}f}" if math.isfinite(value) else NONE


def length(minutes: float) -> str:
    """Return how long some music is.

    >>> length(0.4), length(3.21), length(123.4)
    ('24 seconds', '3.2 minutes', '123 minutes')
    """
    if minutes < 1:
        return f"{60 * minutes:.0f} seconds"
    return f"{minutes:.{1 if minutes < 10 else 0}f} minutes"


def interval(values: Sequence[float], digits: int) -> str:
    """Return an estimate and, where there is one, its interval, from `[estimate, low, high]`.

    >>> interval([3, 1, 5], 0), interval([3, float("nan"), float("nan")], 0)
    ('3 (1 to 5)', '3')
    """
    estimate, low, high = values
    text = figure(estimate, digits)
    return (
        text if math.isnan(estimate) or math.isnan(low) else f"{text} ({low:.{digits}f} to {high:.{digits}f})"
    )
