"""Neurons by name: what a membrane keeps from step to step, and what a spike does to it.

    U_t = beta U_(t-1) + I_t;   z_t = H(U_t - threshold);   after a spike the next step has the same (`leaky`),
    U_(t+1) = I_(t+1) (`zero`), or U_(t+1) = beta U_t + I_(t+1) - threshold (`subtract`)

`stateless` has beta = 0, as in the paper.
"""

from __future__ import annotations

from typing import Any

from snn_codec.errors import UserError

STATELESS = "stateless"
RESETS = {"leaky": "none", "zero": "zero", "subtract": "subtract"}
# subtracting a threshold of 0 would be no reset
THRESHOLDS = {"leaky": 0.0, "zero": 0.0, "subtract": 1.0}


def parse(spec: str) -> tuple[str, float, float]:
    """`stateless`, `KIND:BETA` or `KIND:BETA:THRESHOLD` as (kind, beta, threshold).

    Raises:
        UserError: No neuron has this name, or a number is not one that it can have.
    """
    kind, *numbers = spec.strip().split(":")
    if kind == STATELESS and not numbers:
        return STATELESS, 0.0, 0.0
    if kind not in RESETS or not 1 <= len(numbers) <= 2:
        raise UserError(
            f"neuron {spec!r}: is not known; write {STATELESS}, or leaky, zero or subtract with beta, as in zero:0.9"
        )
    try:
        beta, threshold = float(numbers[0]), float(numbers[1]) if len(numbers) > 1 else THRESHOLDS[kind]
    except ValueError as error:
        raise UserError(f"neuron {spec!r}: beta and threshold must be numbers, as in {kind}:0.9") from error
    if not 0 < beta < 1:
        raise UserError(f"neuron {spec!r}: beta must be above 0 and below 1, not {beta:g}")
    if not abs(threshold) < float("inf") or (kind == "subtract" and threshold <= 0):
        raise UserError(f"neuron {spec!r}: its threshold must be a number, above 0 if it is subtracted")
    return kind, beta, threshold


def label(kind: str, beta: float, threshold: float) -> str:
    """The shortest spec that `parse` turns into these."""
    if kind == STATELESS:
        return STATELESS
    short = f"{kind}:{beta!r}"
    return short if threshold == THRESHOLDS[kind] else f"{short}:{threshold!r}"


def fields(spec: str) -> dict[str, Any]:
    """The settings of a spiking bottleneck with this neuron."""
    kind, beta, threshold = parse(spec)
    return {"beta": beta, "reset": RESETS.get(kind, "none"), "threshold": threshold}
