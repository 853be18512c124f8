"""Options that several commands have, models found by the files that they made, and messages."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_codec.errors import UserError
from snn_codec.files import shown
from snn_codec.pipes import PIPE

if TYPE_CHECKING:
    from snn_codec.evaluation.command import Data

_LINE_BREAKS = re.compile(r"\s*[\r\n]+\s*")  # of libraries whose errors are several lines
BAD_INPUT = 2  # exit status
MAKER = "default: the shipped model that made the events"


def fatal(error: Exception) -> int:
    """Say what is wrong in one line, and give the exit status for it."""
    warn(str(error))
    return BAD_INPUT


def warn(text: str) -> None:
    """Say something in one line on stderr."""
    if sys.stderr is not None:
        print(f"snn-codec: {shown(_LINE_BREAKS.sub(' ', text))}", file=sys.stderr)


class Output(NamedTuple):
    """Where a command writes to.

    Attributes:
        path: A file or a folder.
        is_folder: Whether it must be a folder, because a slash ends its name.
    """

    path: Path
    is_folder: bool

    @classmethod
    def of(cls, text: str) -> Output:
        """As it is named on the command line; a `Path` forgets the slash."""
        return cls(Path(text), text.endswith(tuple(filter(None, (os.sep, os.altsep)))))


def file_name(text: str) -> Path:
    """The type of an option that names a file to write, where `Output` is for those that may name a folder."""
    path, is_folder = Output.of(text)
    if is_folder:
        raise argparse.ArgumentTypeError(f"{text}: is a folder; give a file name")
    return path


def add_model(
    parser: argparse.ArgumentParser, default: str | None = "free", note: str = "default free"
) -> None:
    """The option that chooses a model; `note` says which one it is without."""
    parser.add_argument("--model", default=default, help=f"a shipped model or a checkpoint folder ({note})")


def add_device(parser: argparse.ArgumentParser) -> None:
    """The option that says what to compute on."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 or mps (default cpu)")


def add_force(parser: argparse.ArgumentParser, what: str = "files that exist") -> None:
    """The option without which nothing is replaced."""
    parser.add_argument("--force", action="store_true", help=f"replace {what}")


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option for output that programs read."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_parallelism(parser: argparse.ArgumentParser) -> None:
    """Options that distribute the work over processes, devices and machines."""
    parser.add_argument(
        "--workers", type=int, default=1, help="processes for each device, one thread each (default 1)"
    )
    parser.add_argument(
        "--devices", type=int, default=1, help="devices on each machine; on a CPU, processes (default 1)"
    )
    parser.add_argument(
        "--nodes", type=int, default=1, help="machines; start this same command on each (default 1)"
    )


def add_data(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Options that choose the recordings and clips to measure."""
    parser.add_argument(
        "--data", type=Path, required=required, help="folder in the MAESTRO layout, or of audio files"
    )
    parser.add_argument(
        "--split",
        help="train, validation or test (default validation in the MAESTRO layout, else the whole folder)",
    )
    parser.add_argument("--clips", type=int, help="at most this many clips, evenly spaced (default: all)")
    parser.add_argument(
        "--perceptual", default="", metavar="NAMES",
        help="further measures, separated by commas: visqol, zimtohrli, visqol_loud, stft_distance_7k, "
        "mel_distance_7k, attack_si_snr, pre_echo, pre_echo_own (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--perceptual-clips", type=int, default=50, metavar="N",
        help="clips on which to compute them, evenly spaced (default 50)",
    )  # fmt: skip


def chosen_data(options: argparse.Namespace) -> Data:
    """The recordings and clips that the options of `add_data` choose.

    Raises:
        UserError: As `Data.of`.
    """
    from snn_codec.evaluation.command import Data

    return Data.of(
        options.data,
        options.split,
        clips=options.clips,
        perceptual=options.perceptual,
        perceptual_clips=options.perceptual_clips,
    )


def event_kind(output: Path, wanted: str | None = None) -> str:
    """The kind of event file that this output asks for, or that is `wanted`.

    Raises:
        UserError: Its suffix is that of something else, or HDF5 is wanted on stdout.
    """
    from snn_codec.storage import event_files

    if output == PIPE and wanted == "h5":
        raise UserError("-: only a bitstream goes to stdout, not h5; give a file")
    if output == PIPE or output.is_dir() or not output.suffix:
        return wanted or "spk"
    if wanted is not None:
        event_files.check_suffix(output, wanted)
        return wanted
    if output.suffix.lower() not in event_files.SUFFIXES:
        raise UserError(f"{output}: events are written to .spk or .h5 files; convert makes the other forms")
    return output.suffix.lower().lstrip(".")


def maker(path: Path, recording: str | None = None) -> str:
    """The shipped model that made a file's events (of `recording` in it), or the default one.

    Raises:
        UserError: The file cannot be read.
    """
    from snn_codec import checkpoints
    from snn_codec.storage import event_files

    return checkpoints.shipped(event_files.fingerprint(path, recording)) or checkpoints.DEFAULT


def entropy_models(model: str | None) -> Any:
    """The entropy model of a model (None if it has none); without a model, what finds the shipped one of each file.

    Raises:
        UserError: There is no such model.
    """
    from snn_codec import checkpoints

    if model is None:
        return checkpoints.shipped_entropy_model
    return checkpoints.Checkpoint(checkpoints.find(model)).entropy_model


def check_spiking(model: str) -> None:
    """See that a model's bottleneck has neurons, which is known without PyTorch.

    Raises:
        UserError: It has none, or there is no such model.
    """
    from snn_codec import checkpoints

    bottleneck = checkpoints.Checkpoint.find(model).settings.bottleneck
    if not bottleneck.has_spikes:
        raise UserError(
            f"{model}: its bottleneck ({bottleneck.kind}) has no spiking neurons, so there is nothing to put on "
            "hardware; choose another --model"
        )


def check_level(model: str, level: float | None) -> None:
    """See that a model has levels, and this one.

    Raises:
        UserError: It has not.
    """
    from snn_codec.checkpoints import Checkpoint
    from snn_codec.levels import Prompts

    levels = Checkpoint.find(model).settings.levels
    if not levels:
        raise UserError(f"{model}: has no levels; use --model wide or mu-sparse, or train such a model")
    Prompts(levels, level)
