"""`snn-codec COMMAND ...`: all commands, and how any of them fails."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from snn_codec import __version__
from snn_codec.cli import (
    analyse,
    compare_surrogates,
    convert,
    decode,
    encode,
    evaluate,
    export,
    import_spikes,
    info,
    listen,
    simulate,
    train,
    train_entropy,
)
from snn_codec.cli.common import fatal
from snn_codec.errors import UserError

COMMANDS = {
    "encode": encode,
    "decode": decode,
    "info": info,
    "convert": convert,
    "evaluate": evaluate,
    "analyse": analyse,
    "train": train,
    "train-entropy": train_entropy,
    "compare-surrogates": compare_surrogates,
    "simulate": simulate,
    "import": import_spikes,
    "export": export,
    "listen": listen,
}

# What PyTorch says in a RuntimeError: of a GPU, of a CPU, of libraries of CUDA.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "ALLOC_FAILED")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0, or 2 with one line on stderr for each thing that cannot be used."""
    # Threads that wait for each other by spinning cost a factor of 5 where cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # for names that the terminal cannot show
    previous = _end_on_sigterm()
    try:
        options = parser().parse_args(arguments)  # some options print and end the program
        status = options.run(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except UserError as error:
        return fatal(error)
    except KeyboardInterrupt:
        return 130
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(text in str(error) for text in _OUT_OF_MEMORY):
            raise
        return fatal(_out_of_memory(error))
    except BrokenPipeError:  # the reader of our output has closed the pipe
        _forget_stdout()
        return 141
    except OSError as error:  # of our own files, those that write them say it
        _forget_stdout()
        return fatal(UserError(f"{error.filename or 'standard output'}: {error.strerror or error}"))
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _out_of_memory(error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else "nothing is left"
    return UserError(
        f"there is not enough memory ({reason}); compute less at once, as by a smaller batch or fewer workers, or on "
        "another device"
    )


def _end_on_sigterm() -> Any:
    """End as by Ctrl-C, so that nothing half written is left; the handler that was there, if it is replaced."""
    if threading.current_thread() is not threading.main_thread():
        return None  # only the main thread may say it

    def end(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    return signal.signal(signal.SIGTERM, end)


def _forget_stdout() -> None:
    """Or flushing it when the program ends would fail again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it parses has `run`."""
    made = argparse.ArgumentParser(
        prog="snn-codec", description="Piano recordings as spike rasters, and back."
    )
    made.add_argument("--version", action="version", version=f"snn-codec {__version__}")
    _add(made, COMMANDS)
    return made


def _add(parent: argparse.ArgumentParser, commands: Mapping[str, ModuleType]) -> None:
    """Add commands; a module with `COMMANDS` of its own is a group of them."""
    added = parent.add_subparsers(required=True, metavar="COMMAND")
    for name, module in commands.items():
        child = added.add_parser(name, help=module.HELP, description=module.HELP)
        if hasattr(module, "COMMANDS"):
            _add(child, module.COMMANDS)
        else:
            module.add_options(child)
            child.set_defaults(run=module.run)
