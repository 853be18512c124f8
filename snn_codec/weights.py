"""Weights in a file: as they are, or their matrices rounded to float16 or to 8-bit integers.

An 8-bit matrix `w` is stored as integers `w` in -127..127 and as `w.scale`, float32, one for each row (first index of
more than one value):
`w ~ w.scale w`, off by at most half a step of its row's largest weight / 127.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

SCALE = ".scale"
# the running sums behind RVQ's codes (vector-quantize-pytorch), which only training needs
SUMS, CODES, COUNTS = "_codebook.embed_avg", "_codebook.embed", "_codebook.cluster_size"
BOOKKEEPING = (SUMS, COUNTS, "_codebook.initted")  # codes nothing, and changes with the package's version


def digest(settings: Any, state: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits that stand for settings, as JSON has them, and weights."""
    hashed = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(state.items()):
        if name.endswith(BOOKKEEPING):
            continue
        hashed.update(name.encode())
        hashed.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()[:16]


def pack(
    state: Mapping[str, Tensor], weights: Literal["float32", "float16", "int8"] = "float32"
) -> dict[str, Tensor]:
    """A state dict as it is written: contiguous, on the CPU."""
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        value = value.detach().cpu().contiguous()
        if weights != "float32" and name.endswith(SUMS):
            continue
        if value.is_floating_point() and value.ndim > 1 and weights == "float16":
            value = value.half()
        elif value.is_floating_point() and value.ndim > 1 and weights == "int8":
            rows = value.float().reshape(next((size for size in value.shape if size > 1), 1), -1)
            scale = rows.abs().amax(1).clamp_min(1e-12) / 127
            tensors[name + SCALE] = scale
            value = (rows / scale[:, None]).round().to(torch.int8).view(value.shape)
        tensors[name] = value
    return tensors


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of what `pack` made, float32."""
    state: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in tensors:
            continue
        scale = tensors.get(name + SCALE)
        if scale is not None:
            rows = value.float().reshape(len(scale), -1) * scale[:, None]
            value = rows.view(value.shape)
        state[name] = value.float() if value.is_floating_point() else value
    for name in [name for name in state if name.endswith(CODES)]:
        counts = state[name.removesuffix(CODES) + COUNTS]
        state.setdefault(name.removesuffix(CODES) + SUMS, state[name] * counts[..., None])
    return state
