"""The folder of a study: `study.json` says what all runs have in common; it takes more choices and seeds later."""

from __future__ import annotations

import json
from pathlib import Path

from snn_codec import corpus
from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.files import make_folder, replacing
from snn_codec.surrogate_study.grid import Cell, Study
from snn_codec.training.run_folder import changed, described, differences


def write(study: Study, root: Path) -> Study:
    """Note the study in its folder; with what was noted there before, what the folder now holds.

    The data may have moved since, as when the folder was copied to another machine.

    Raises:
        UserError: The folder holds a study with other settings or data, or the data cannot be used.
    """
    path = root / "study.json"
    recordings = described(study.data, corpus.training_paths(study.data))
    if path.exists():
        before = read(root)
        for setting in [setting for setting in study.base if setting in before.base]:
            for name, (old, new) in differences(before.base[setting], study.base[setting]).items():
                raise UserError(
                    f"{path}: its {setting.upper()} runs have {name} = {old}, not {new}; "
                    "give the same as before, or another folder"
                )
        noted = json.loads(path.read_text(encoding="utf-8")).get("recordings")
        if noted not in (None, recordings):
            raise UserError(
                f"{path}: the recordings are not those that its runs had: {'; '.join(changed(noted, recordings))}; "
                "restore them, or give another folder"
            )
        if noted is None and before.data != study.data:
            raise UserError(
                f"{path}: its runs use the data in {', '.join(map(str, before.data))}; "
                "give the same, or another folder"
            )
        # an earlier version noted the folder of a shipped one
        if study.entropy_model not in (before.entropy_model, Path(before.entropy_model).name):
            raise UserError(
                f"{path}: its runs have the entropy model {before.entropy_model or '(none)'}, not "
                f"{study.entropy_model or '(none)'}; give the same as before, or another folder"
            )
        study = Study(
            before.base | study.base,
            study.data,
            tuple(dict.fromkeys(before.choices + study.choices)),
            max(before.seeds, study.seeds),
            study.entropy_model,
        )
    text = {
        "base": {setting: config.to_dict(base) for setting, base in study.base.items()},
        "data": [str(folder) for folder in study.data],
        "choices": study.choices,
        "seeds": study.seeds,
        "entropy_model": study.entropy_model,
        "recordings": recordings,
    }
    with replacing(path, force=True) as temporary:
        temporary.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    return study


def make(root: Path) -> None:
    """Make the folder of a study, if there is none.

    Raises:
        UserError: It cannot be made, or holds something else.
    """
    there = {path.name for path in make_folder(root).iterdir()}
    if there - {"lock"} and "study.json" not in there:
        raise UserError(f"{root}: is not empty and holds no study; give another folder")


def read(root: Path) -> Study:
    """The study of a folder.

    Raises:
        UserError: There is none, or it cannot be read.
    """
    path = root / "study.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        base = {
            setting: config.from_dict(config.Config, part, f"{path}: base.{setting}")
            for setting, part in data["base"].items()
        }
        folders = tuple(Path(folder) for folder in data["data"])
        choices, entropy_model = tuple(map(str, data["choices"])), str(data.get("entropy_model", ""))
        return Study(base, folders, choices, int(data["seeds"]), entropy_model)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give the folder of a study") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"{path}: is damaged ({error!r}); give another folder") from error


def result(cell: Cell, root: Path) -> dict[str, str] | None:
    """How a run ended; None if it has not, or it is not known.

    `status` is "done" or "failed", with its `reason`; `trained_on` says where it ended, "" if that is not known.
    """
    try:
        found = json.loads((cell.folder(root) / "result.json").read_text(encoding="utf-8"))
        ended = {name: str(found[name]) for name in ("status", "reason")}
        return ended | {"trained_on": str(found.get("trained_on", ""))}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def ended_well(cell: Cell, root: Path) -> bool:
    """Whether a run is done."""
    return (result(cell, root) or {}).get("status") == "done"
