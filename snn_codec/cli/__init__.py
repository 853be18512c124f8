"""The command line, `snn-codec`."""

from snn_codec.cli.main import fatal, main

__all__ = ["fatal", "main"]
