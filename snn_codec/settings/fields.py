"""Settings as frozen dataclasses: every field knows its range, its line of help, and its name in files.

A value is checked when an instance is made: its type, the number of its elements, its range. Exchangeable parts derive
from a role (`snn_codec.settings.model.Encoder`, say) and register with it under their `kind`.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal

from snn_codec.errors import UserError

_BOUNDS = {
    "least": (lambda value, bound: value >= bound, "{} or more"),
    "above": (lambda value, bound: value > bound, "above {}"),
    "most": (lambda value, bound: value <= bound, "{} or less"),
    "below": (lambda value, bound: value < bound, "below {}"),
}


def setting(default: Any, text: str, *, key: str = "", **bounds: float) -> Any:
    """A field of a `Settings` dataclass.

    Args:
        default: Its value if none is given.
        text: One line that says what it is.
        key: Its name in JSON files, if that differs from its name in Python.
        bounds: Any of `least`, `above`, `most`, `below`; of a tuple, they are for each element.
    """
    assert set(bounds) <= set(_BOUNDS)
    return field(default=default, metadata={"text": text, "key": key, "bounds": bounds})


@dataclass(frozen=True)
class Settings:
    """Base of all settings.

    Raises:
        UserError: A value has the wrong type, arity or range, or contradicts another; the message names its place.
    """

    def __post_init__(self) -> None:
        cls: type = type(self)
        for name, (hint, bounds) in rules(cls).items():
            value = checked(hint, getattr(self, name), f"{type(self).__name__}.{name}", bounds)
            object.__setattr__(self, name, value)
        self.check()

    def check(self) -> None:
        """Look for values that contradict each other.

        Raises:
            UserError: Some do.
        """

    @property
    def is_absent(self) -> bool:
        """Whether these settings stand for a part that a model does not have, so that its fingerprint ignores them."""
        return False


class Part(Settings):
    """Base of the roles: a subclass without a `kind` is a role, and each dataclass derived from it is a kind of it.

    Attributes:
        kinds: Of a role, its kinds by name.
    """

    kinds: ClassVar[dict[str, Any]]
    kind: str

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls, "kind"):
            cls.kinds = {}
            return
        if "kind" not in vars(cls):  # a variant of a kind, which stands for it under its name
            return
        for role in cls.__mro__:
            kinds = vars(role).get("kinds")
            if kinds is not None and kinds.setdefault(cls.kind, cls) is not cls:
                raise ValueError(f"the kind {cls.kind!r} of {role.__name__} is {kinds[cls.kind]} already")


def imported(path: str) -> Any:
    """The object that `module:attribute` names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def keys(cls: type) -> dict[str, str]:
    """The names of a dataclass's fields in Python, by their names in files."""
    return {entry.metadata.get("key") or entry.name: entry.name for entry in dataclasses.fields(cls)}


def described(cls: type) -> Iterator[tuple[str, Any, str]]:
    """Name in Python, default and line of help of each field."""
    for entry in dataclasses.fields(cls):
        yield entry.name, entry.default, entry.metadata.get("text", "")


@cache
def rules(cls: type) -> dict[str, tuple[Any, Mapping[str, float]]]:
    """Type and bounds of a dataclass's fields, by their names in Python, as `checked` wants them."""
    known = typing.get_type_hints(cls)
    return {
        entry.name: (known[entry.name], entry.metadata.get("bounds", {})) for entry in dataclasses.fields(cls)
    }


def checked(
    hint: Any, value: Any, where: str, bounds: Mapping[str, float] = types.MappingProxyType({})
) -> Any:
    """A value as the type `hint`; integers pass as floats, lists as tuples.

    Raises:
        UserError: It is of another type, arity or range.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise UserError(f"{where}: must be one of {', '.join(map(str, arguments))}, not {value!r}")
        return value
    if origin is tuple:
        return _checked_tuple(arguments, value, where, bounds)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{where}: expected {hint.__name__}, found {value!r}")
    if hint is float and not math.isfinite(value):
        raise UserError(f"{where}: must be a finite number, not {value}")
    if not all(_BOUNDS[name][0](value, bound) for name, bound in bounds.items()):
        wanted = " and ".join(_BOUNDS[name][1].format(bound) for name, bound in bounds.items())
        raise UserError(f"{where}: must be {wanted}, not {value}")
    return value


def _checked_tuple(arguments: tuple[Any, ...], value: Any, where: str, bounds: Mapping[str, float]) -> tuple:
    if not isinstance(value, (list, tuple)):
        raise UserError(f"{where}: expected a list, found {value!r}")
    if arguments[-1] is Ellipsis:
        if not value:
            raise UserError(f"{where}: needs one value or more, found an empty list")
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        raise UserError(f"{where}: needs {len(arguments)} values, found {len(value)}: {list(value)}")
    return tuple(checked(hint, item, where, bounds) for hint, item in zip(arguments, value, strict=True))
