"""LEVELER_* as a `Voice`. pydantic-settings nests the variables; what it would overlook is refused here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import create_model
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from leveler.config.check import did_you_mean
from leveler.config.voice import Path, Place, Problem, Voice
from leveler.config.words import NAMED, Given

PREFIX: Final = "LEVELER_"
#: The file to read; no setting itself.
FILE_VARIABLE: Final = f"{PREFIX}CONFIG"
#: The test suite's own: which servers it may use.
_TESTS: Final = f"{PREFIX}TEST_"


class _Prefixed(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__")


# As much as pydantic-settings must know to find the variables: which words are sections.
_FIELDS: Final[dict[str, Any]] = {word: (dict[str, Any] if word in NAMED else str, ...) for word in Given.model_fields}
_Environment = create_model("_Environment", __base__=_Prefixed, **_FIELDS)


class _Variables(EnvSettingsSource):
    """Variables as the texts that they are: ``1e5`` may be a password, and ``[1]`` too."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        return value


def read_environment() -> Voice:
    """What the variables say."""
    paths = {name: _path(name) for name in sorted(os.environ) if _is_ours(name)}
    values = _with_names(_Variables(_Environment)())
    # A section stands where the first of its settings does.
    places = {
        path[:length]: Place(0, name, name) for name, path in reversed(paths.items()) for length in range(1, len(path))
    }
    places |= {path: Place(0, name, name) for name, path in paths.items()}
    places[()] = Place(0, "the environment", "the environment")
    problems = [Problem(0, text) for text in _misnamed(paths)]
    return Voice(values=values, places=places, written=values, spelling=_spelling, problems=problems)


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIX) and name != FILE_VARIABLE and not name.startswith(_TESTS)


def _path(name: str) -> Path:
    """``LEVELER_QUEUES__NEW_ORDERS__LEASE`` -> queues, new-orders, lease."""
    path = tuple(name[len(PREFIX) :].lower().split("__"))
    return (path[0], _dashed(path[1]), *path[2:]) if path[0] in NAMED and len(path) > 1 else path


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _spelling(path: Path) -> str:
    return PREFIX + "__".join(path).replace("-", "_").upper()


def _nested(section: str, rest: str) -> str:
    """What may have been meant by words that only single underscores keep apart."""
    for key in sorted(NAMED[section].model_fields, key=len, reverse=True):
        if (name := rest.removesuffix(f"_{key}")) != rest:
            return f"did you mean {_spelling((section, name, key))}?"
    return f"write it as {_spelling((section, 'NAME', 'KEY'))}"


def _with_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with the names that users chose as they stand elsewhere."""
    return {
        word: {_dashed(name): inner for name, inner in value.items()}
        if word in NAMED and isinstance(value, dict)
        else value
        for word, value in values.items()
    }


def _misnamed(paths: Mapping[str, Path]) -> Iterator[str]:
    """What pydantic-settings takes no notice of, or would read as something else."""
    names = {path: name for name, path in paths.items()}
    for name, path in paths.items():
        if name != name.upper():
            yield f"{name}: unknown variable; did you mean {name.upper()}?"
        elif path[0] not in Given.model_fields:
            yield f"{name}: unknown variable; {_meant(path)}"
        elif path[0] not in NAMED and len(path) > 1:
            yield f"{name}: unknown variable; did you mean {_spelling(path[:1])}?"
        elif outer := next((names[path[:n]] for n in range(1, len(path)) if path[:n] in names), None):
            yield f"{name}: stands inside {outer}, which is set too; keep one"


def _meant(path: Path) -> str:
    for section in NAMED:
        if path[0].startswith(f"{section}_"):
            return f"'__' nests: {_nested(section, path[0].removeprefix(f'{section}_'))}"
    near = did_you_mean(path[0], ["config", *Given.model_fields])
    if near is not None:
        return f"did you mean {_spelling((near, *path[1:]))}?"
    known = [_spelling((word, "...") if word in NAMED else (word,)) for word in Given.model_fields]
    return f"known are {FILE_VARIABLE}, {', '.join(known)}"
