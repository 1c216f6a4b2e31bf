"""Voice: what one source says, leveler.yaml or the environment, and where it says it. Said: the same, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

#: The words that lead to a setting: ``("queues", "orders", "lease")``.
Path = tuple[str, ...]


class Place(NamedTuple):
    """Where a setting stands."""

    #: In its file; 0 where there are no lines.
    line: int
    #: ``leveler.yaml:7``, or the variable's name.
    origin: str
    #: The setting and where it stands, as errors call it: ``leveler.yaml:7: queues.orders.lease``.
    name: str


class Problem(NamedTuple):
    """One line for the user. Problems sort as their places stand."""

    line: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One source of settings, not yet checked."""

    #: Sections in sections, as in the file.
    values: Mapping[str, Any]
    #: Of everything that was written, ``()`` being the source itself.
    places: Mapping[Path, Place]
    #: The same values as they were written: an error may show ``${PASSWORD}``, but never the password.
    written: Mapping[str, Any]
    #: How a setting is called here.
    spelling: Callable[[Path], str]
    #: What is wrong with it already.
    problems: Sequence[Problem] = ()

    def nearest(self, path: Path) -> Path:
        """As much of `path` as was written: a setting that is missing is missed in its section."""
        while path not in self.places:
            path = path[:-1]
        return path

    def problem(self, path: Path, text: str) -> Problem:
        """`text` about the setting at `path`, with its place in front."""
        place = self.places[self.nearest(path)]
        return Problem(place.line, place.name + text)

    def without_brokers(self) -> Voice:
        """The same, but not a word about brokers."""
        others = {word: value for word, value in self.values.items() if word not in ("broker", "brokers", "store")}
        return replace(self, values=others)


@dataclass(frozen=True)
class Said:
    """What a voice says, checked."""

    voice: Voice
    #: Only what was given, by the words of the file, in the engine's units.
    words: Mapping[str, Any]

    def place(self, path: Path) -> Place | None:
        """Where it says something about `path`; None if it does not."""
        if at(self.words, path) is None:
            return None
        short = path == ("brokers", "default", "url") and ("broker",) in self.voice.places
        return self.voice.places[("broker",) if short else self.voice.nearest(path)]


def at(values: Any, path: Path) -> Any:
    """What stands at `path` in nested mappings; None where nothing does."""
    for word in path:
        if not isinstance(values, Mapping):
            return None
        values = values.get(word)
    return values
