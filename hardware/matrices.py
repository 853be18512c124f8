"""Weights that are a dense array, or a sparse one (`scipy.sparse.csr_array`) where most are 0: what both can do.

A thermometer code has thousands of units with one input each; dense, its weights would be hundreds of megabytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import csr_array

Weights: TypeAlias = Any  # np.ndarray | csr_array; scipy has no types


def values(weight: Weights) -> np.ndarray:
    """All weights of a dense array, those that are stored of a sparse one."""
    return weight if isinstance(weight, np.ndarray) else weight.data


def mapped(function: Callable[..., np.ndarray], weight: Weights, *others: Weights) -> Weights:
    """`function` of each weight, and of the same weight of others that have the same places; 0 must become 0."""
    if isinstance(weight, np.ndarray):
        return function(weight, *others)
    data = function(weight.data, *(other.data for other in others))
    return csr_array((data, weight.indices, weight.indptr), weight.shape)


def scaled(weight: Weights, rows: np.ndarray | float = 1.0, columns: np.ndarray | float = 1.0) -> Weights:
    """Each weight `[N, n]` times the factor of its row `[N]` and of its column `[n]`."""
    rows = np.broadcast_to(rows, weight.shape[:1])
    columns = np.broadcast_to(columns, weight.shape[1:])
    if isinstance(weight, np.ndarray):
        return weight * rows[:, None] * columns
    data = weight.data * np.repeat(rows, np.diff(weight.indptr)) * columns[weight.indices]
    return csr_array((data, weight.indices, weight.indptr), weight.shape)


def row_sums(weight: Weights) -> np.ndarray:
    """The sum of each row, `[N]`."""
    return np.asarray(weight.sum(axis=1)).ravel()


def row_peaks(weight: Weights) -> np.ndarray:
    """The largest absolute value of each row, `[N]`."""
    largest = abs(weight).max(axis=1)
    return np.asarray(largest if isinstance(weight, np.ndarray) else largest.toarray()).ravel()


def nonzero_columns(weight: Weights) -> np.ndarray:
    """How many weights of each column are not 0, `[n]`."""
    if isinstance(weight, np.ndarray):
        return np.count_nonzero(weight, 0)
    return np.bincount(weight.indices[weight.data != 0], minlength=weight.shape[1])
