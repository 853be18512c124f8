"""The table of training phases, by the `kind` of their settings."""

from __future__ import annotations

from collections.abc import Callable

from snn_codec.training.coefficients import CoefficientsPhase
from snn_codec.training.filling import FillingPhase
from snn_codec.training.gan import GanPhase
from snn_codec.training.phase import Phase, Setup
from snn_codec.training.plain import PlainPhase
from snn_codec.training.sampled import SampledPhase

PHASES: dict[str, Callable[[Setup], Phase]] = {
    "plain": PlainPhase,
    "coefficients": CoefficientsPhase,
    "gan": GanPhase,
    "filling": FillingPhase,
    "flow": SampledPhase,
    "diffusion": SampledPhase,
}
