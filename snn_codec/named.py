"""What a name asks for where models are compared: a model, and how it is to code.

free, runs/mine/best      a shipped model, or a checkpoint folder
wide@4, mu-sparse@12.5    at one of its levels, if the model has levels
wide@2.6kbps              at the level that meets this rate, for each recording by itself
free+gan                  with another of its decoders, if it has any
free+flow:12              with that many steps of its sampler
sparse+search:20          with so many steps of the search for better events
wide+filling@11           all of these in this order

It is taken apart, and checked against the checkpoint's settings, without torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_codec.checkpoints import PLAIN, Checkpoint
from snn_codec.errors import UserError
from snn_codec.levels import Prompts
from snn_codec.settings import Phase


@dataclass(frozen=True)
class Named:
    """A model and how it is to code.

    Attributes:
        model: A shipped model, or a checkpoint folder.
        decoder: The name of its decoder.
        sampler_steps: Of that decoder; 0 for as many as it was made for.
        search: Steps of the search for better events; 0 for none.
        level: One of the model's levels; None for its own choice.
        kbps: The rate that a level is to meet; None for no such rate.
    """

    model: str
    decoder: str = PLAIN
    sampler_steps: int = 0
    search: int = 0
    level: float | None = None
    kbps: float | None = None

    @property
    def encoding(self) -> dict[str, Any]:
        """What `Codec.encode` has to be told, without a rate."""
        level = {} if self.level is None else {"level": self.level}
        return level | ({"search": self.search} if self.search else {})


def parse(name: str) -> Named:
    """What `name` asks for.

    Raises:
        UserError: There is no such model, or it has no such decoder or level.

    Examples:
        >>> parse("wide+filling@11").level
        11.0
    """
    found = Named(name) if Path(name).is_dir() else _apart(name)
    checkpoint = Checkpoint.find(found.model)
    if found.decoder != PLAIN:
        checkpoint.decoder_name(found.decoder)
    if found.level is not None:
        levels = checkpoint.settings.levels
        if not levels:
            raise UserError(f"{name}: {found.model} has no levels; leave out @{found.level:g}")
        try:
            Prompts(levels, found.level)
        except UserError:
            raise UserError(f"{name}: {found.model} has the levels 0 to {levels - 1}") from None
    if found.kbps is not None and not checkpoint.settings.levels:
        raise UserError(
            f"{name}: {found.model} has no levels to meet a rate with; leave out @{found.kbps:g}kbps"
        )
    if found.kbps == 0:
        raise UserError(f"{name}: no recording can be coded at 0 kbps; give more")
    return found


def _apart(name: str) -> Named:
    kinds = [PLAIN, *(kind for kind, phase in Phase.kinds.items() if phase.decoder_class)]
    parts = re.fullmatch(
        rf"(.+?)(?:\+({'|'.join(kinds)})(?::(\d+))?)?(?:\+search:(\d+))?(?:@(\d+(?:\.\d+)?)(kbps)?)?", name
    )
    if parts is None:
        return Named(name)
    model, decoder, steps, search, number, unit = parts.groups()
    wanted = {} if number is None else {unit or "level": float(number)}
    return Named(model, decoder or PLAIN, int(steps or 0), int(search or 0), **wanted)
