"""leveler.yaml as a `Voice`: plain data only, every value with its line, nothing said twice."""

from __future__ import annotations

import re
from pathlib import Path as FilePath
from typing import Any, Final, NoReturn

import yaml

from leveler.config.voice import Path, Place, Problem, Voice
from leveler.errors import ConfigError

#: Far beyond any real file; a hostile one must not take our memory, through aliases of aliases least of all.
MAX_FILE_BYTES: Final = 1024 * 1024
MAX_VALUES: Final = 10_000
MAX_DEPTH: Final = 16

_WORD = re.compile(r"[\w.-]{1,60}")
# In what the parser says, names from the file stand in quotes; so do single characters, and its own '<scalar>'.
_QUOTED = re.compile(r"'([^']*)'")
_YAML: Final = "tag:yaml.org,2002:"
_DATA: Final = frozenset(f"{_YAML}{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null"))
# What YAML would make a date, or has its own ideas about, is the text that it is.
_TEXT: Final = frozenset(f"{_YAML}{kind}" for kind in ("str", "timestamp", "value"))
# Python refuses to write much larger numbers, in an error for example.
_MAX_BITS: Final = 64
_MERGE: Final = f"{_YAML}merge"


def read_file(file: FilePath) -> Voice:
    """What the file says; `file` is shown in errors as it is given.

    Raises:
        ConfigError: it cannot be read, or is no YAML mapping of settings.
    """
    reader = _Reader(str(file))
    try:
        node = yaml.compose(_read(file), yaml.SafeLoader)
        values = {} if node is None else reader.value(node, ())
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax(file, error)) from None
    except (yaml.YAMLError, UnicodeError):
        raise ConfigError(f"{file}: this is no text: expected YAML in UTF-8") from None
    except RecursionError:
        raise ConfigError(f"{file}: sections are nested too deep") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected settings, for example 'broker: sqlite:///orders.db'")
    return Voice(
        values=values,
        places=reader.places,
        written=values,
        spelling=lambda path: repr(path[-1]),
        problems=reader.problems,
    )


def _read(file: FilePath) -> bytes:
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError(f"{file}: larger than {MAX_FILE_BYTES} bytes: this is no file of settings")
    return text


def _syntax(file: FilePath, error: yaml.MarkedYAMLError) -> str:
    """Where and what, without the text of the file that the parser would show: there may be a password in it."""
    mark = error.problem_mark or error.context_mark
    where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
    what = ", ".join(_QUOTED.sub(_harmless, part) for part in (error.context, error.problem) if part)
    return f"{file}{where}: no valid YAML: {what}"


def _harmless(quoted: re.Match[str]) -> str:
    return quoted[0] if len(quoted[1]) <= 2 or quoted[1].startswith("<") else "'...'"


class _Reader:
    """Nodes -> data and places. Aliases are expanded here, and counted."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[Path, Place] = {(): Place(0, file, file)}
        self.problems: list[Problem] = []
        self._values = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            self._stop(path, node, f"more than {MAX_VALUES} values, aliases counted wherever they are used")
        if len(path) > MAX_DEPTH:
            self._stop(path, node, f"sections are nested deeper than {MAX_DEPTH}")
        if node.tag not in _DATA | _TEXT:
            self._stop(path, node, "only plain data is allowed, nothing with a '!' tag")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, str(index))) for index, item in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        inherited: dict[str, Any] = {}
        for key, section in node.value:
            if key.tag == _MERGE:
                inherited |= self._merged(section, path)
        own: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag != _MERGE:
                word = self._key(key, (*path, "?"))
                self._settle(key, (*path, word), again=word in own)
                own[word] = self.value(value, (*path, word))
        return inherited | own

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        """What ``<<`` brings: one section, or several of which the first is the strongest."""
        merged: dict[str, Any] = {}
        for section in reversed(node.value) if isinstance(node, yaml.SequenceNode) else (node,):
            if not isinstance(section, yaml.MappingNode):
                self._stop((*path, "<<"), section, "expected a section to take over")
            merged |= self.value(section, path)
        return merged

    def _key(self, node: yaml.Node, path: Path) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._stop(path, node, "expected a word as the key")
        return str(node.value)

    def _settle(self, node: yaml.Node, path: Path, *, again: bool) -> None:
        place = self._place(path, node)
        if again:
            first = self.places[path].line
            self.problems.append(Problem(place.line, f"{place.name}: stands in line {first} too; keep one"))
        self.places[path] = place

    def _place(self, path: Path, node: yaml.Node) -> Place:
        origin = f"{self.file}:{node.start_mark.line + 1}"
        key = ".".join(word if _WORD.fullmatch(word) else "..." for word in path)
        return Place(node.start_mark.line + 1, origin, f"{origin}: {key}" if key else origin)

    def _stop(self, path: Path, node: yaml.Node, text: str) -> NoReturn:
        raise ConfigError(f"{self._place(path, node).name}: {text}")


def _scalar(node: yaml.Node) -> Any:
    # By YAML's old rules 1:30 is ninety.
    if node.tag in _TEXT or ":" in node.value:
        return str(node.value)
    try:
        value = yaml.constructor.SafeConstructor().construct_object(node)
    except (ValueError, LookupError):  # by its tag it should be one, and it is none
        return str(node.value)
    is_sane = not isinstance(value, int) or value.bit_length() <= _MAX_BITS
    return value if is_sane else str(node.value)
