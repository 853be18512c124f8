"""`snn-codec listen serve`."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Serve a test to listeners, on this machine only."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("test", type=Path, metavar="TEST", help="folder made by build")
    parser.add_argument("--port", type=int, default=8000, help="port; 0 picks a free one (default 8000)")


def run(options: argparse.Namespace) -> int:
    """The command; its exit status."""
    from snn_codec.listening.server import serve

    serve(options.test, options.port)
    return 0
