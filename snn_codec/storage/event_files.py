"""Event files of both kinds, told apart by their first bytes, and conversion between all kinds.

spk    the bitstream (`snn_codec.storage.spk`): one recording, few bytes
h5     HDF5 spike trains (`snn_codec.storage.h5`): any number of recordings
...    the forms of other programs (`snn_codec.storage.exporters`): written only
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.files import below, check_not_input, check_writable, is_same, shown
from snn_codec.pipes import name_of, seekable
from snn_codec.storage import exporters, spk  # HDF5, which takes long to import, where it is needed
from snn_codec.storage.entropy_model import EntropyModel
from snn_codec.storage.spk import is_bitstream

SUFFIXES = (".spk", ".h5")
KINDS = ("spk", "h5", *exporters.EXPORTERS)
ONE_RECORDING = ("spk", "nwb")
STREAMED = ("spk", "csv", "npz")  # kinds that go to stdout; HDF5 needs a file
FOR_SIMULATORS = ("shd", "nwb", "nirdata")  # kinds whose readers take events for spikes
# One, or a function that finds that of the model with this fingerprint, such as `checkpoints.shipped_entropy_model`
EntropyModels = EntropyModel | Callable[[str], EntropyModel | None] | None
_SUFFIX = {"shd": ".h5", "nirdata": ".h5"}  # of the other kinds: the kind itself


def fingerprint(path: Path, name: str | None = None) -> str:
    """The fingerprint of the model that made a file's events, from its header; "" if none did.

    Of several recordings, it is that of `name`, or of the first one.

    Raises:
        UserError: The file cannot be read.
    """
    if is_bitstream(path):
        with open(path, "rb") as file:
            return spk.Reader(file, name=str(path)).header.fingerprint
    from snn_codec.storage import h5

    with h5.SpikeTrains(path) as trains:
        return trains.info(name if name is not None and name in trains else next(iter(trains))).fingerprint


def read(path: Path, name: str | None = None, *, entropy_model: EntropyModels = None) -> EventMatrix:
    """The recording `name` of a file, or its only one.

    Args:
        path: A bitstream or HDF5 spike trains.
        name: Of a recording in spike trains; a bitstream has one recording, and no name.
        entropy_model: The entropy model that a bitstream may need, or a function that finds it.

    Raises:
        UserError: The file cannot be read, or `name` does not choose one of its recordings.
    """
    if not is_bitstream(path):
        from snn_codec.storage import h5

        return h5.read(path, name)
    if name is not None:
        raise UserError(
            f"{path}: is a bitstream, which holds one recording without a name; leave out {name!r}"
        )
    return spk.read(path, entropy_model=_chosen(entropy_model, lambda: fingerprint(path)))


def _chosen(given: EntropyModels, fingerprint: Callable[[], str]) -> EntropyModel | None:
    return given if given is None or isinstance(given, EntropyModel) else given(fingerprint())


def recordings(
    path: Path, name: str | None = None, *, entropy_model: EntropyModels = None
) -> Iterator[tuple[str, EventMatrix]]:
    """Name and events of every recording of a file, or of `name` only; a bitstream's name is its file's.

    Raises:
        UserError: As `read`.
    """
    if is_bitstream(path):
        yield name_of(path), read(path, name, entropy_model=entropy_model)
        return
    from snn_codec.storage import h5

    with h5.SpikeTrains(path) as trains:
        for found in [name] if name is not None else trains:
            yield found, trains[found]


def kind_of(output: Path) -> str:
    """The kind of file that this name's suffix stands for.

    Raises:
        UserError: None; shd and nirdata have no suffix of their own.
    """
    kind = output.suffix.lstrip(".").lower()
    if kind not in KINDS or kind in _SUFFIX:
        raise UserError(
            f"{output}: its suffix says no kind of file; say which with one of {', '.join(KINDS)}"
        )
    return kind


def check_suffix(output: Path, kind: str) -> None:
    """See that a name does not end as another kind of file does, or as sound.

    Raises:
        UserError: It does.
    """
    from snn_codec import audio

    suffix, right = output.suffix.lower(), _SUFFIX.get(kind, f".{kind}")
    others = {*audio.SUFFIXES, *_SUFFIX.values(), *(f".{each}" for each in KINDS)} - {right, f".{kind}"}
    if kind in KINDS and suffix in others:
        raise UserError(
            f"{output}: is not the name of a file of {kind}, which ends in {right}; change one of the two"
        )


def write(
    path: Path,
    kind: str,
    items: Iterable[tuple[str, EventMatrix]],
    *,
    entropy_model: EntropyModels = None,
    compress: bool = False,
    force: bool = False,
) -> None:
    """Write recordings to one file of a kind.

    Args:
        path: What to write.
        kind: One of `KINDS`.
        items: Name and events of each recording.
        entropy_model: The entropy model for a bitstream, used if it is that of the events' checkpoint, or what
            finds it.
        compress: Gzip spike trains.
        force: Replace `path`.

    Raises:
        UserError: The kind cannot hold these recordings, or `path` cannot be written.
    """
    if kind == "h5":
        from snn_codec.storage import h5

        h5.write(path, items, compress=compress, force=force)
    elif kind == "spk":
        given = list(items)
        if not given:
            raise UserError(f"{path}: no recordings to write; pass at least one")
        if len(given) > 1:
            raise UserError(f"{path}: a bitstream holds one recording, not {len(given)}; give a folder")
        ((_, events),) = given
        chosen = _chosen(entropy_model, lambda: events.fingerprint)
        if chosen is not None and chosen.checkpoint != events.fingerprint:
            chosen = None
        spk.write(path, events, entropy_model=chosen, force=force)
    else:
        exporters.export(path, kind, items, force=force)


def convert(
    inputs: Sequence[Path],
    output: Path,
    kind: str | None = None,
    *,
    name: str | None = None,
    entropy_model: EntropyModels = None,
    compress: bool = False,
    force: bool = False,
    check: Callable[[Path, EventMatrix], None] = lambda file, events: None,
    progress: Callable[[str], None] = lambda name: None,
) -> list[Path]:
    """Write the recordings of event files and folders of them to one file; or to a folder, a file each.

    Args:
        inputs: Files, pipes (`-` is stdin), or folders that are searched for event files.
        output: A file; or a folder that exists, for a file a recording.
        kind: One of `KINDS`; None takes it from the suffix of `output`.
        name: Take only the recording of this name.
        entropy_model: Entropy model to read and write bitstreams with, or a function that finds that of each file.
        compress: Gzip spike trains.
        force: Replace files that exist.
        check: Called with each file and a recording of it before that is written; may refuse it with a `UserError`.
        progress: Called with each recording's name when it has been read.

    Returns:
        The files that were written.

    Raises:
        UserError: A file cannot be read or written, two recordings would become one file, or the kind cannot
            hold several.
    """
    named = [found for source in inputs for found in event_files(source, output)]
    if not output.is_dir():
        kind = kind or kind_of(output)
        check_suffix(output, kind)
        for source in inputs:
            check_not_input(output, source)
        check_writable(output, force=force)
    elif kind is None:
        raise UserError(f"{output}: is a folder; say which kind of files with one of {', '.join(KINDS)}")
    how: dict[str, Any] = {"entropy_model": entropy_model, "compress": compress, "force": force}
    with ExitStack() as stack:
        files = [(stack.enter_context(seekable(source)), stem) for source, stem in named]

        def every() -> Iterator[tuple[str, EventMatrix]]:
            for file, stem in files:
                for found, events in recordings(file, name, entropy_model=entropy_model):
                    found = stem if is_bitstream(file) else found
                    check(file, events)
                    progress(found)
                    yield found, events

        if output.is_dir():
            return _write_each(output, kind, every(), [file for file, _ in files], **how)
        if kind in ONE_RECORDING:
            _check_single(files, name, output, kind)
        write(output, kind, every(), **how)
        return [output]


def _write_each(
    folder: Path,
    kind: str,
    items: Iterable[tuple[str, EventMatrix]],
    sources: Iterable[Path],
    **options: Any,
) -> list[Path]:
    """Write a file a recording, none of them a source, with the options of `write`; the files."""
    written: list[Path] = []
    inputs = {os.path.realpath(source) for source in sources}
    try:
        for found, events in items:
            target = folder / (_file_name(found) + _SUFFIX.get(kind, f".{kind}"))
            if target in written:
                raise UserError(f"{target}: two recordings would become this file; rename one of them")
            if os.path.realpath(target) in inputs:
                raise UserError(f"{target}: is the input itself; give another folder")
            write(target, kind, [(found, events)], **options)
            written.append(target)
    except UserError as error:
        if not written:
            raise
        done = f"{len(written)} file(s) before it are written, it and those after it are missing"
        raise UserError(f"{error} ({done})") from error
    return written


def event_files(source: Path, output: Path | None = None) -> list[tuple[Path, str]]:
    """A file, or all event files below a folder, each with the name that a recording in it gets.

    Of a folder without `output`, which an earlier conversion may have left in it.

    Raises:
        UserError: A folder without event files.
    """
    if not source.is_dir():
        return [(source, name_of(source))]
    found = [path for path in below(source, SUFFIXES) if path.is_file()]
    if output is not None:
        found = [path for path in found if not is_same(path, output)]
    if not found:
        raise UserError(f"{source}: holds no file ending in {', '.join(SUFFIXES)} to read")
    return [(path, shown(path.relative_to(source).with_suffix("").as_posix())) for path in found]


def _check_single(files: list[tuple[Path, str]], name: str | None, output: Path, kind: str) -> None:
    """Before anything is read: a kind that holds one recording must get one."""
    from snn_codec.storage import h5

    count = sum(1 if name is not None or is_bitstream(file) else len(h5.names(file)) for file, _ in files)
    if count != 1:
        raise UserError(
            f"{output}: {kind} holds one recording, not {count}; "
            "choose one with --recording, or give a folder that exists as output"
        )


def _file_name(recording: str) -> str:
    """A recording's name as a file's, without folders or a sound file's suffix."""
    stem = re.sub(r"\.(wav|flac|ogg|mp3|aiff?)$", "", recording, flags=re.IGNORECASE)
    return re.sub(r"[^\w. -]+", "_", stem).lstrip(".") or "recording"
