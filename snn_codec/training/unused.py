"""Settings that the phase of a training would not look at: a run that has them is refused, not trained without them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from snn_codec import settings as config
from snn_codec.errors import UserError


def check(settings: config.Config) -> None:
    """See that no setting is changed that would make no difference.

    Raises:
        UserError: One is.
    """
    for name, why in _unused(settings):
        raise UserError(f"{name} would change nothing: {why}; leave it out")


def _unused(settings: config.Config) -> Iterator[tuple[str, str]]:
    """Names of such settings, and why they are."""
    training, phase, bottleneck = settings.training, settings.phase, settings.model.bottleneck
    whole = isinstance(phase, config.Plain)
    events_learn = whole or (isinstance(phase, config.Gan) and not phase.frozen)
    if not whole:
        for name, now, default in _changed(training.loss):
            if name != "residual" or not events_learn:
                yield (
                    f"training.loss.{name}={now} (not {default})",
                    f"the phase {phase.kind} has its own loss",
                )
        for name, now, default in _changed(training.sparsity):
            yield (
                f"training.sparsity.{name}={now} (not {default})",
                f"the phase {phase.kind} trains no sparsity",
            )
    elif not bottleneck.has_spikes:
        for name, value in (
            ("sparsity.goal", training.sparsity.goal),
            ("loss.correlation", training.loss.correlation),
        ):
            if value:
                yield (
                    f"training.{name}={value}",
                    f"the bits of a bottleneck of kind {bottleneck.kind} have no gradient",
                )
    if training.frozen_norms and not events_learn:
        yield "training.frozen_norms=true", f"the phase {phase.kind} trains no batch norm"


def _changed(settings: config.Settings) -> Iterator[tuple[str, object, object]]:
    """Name, value and default of the fields that have another value than by default."""
    for field in dataclasses.fields(settings):
        if (value := getattr(settings, field.name)) != field.default:
            yield field.name, value, field.default
