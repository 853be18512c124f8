"""A codec made ready for a command: by name, on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py  # noqa: F401 - before denormals are off, or numpy 1.26 warns about its own constants
import torch

from snn_codec.codec import Codec
from snn_codec.decoders import Sampling
from snn_codec.named import Named


def load(model: str | Path, device: str = "cpu", **choice: Any) -> Codec:
    """As `Codec.load`, with denormal numbers flushed in the whole process, which make a CPU several times slower."""
    torch.set_flush_denormal(True)
    return Codec.load(model, device, **choice)


def load_named(named: Named, device: str = "cpu") -> Codec:
    """Load the codec and decoder that a name asks for; the rest of it is for `Codec.encode`."""
    return load(named.model, device, decoder=named.decoder, sampling=Sampling(named.sampler_steps))
