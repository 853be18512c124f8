"""The command line, `snn-codec`: a module a command, which has `HELP`, `add_options` and `run`."""

from snn_codec.cli.main import fatal, main

__all__ = ["fatal", "main"]
