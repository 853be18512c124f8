"""What `export netx` and `export nir` share: the network's file, and beside it the features of a recording."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from snn_codec.cli.common import add_force, add_model, check_level, check_spiking, file_name
from snn_codec.cli.simulate import add_level
from snn_codec.errors import UserError
from snn_codec.files import check_not_input, check_writable, is_same


class Files(NamedTuple):
    """The network to write; the recording, or None; and the features of it to write."""

    network: Path
    recording: Path | None
    features: Path


def add_options(parser: argparse.ArgumentParser, suffix: str) -> None:
    """The options; the features have this suffix."""
    what = f"also write the features of this audio file, to OUTPUT with {suffix}"
    parser.add_argument("recording", type=Path, nargs="?", help=what)
    parser.add_argument(
        "--recording", type=Path, metavar="FILE", dest="same_recording", help="the same as RECORDING"
    )
    parser.add_argument("-o", "--output", type=file_name, required=True, help="file to write")
    add_model(parser)
    add_level(parser)
    add_force(parser)


def checked(options: argparse.Namespace, suffix: str) -> Files:
    """The files, where nothing stands in the way of writing them.

    Raises:
        UserError: One to write exists (without `--force`), two are one, the recording cannot be read, or the model has
            no spiking neurons, or no such level.
    """
    if options.recording and options.same_recording:
        raise UserError(f"{options.recording} and --recording {options.same_recording}: give one recording")
    recording = options.recording or options.same_recording
    files = Files(options.output, recording, options.output.with_suffix(suffix))
    for path in (files.network, files.features) if recording else (files.network,):
        if recording:
            check_not_input(path, recording)
        check_writable(path, force=options.force)
    if recording and is_same(files.network, files.features):
        raise UserError(
            f"{files.network}: the features go to a file of this name; end the network's otherwise"
        )
    check_spiking(options.model)
    if options.level is not None:
        if not recording:
            raise UserError(
                f"--level {options.level:g}: is for the features of a recording; give one, or leave it out"
            )
        check_level(options.model, options.level)
    if recording:
        from snn_codec import audio, checkpoints

        if not recording.exists() and str(recording) in checkpoints.names():
            raise UserError(f"{recording}: is a model, not a recording; give it as --model {recording}")
        audio.info(recording)
    return files
