"""Sparsity levels of mu-SPARSE and `wide` ("prompts" in the paper): one byte a chunk sets how few events it has.

A level is a number from 0 (the most events) to `levels` - 1, in eighths. Departs: the paper's levels are integers;
eighths, between whose embeddings the model interpolates, let a rate be met within a few per cent.

The code 255 marks a chunk in which no level reaches the quality that was asked for; it is coded at level 0.
"""

from __future__ import annotations

import numpy as np

from snn_codec.errors import UserError

LEVEL_PARTS = 8
MAX_LEVELS = 32  # so that a code is a byte
UNREACHED = 255


def numbers(codes: np.ndarray) -> np.ndarray:
    """Decode codes of levels, uint8, to levels, float32."""
    return np.where(codes == UNREACHED, 0, codes / LEVEL_PARTS).astype(np.float32)


def valid(codes: np.ndarray, levels: int) -> bool:
    """Whether all codes, uint8, are levels of a model with `levels` of them."""
    return bool(np.all((codes <= (levels - 1) * LEVEL_PARTS) | (codes == UNREACHED)))


class Prompts:
    """The level of each chunk of a recording.

    Args:
        levels: How many levels the model has; 0 for none.
        level: One level for all chunks; or uint8 `[chunks]`, codes in eighths; or None, a quarter of the
            way up.

    Raises:
        UserError: The model has no such level, or none at all.
    """

    def __init__(self, levels: int, level: float | np.ndarray | None):
        self.levels = levels
        if not levels:
            if level is not None:
                raise UserError("this model has no levels; use wide or mu-sparse, or train one")
            return
        if isinstance(level, np.ndarray) and level.ndim:
            self._codes = level
            known = level.dtype == np.uint8 and level.ndim == 1 and len(level) and valid(level, levels)
        else:
            try:
                number = levels // 4 if level is None else float(level)
            except (TypeError, ValueError):
                number = -1
            known = 0 <= number <= levels - 1
            self._codes = np.array([round(number * LEVEL_PARTS)] if known else [], np.uint8)
        if not known:
            raise UserError(f"level {level} is not one of this model's, 0 to {levels - 1}")

    def codes(self, n_chunks: int) -> np.ndarray:
        """Codes of the first chunks, uint8 `[n_chunks]`; `[0]` without levels. The last one given is repeated."""
        if not self.levels:
            return np.zeros(0, np.uint8)
        return self._codes[np.minimum(np.arange(n_chunks), len(self._codes) - 1)]
