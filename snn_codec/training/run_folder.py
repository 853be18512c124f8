"""The folder of a training run, which says what the run was started with, so that its name is enough to resume it.

It holds `config.json`, the settings; `run.json`, the data and the checkpoint that it began with; `log.csv`;
`state.safetensors`, all that is needed to go on exactly; and `best`, the best checkpoint so far.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.files import exclusive, new_folder, replacing

# What may be changed when a run is resumed: how long it is, how often it is looked at.
ADJUSTABLE = ("training.steps", "training.validate_every", "training.checkpoint_minutes")
NAMED = 3  # recordings that a message names


@dataclass(frozen=True)
class Run:
    """Where and on what a training runs; nothing here changes what is computed, but `devices` its batch.

    Attributes:
        data: Folders of recordings.
        folder: Of the run.
        resume: Go on where it stopped.
        init_from: The checkpoint whose weights it starts with.
        accelerator: `cpu`, `cuda`, `mps` or `auto`.
        devices: Devices on each machine, or processes on a CPU.
        nodes: Machines.
        workers: Processes that read data.
        threads: Of each process; None is a number that suits how busy the machine is.
        tensorboard: Write TensorBoard's event files as well.
        force: Start a folder that holds a run again, or resume with recordings that have changed.
        shared_crops: A folder of crops that runs on the same data share (`datasets.SharedCrops`).
    """

    data: Sequence[Path]
    folder: Path
    resume: bool = False
    init_from: str | None = None
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    workers: int = 1
    threads: int | None = None
    tensorboard: bool = False
    force: bool = False
    shared_crops: Path | None = None

    @property
    def config_file(self) -> Path:
        """The settings."""
        return self.folder / "config.json"

    @property
    def run_file(self) -> Path:
        """The data, and the checkpoint that it began with."""
        return self.folder / "run.json"

    @property
    def state_file(self) -> Path:
        """The state to resume from."""
        return self.folder / "state.safetensors"

    @property
    def log_file(self) -> Path:
        """The log."""
        return self.folder / "log.csv"

    @property
    def tensorboard_folder(self) -> Path | None:
        """Where TensorBoard's event files are written, if they are."""
        return self.folder / "tensorboard" if self.tensorboard else None

    @property
    def best(self) -> Path:
        """The folder of the best checkpoint."""
        return self.folder / "best"


Recordings = dict[str, dict[str, int]]  # split -> name below its data folder -> bytes


def resumed(run: Run, preset: str | None, changes: Sequence[str]) -> tuple[config.Config, Run]:
    """Find what to resume a run with: its own settings, data and checkpoint, where none are given.

    Args:
        run: With the folder; `data` may be empty and `init_from` None.
        preset: A preset's name or a JSON file whose settings the run must have; None takes the run's own.
        changes: `key=value`.

    Raises:
        UserError: The folder holds no run, or one that does not say what data it began with, and none is given.
    """
    _check_exists(run)
    settings = config.load(preset or str(run.config_file), changes)
    noted = _read_noted(run)
    if run.init_from and "init_from" in noted and _absolute(run.init_from) != noted["init_from"]:
        raise UserError(
            f"{run.folder}: its run began with {noted['init_from'] or 'no checkpoint'}, not {run.init_from}; "
            "resume it without --init-from, or start another run"
        )
    data = [*run.data] or [Path(folder) for folder in noted.get("data", ())]
    if not data:
        raise UserError(f"{run.folder}: does not say what data its run began with; name it with --data")
    threads = noted.get("threads") if run.threads is None else run.threads
    return settings, replace(
        run, resume=True, data=data, init_from=run.init_from or noted.get("init_from"), threads=threads
    )


@contextmanager
def opened(run: Run) -> Iterator[None]:
    """Hold the lock of a run's folder; made if need be, and taken away again if the run wrote nothing.

    Raises:
        UserError: Another process trains in it, it holds a run, or none to resume, or it cannot be made.
    """
    if run.resume:
        _check_exists(run)
    elif run.config_file.exists() and not run.force:
        raise UserError(f"{run.folder}: holds a run already; use --resume, --force or another folder")
    elif run.init_from and _absolute(run.init_from) == str(run.best.resolve()):
        raise UserError(
            f"{run.init_from}: is of the run that begins again in this folder; give another --run"
        )
    lock = run.folder / "lock"
    with new_folder(run.folder), exclusive(lock):
        try:
            yield
        finally:
            with suppress(OSError):
                if [*run.folder.iterdir()] == [lock]:
                    lock.unlink()


