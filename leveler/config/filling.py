"""``${NAME}`` in the texts of a file: a secret stands in the environment, its place in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from leveler.config.voice import Path, Voice

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def fill(voice: Voice, environment: Mapping[str, str]) -> Voice:
    """`voice` with the values of the variables. Once: what they hold is not looked into."""
    problems = [
        voice.problem(path, text)
        for path, value in _texts(voice.values, ())
        for text in _wrong(_VARIABLE.findall(value), environment)
    ]
    return replace(voice, values=_filled(voice.values, environment), problems=[*voice.problems, *problems])


def _texts(values: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(values, str):
        yield path, values
    elif isinstance(values, Mapping):
        for word, value in values.items():
            yield from _texts(value, (*path, word))
    elif isinstance(values, list):
        for value in values:
            yield from _texts(value, path)


def _wrong(names: list[str], environment: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys(names):
        if not _NAME.fullmatch(name):  # not shown: it may be the middle of a password
            yield ": between '${' and '}' expected the name of an environment variable"
        elif name not in environment:
            yield f": the environment variable {name} is not set"


def _filled(values: Any, environment: Mapping[str, str]) -> Any:
    """None, which says nothing, for a text whose variables are not all there."""
    if isinstance(values, Mapping):
        return {word: _filled(value, environment) for word, value in values.items()}
    if isinstance(values, list):
        return [_filled(value, environment) for value in values]
    if not isinstance(values, str):
        return values
    if any(_wrong(_VARIABLE.findall(values), environment)):
        return None
    return _VARIABLE.sub(lambda match: environment[match[1]], values)
