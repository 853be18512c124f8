"""Settings from presets, JSON and `--set key=value`, and back: the one path to the dataclasses.

Names in files may differ from names in Python (`setting(..., key=)`); both are understood, and files get the former.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from snn_codec.errors import UserError
from snn_codec.settings.fields import Part, Settings, checked, described, keys, rules
from snn_codec.settings.presets import PRESETS, phase_preset
from snn_codec.settings.training import Config


def from_dict(cls: type, data: Any, where: str = "config") -> Any:
    """`data`, as read from JSON, as an instance of the dataclass `cls`, or of a kind of the role `cls`.

    Raises:
        UserError: A key is unknown, or a value has the wrong type, arity or range; the message names its place.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: expected an object{' with a kind' * _is_role(cls)}, found {data!r}")
    if _is_role(cls):
        cls = _kind(cls, data.get("kind"), f"{where}.kind")
    names, known = keys(cls), rules(cls)
    values = {}
    for key, value in data.items():
        name = names.get(key, key)
        if name not in known:
            raise UserError(f"{where}: unknown key {key!r}; known are {', '.join(known)}")
        hint, bounds = known[name]
        place = f"{where}.{name}"
        values[name] = (
            from_dict(hint, value, place) if _is_nested(hint) else checked(hint, value, place, bounds)
        )
    try:
        return cls(**values)
    except UserError as error:  # values that contradict each other; it does not know where they are from
        raise UserError(f"{where}: {error}") from error


def to_dict(settings: Any) -> dict[str, Any]:
    """The JSON form of settings; `from_dict` is its inverse."""
    content = {}
    for key, name in keys(type(settings)).items():
        value = getattr(settings, name)
        if isinstance(value, Settings):
            value = to_dict(value)
        content[key] = list(value) if isinstance(value, tuple) else value
    return content


def load(name: str, settings: Iterable[str] = ()) -> Config:
    """The preset of this name or the JSON file at this path, changed by settings like `training.steps=100`.

    Raises:
        UserError: No such preset or file, or a setting that does not fit.
    """
    if name in PRESETS:
        config = PRESETS[name]
    else:
        path = Path(name)
        if not path.is_file():
            raise UserError(f"{name}: no such preset or file; presets are {', '.join(PRESETS)}")
        try:
            data = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{name}: is not JSON ({error})") from error
        config = from_dict(Config, data, name)
    return changed(config, settings)


def changed(config: Config, settings: Iterable[str]) -> Config:
    """A configuration changed by settings like `training.steps=100`.

    Raises:
        UserError: A setting that does not fit.
    """
    data = to_dict(config)
    for setting in settings:
        _apply(data, setting)
    return from_dict(Config, data)


def check_phase(settings: Config, phase: str | None) -> None:
    """See that settings are of the phase that was asked for.

    Raises:
        UserError: They are not.
    """
    kind = settings.phase.kind
    if phase not in (None, kind):
        raise UserError(
            f"--phase {phase}: the settings are of the phase {kind}; leave --phase out, or use the preset "
            f"{phase_preset(phase)}"
        )


class Listed(NamedTuple):
    """One setting that `--set` can change: its key, its default as JSON, what it is, and of which kind it is."""

    key: str
    default: str
    text: str
    kind: str = ""


def list_settings(cls: type = Config, prefix: str = "", kind: str = "") -> Iterator[Listed]:
    """All settings of a training run, those of every kind of part included, in order."""
    for name, default, text in described(cls):
        key, (hint, _) = f"{prefix}{name}", rules(cls)[name]
        if name == "kind":
            continue
        if _is_role(hint):
            yield Listed(f"{key}.kind", default.kind, f"{text}: {', '.join(hint.kinds)}", kind)
            for part in hint.kinds.values():
                yield from list_settings(part, f"{key}.", part.kind)
        elif isinstance(default, Settings):
            yield from list_settings(type(default), f"{key}.", kind)
        else:
            shown = default if isinstance(default, str) else json.dumps(default)
            yield Listed(key, shown, text, kind)


def settings_table() -> str:
    """`list_settings` as text: a line for each, in columns."""
    rows = list(list_settings())
    wide, middle = max(len(row.key) for row in rows), max(min(len(row.default), 24) for row in rows)
    return "\n".join(
        f"{row.key:{wide}}  {row.default:{middle}}  {f'[{row.kind}] ' if row.kind else ''}{row.text}"
        for row in rows
    )


def _is_nested(hint: Any) -> TypeGuard[type[Settings]]:
    return isinstance(hint, type) and issubclass(hint, Settings)


def _is_role(hint: Any) -> TypeGuard[type[Part]]:
    return _is_nested(hint) and issubclass(hint, Part) and not hasattr(hint, "kind")


def _kind(role: type[Part], kind: Any, where: str) -> type:
    if not isinstance(kind, str) or kind not in role.kinds:
        raise UserError(f"{where}: must be one of {', '.join(role.kinds)}, not {kind!r}")
    return role.kinds[kind]


def _apply(data: dict[str, Any], setting: str) -> None:
    """Change the JSON form of a `Config` by one `key=value`."""
    key, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"--set {setting}: write it as key=value, as in training.steps=100")
    *path, last = key.split(".")
    cls: type = Config
    role: type[Part] | None = None
    place: Any = data
    for part in path:
        name = keys(cls).get(part, part)
        hint, _ = rules(cls).get(name, (None, None))
        if not _is_nested(hint):
            raise UserError(f"--set {setting}: there is no setting {key!r}")
        place = place[_key(cls, name)]
        role = hint if _is_role(hint) else None
        cls = role.kinds[place["kind"]] if role else hint
    name = keys(cls).get(last, last)
    if name not in rules(cls):
        raise UserError(f"--set {setting}: there is no setting {key!r}")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if role and last == "kind" and value != place["kind"]:
        chosen = _kind(role, value, f"--set {setting}")
        place.clear()  # the other kind has other settings; start from its defaults
        place |= to_dict(chosen())
    place[_key(cls, name)] = value


def _key(cls: type, name: str) -> str:
    """The name in files of a field."""
    return next(key for key, other in keys(cls).items() if other == name)
