"""A model made ready for a command: by name, on a device, in this process or in one beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py  # noqa: F401 - before denormals are off, or numpy 1.26 warns about its own constants
import torch

from snn_codec.codec import Codec
from snn_codec.errors import UserError


def load(model: str | Path, device: str = "cpu", **choice: Any) -> Codec:
    """The codec of a shipped model or a checkpoint folder; `choice` is of its decoder (`Codec.load`).

    Raises:
        UserError: No such model, a damaged one, or the device cannot be used.
    """
    torch.set_flush_denormal(True)
    try:
        return Codec.load(model, device, **choice)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {device}: cannot be used here ({reason}); use --device cpu") from error
