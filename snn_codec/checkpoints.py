"""Where checkpoints are: folders of `config.json`, `model.safetensors` and what was trained for them."""

from __future__ import annotations

import json
from pathlib import Path

from snn_codec import pretrained
from snn_codec.errors import UserError

FOLDERS = tuple(map(Path, pretrained.__path__))
DEFAULT = "free"


def find(name: str | Path = DEFAULT) -> Path:
    """The checkpoint folder `name`, or the shipped one of that name.

    Raises:
        UserError: There is none.
    """
    for folder in (Path(name), *(place / name for place in FOLDERS)):
        if (folder / "config.json").is_file():
            return folder
    shipped = sorted({path.parent.name for place in FOLDERS for path in place.glob("*/config.json")})
    raise UserError(
        f"{name}: no such model; give a checkpoint folder or one of: {', '.join(shipped) or '(none shipped)'}"
    )


def shipped(fingerprint: str) -> str | None:
    """The name of the shipped model with this fingerprint; None if none has it."""
    for place in FOLDERS:
        for path in sorted(place.glob("*/config.json")):
            if fingerprint and json.loads(path.read_text()).get("fingerprint") == fingerprint:
                return path.parent.name
    return None
