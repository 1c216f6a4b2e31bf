"""A voice checked. What is wrong takes one line: the place, what stands there, what was expected. Never a secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from leveler.config.voice import Path, Problem, Said, Voice, at
from leveler.config.words import EXPECTED, REFUSED, Given, known_keys

_MAX_CHARACTERS: Final = 60

_EXPECTED: Final = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a number",
    "bool": "true or false",
    "string": "text",
    "model": "a section of keys and values",
    "dict": "a section of keys and values",
}


def check(voice: Voice) -> tuple[Said | None, list[Problem]]:
    """What `voice` says, if that can be understood, and all that is wrong with it."""
    problems = [*voice.problems, *_twice(voice)]
    try:
        given = Given.model_validate(voice.values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return None, problems + [_problem(voice, detail) for detail in details]
    return Said(voice, _long(given.model_dump(exclude_unset=True, exclude_none=True))), problems


def _long(words: dict[str, Any]) -> dict[str, Any]:
    """``broker: URL`` written out, and options by the names of their fields."""
    brokers = {
        name: {option.replace("-", "_"): value for option, value in (broker or {}).items()}
        for name, broker in words.get("brokers", {}).items()
    }
    if (url := words.pop("broker", None)) is not None:
        brokers["default"] = {**brokers.get("default", {}), "url": url}
    return {**words, "brokers": brokers}


def _twice(voice: Voice) -> list[Problem]:
    if at(voice.values, ("broker",)) is None or at(voice.values, ("brokers", "default", "url")) is None:
        return []
    long = voice.places[voice.nearest(("brokers", "default", "url"))].name
    return [voice.problem(("broker",), f": is short for {long}, which is set too; keep one")]


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most likely meant."""
    return next(iter(get_close_matches(word, list(known), n=1)), None)


def shown(value: object) -> str:
    """`value` for an error: short, and nothing that might hold a password."""
    if isinstance(value, str) and "://" in value:
        return "a URL"
    if isinstance(value, Mapping | list):
        return "a section" if isinstance(value, Mapping) else "a list"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 3]}..."


def _problem(voice: Voice, detail: ErrorDetails) -> Problem:
    path = tuple(str(part) for part in detail["loc"] if part != "[key]")
    match detail["type"]:
        case "extra_forbidden":
            return voice.problem(path, f": unknown key; {_meant(voice, path)}")
        case "missing":
            return voice.problem(path, f": {path[-1]!r} is missing")
        case kind if kind == REFUSED:
            return voice.problem(path, f": {detail['msg']}")
    return voice.problem(path, f"{_is(voice, path)}: expected {_expected(detail)}")


def _meant(voice: Voice, path: Path) -> str:
    known = known_keys(path[:-1])
    near = did_you_mean(path[-1], known)
    return f"known are {', '.join(known)}" if near is None else f"did you mean {voice.spelling((*path[:-1], near))}?"


def _is(voice: Voice, path: Path) -> str:
    """What stands there; nothing about what is secret, as brokers are for the most part."""
    return (
        ""
        if path[0] in ("broker", "brokers", "listen_token", "store")
        else f" is {shown(at(voice.written, voice.nearest(path)))}"
    )


def _expected(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    match kind:
        case "greater_than":
            return f"more than {_number(context['gt'])}"
        case "less_than_equal":
            return f"{_number(context['le'])} or less"
        case "greater_than_equal":
            return f"{_number(context['ge'])} or more"
        case "literal_error":
            return str(context["expected"])
    if kind == EXPECTED:
        return detail["msg"]
    return _EXPECTED.get(kind.partition("_")[0], detail["msg"])


def _number(number: Any) -> str:
    return f"{number:g}"
