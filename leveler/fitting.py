"""Fitting: whether what code gives a setting is of the kind that the setting takes. Files and variables are checked by
their words; a program that no type checker has read is checked here.
"""

from __future__ import annotations

import types
import typing
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

from leveler.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def check_fields(settings: DataclassInstance) -> None:
    """
    Raises:
        ConfigError: the value of a field is not of its type; names the field, and what it takes.
    """
    hints = typing.get_type_hints(type(settings))
    for field in fields(settings):
        value, hint = getattr(settings, field.name), hints[field.name]
        if not _fits(value, hint):
            shown = repr(value) if field.repr else f"a {type(value).__name__}"
            raise ConfigError(f"{field.name} is {shown}: expected {_expected(field.name, hint)}")


def _fits(value: object, hint: Any) -> bool:
    if isinstance(hint, types.UnionType):
        return any(_fits(value, one) for one in typing.get_args(hint))
    origin = typing.get_origin(hint)
    if origin is Literal:
        return value in typing.get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint is Any or isinstance(value, origin or hint)


def _expected(name: str, hint: Any) -> str:
    kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType] or [hint]
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is not Literal:
        return " or ".join(_kind(name, kind) for kind in kinds)
    return " or ".join(map(repr, kinds))


def _kind(name: str, kind: Any) -> str:
    if kind is float:
        return "a number per second" if name.endswith("_per_second") else "seconds, as a plain number"
    if kind is int:
        return "bytes, as a plain number" if name.endswith("_bytes") else "a whole number"
    return {str: "text", bool: "True or False"}.get(kind) or f"{getattr(kind, '__name__', kind)}(...)"
