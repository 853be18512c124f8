"""A neural audio codec for piano music whose code is a spike raster."""

import importlib.util
import sys
from pathlib import Path

__version__ = "0.2.0"

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
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = globals()[name] = module
        spec.loader.exec_module(module)


_map_checkout()