def described(data: Sequence[Path], paths: Mapping[str, Sequence[Sequence[Path]]]) -> Recordings:
    """List names and sizes of recordings, given by split and data folder; a moved data folder has the same."""
    several = len(data) > 1
    return {
        split: {
            (f"{number}/" if several else "") + path.relative_to(folder).as_posix(): path.stat().st_size
            for number, (folder, found) in enumerate(zip(data, folders, strict=True))
            for path in found
        }
        for split, folders in paths.items()
    }


def check(run: Run, settings: config.Config, recordings: Recordings) -> None:
    """Check that a resumed run has the settings and recordings that it began with.

    Raises:
        UserError: Something else than `ADJUSTABLE` differs, or the recordings do (without `force`).
    """
    own = config.load(str(run.config_file))
    for name, (before, now) in differences(own, settings).items():
        if name not in ADJUSTABLE:
            raise UserError(
                f"{run.config_file}: the run has {name} = {before}, not {now}; resume it without that change "
                f"(only {', '.join(ADJUSTABLE)} may change), or start another run"
            )
    noted = _read_noted(run)
    began_with, now = noted.get("processes"), run.devices * run.nodes
    if began_with not in (None, now) and not run.force:
        raise UserError(
            f"{run.run_file}: the run has batches of {began_with} device(s), not {now}; resume it with as many by "
            "--devices and --nodes, or go on with these by --force"
        )
    before = noted.get("recordings")
    if before is not None and before != recordings and not run.force:
        raise UserError(
            f"{run.run_file}: the recordings are not those that the run began with: "
            f"{'; '.join(changed(before, recordings))}; restore them, or go on with these by --force"
        )


def note(run: Run, settings: config.Config, recordings: Recordings) -> None:
    """Write what a run is made from; of a new one, remove what an earlier one left.

    Raises:
        UserError: A file cannot be written.
    """
    if not run.resume:
        run.state_file.unlink(missing_ok=True)
        for left in (run.best, run.folder / "tensorboard"):
            shutil.rmtree(left, ignore_errors=True)
    noted = {
        "data": [str(Path(folder).resolve()) for folder in run.data],
        "init_from": _absolute(run.init_from),
        "threads": run.threads,
        "processes": run.devices * run.nodes,
        "recordings": recordings,
    }
    for path, content in ((run.config_file, config.to_dict(settings)), (run.run_file, noted)):
        with replacing(path, force=True) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")


def differences(one: config.Config, other: config.Config) -> dict[str, tuple[Any, Any]]:
    """The values of settings that differ, by their names as in `training.steps`."""
    flat = [dict(_flat(config.to_dict(part))) for part in (one, other)]
    names = [*flat[0], *(name for name in flat[1] if name not in flat[0])]
    return {
        name: (flat[0].get(name), flat[1].get(name))
        for name in names
        if flat[0].get(name) != flat[1].get(name)
    }


def _flat(data: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def changed(before: Recordings, now: Recordings) -> Iterator[str]:
    """What is different about recordings, in words."""
    for split in before:
        old, new = before[split], now.get(split, {})
        for names, words in (
            (old.keys() - new.keys(), "gone from"),
            (new.keys() - old.keys(), "new in"),
            ({name for name in old.keys() & new.keys() if old[name] != new[name]}, "changed in"),
        ):
            if names:
                shown = ", ".join(sorted(names)[:NAMED]) + (", ..." if len(names) > NAMED else "")
                yield f"{len(names)} {words} {split} ({shown})"


def _check_exists(run: Run) -> None:
    if not run.config_file.is_file():
        raise UserError(f"{run.folder}: holds no run to resume; leave out --resume")


def _read_noted(run: Run) -> dict[str, Any]:
    """What `run.json` says; nothing if a version without it wrote the folder."""
    if not run.run_file.is_file():
        return {}
    try:
        noted = json.loads(run.run_file.read_text())
        _check_noted(noted)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{run.run_file}: is damaged ({error}); name --data and --init-from, and remove it"
        ) from error
    return noted


def _check_noted(noted: Any) -> None:
    """That what `run.json` says is what `note` may have written; raises what Python does if not."""
    [Path(folder) for folder in noted.get("data", ())]
    Path(noted.get("init_from") or "")
    for sizes in (noted.get("recordings") or {}).values():
        sizes.keys()
    if (noted.get("threads") or 1) < 1:
        raise ValueError("threads must be 1 or more")


def _absolute(checkpoint: str | None) -> str | None:
    """A checkpoint's folder as an absolute path; the name of a shipped one as it is."""
    return str(Path(checkpoint).resolve()) if checkpoint and Path(checkpoint).is_dir() else checkpoint
