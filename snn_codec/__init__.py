"""A neural audio codec for piano music whose code is a spike raster.

    from snn_codec import Codec, read_audio, read_events, write_events

    codec = Codec.load("free")
    events = codec.encode(*read_audio("bach.flac"))
    write_events("bach.spk", events)
    sound = codec.decode(read_events("bach.spk"))

Names are imported when they are first used, so `import snn_codec` is quick and loads no torch.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snn_codec.api import read_audio, read_events, write_audio, write_events
    from snn_codec.codec import Codec
    from snn_codec.errors import UserError
    from snn_codec.events import EventMatrix
    from snn_codec.storage.h5 import SpikeTrains

__version__ = "0.2.0"
__all__ = [
    "Codec",
    "EventMatrix",
    "SpikeTrains",
    "UserError",
    "read_audio",
    "read_events",
    "write_audio",
    "write_events",
]

_HOMES = {"Codec": "codec", "EventMatrix": "events", "SpikeTrains": "storage.h5", "UserError": "errors"}

# Folders elsewhere in the repository that an installation has as subpackages (`package_dir` in setup.cfg).
MAPPED = {"hardware": "hardware", "pretrained": "data/checkpoints"}


def _map_checkout() -> None:
    """Make those subpackages importable from a checkout, installed or not: always the checkout's own."""
    package = Path(__file__).resolve().parent
    for name, folder in MAPPED.items():
        file = package.parent / folder / "__init__.py"
        if (package / name).exists() or not file.is_file():
            continue  # a wheel has them inside the package
        spec = importlib.util.spec_from_file_location(
            f"{__name__}.{name}", file, submodule_search_locations=[str(file.parent)]
        )
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = globals()[name] = module
        spec.loader.exec_module(module)


_map_checkout()


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'api')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    """For completion: what is public, and submodules that have been imported."""
    modules = [name for name in globals() if f"{__name__}.{name}" in sys.modules]
    return sorted({"__version__", *__all__, *modules})
