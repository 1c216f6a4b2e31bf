"""URL -> adapter, through the entry-point group "leveler.adapters".

An adapter says itself which URL schemes it answers to, so it has to be imported to be asked, and its client library
may be missing. The one that is most likely meant is asked first; an adapter that cannot be imported stops nobody
who did not mean it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from importlib import metadata
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints
from urllib.parse import unquote

import msgspec

from leveler.adapter import Adapter, redact
from leveler.clock import Clock
from leveler.errors import AdapterNotFound, ConfigError

GROUP: Final = "leveler.adapters"

_DISTRIBUTION: Final = "leveler-mq"

# Which of our own adapters a scheme means, for a good error where it cannot be imported to be asked.
_OURS: Final = {
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "azurequeue": "storagequeue",
    "cloudtasks": "cloudtasks",
    "memory": "memory",
    "redis": "redis",
    "rediss": "redis",
    "servicebus": "servicebus",
    "sqlite": "sqlite",
    "sqs": "sqs",
}

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class Installed(NamedTuple):
    """One installed adapter, for whoever lists them."""

    name: str
    #: URL schemes that it answers to; empty where it cannot be imported.
    schemes: tuple[str, ...]
    #: Why it cannot be used, and what to do; None when it can.
    problem: str | None
    #: The distribution that it comes from.
    distribution: str


def find(
    url: str,
    *,
    clock: Clock,
    deadline_seconds: float,
    extra_options: Mapping[str, object] | None = None,
    entry_points: Iterable[metadata.EntryPoint] | None = None,
) -> Adapter:
    """The adapter for `url`, constructed; it does no I/O before it is entered.

    Args:
        url: its scheme says which adapter, its query holds options.
        clock: handed to the adapter.
        deadline_seconds: handed to the adapter.
        extra_options: more options; dashes in names may stand for underscores.
        entry_points: where to look, instead of what is installed.

    Raises:
        AdapterNotFound: nobody answers to this scheme, or the client library is missing; says what to do.
        ConfigError: an option is unknown, is given twice or has a wrong value.
    """
    scheme, address, query = _split(url.strip())
    adapter = _adapter_for(scheme, _entries(entry_points))
    given = _gather(scheme, [*_pairs(scheme, query), *(extra_options or {}).items()])
    return adapter(address, _options(scheme, adapter, given), clock=clock, deadline_seconds=deadline_seconds)


def adapter_type(url: str) -> type[Adapter]:
    """Who answers to the scheme of `url`.

    Raises:
        AdapterNotFound: nobody does, or the client library is missing; says what to do.
    """
    return _adapter_for(_split(url.strip())[0], _entries(None))


def installed(entry_points: Iterable[metadata.EntryPoint] | None = None) -> list[Installed]:
    """Every installed adapter, by name, usable or not."""
    return [_inspect(entry) for entry in sorted(_entries(entry_points), key=lambda entry: entry.name)]


def _inspect(entry: metadata.EntryPoint) -> Installed:
    try:
        return Installed(entry.name, tuple(_load(entry).schemes), None, _distribution(entry))
    except ConfigError as error:
        return Installed(entry.name, (), str(error), _distribution(entry))
    except Exception as error:  # a bug in one adapter must not hide the others
        return Installed(entry.name, (), f"{type(error).__name__}: {error}", _distribution(entry))


# ---- the adapter


def _entries(given: Iterable[metadata.EntryPoint] | None) -> list[metadata.EntryPoint]:
    return list(metadata.entry_points(group=GROUP) if given is None else given)


def _adapter_for(scheme: str, entries: list[metadata.EntryPoint]) -> type[Adapter]:
    meant = _OURS.get(scheme, scheme)
    known: set[str] = set()
    problems: dict[str, Exception] = {}
    for entry in sorted(entries, key=lambda entry: (entry.name != meant, not _is_ours(entry), entry.name)):
        try:
            adapter = _load(entry)
        except Exception as error:
            if entry.name == meant and not isinstance(error, AdapterNotFound):
                raise  # a bug in the adapter that was asked for: its own traceback says best where
            problems[entry.name] = error
            continue
        if scheme in adapter.schemes:
            return adapter
        known.update(adapter.schemes)
    if meant in problems:
        raise problems[meant]
    raise AdapterNotFound(_nobody_answers(scheme, known, problems))


def _load(entry: metadata.EntryPoint) -> type[Adapter]:
    try:
        adapter = entry.load()
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.partition(".")[0] in ("", "leveler", entry.module.partition(".")[0]):
            raise  # not the client library: the adapter itself is broken
        raise AdapterNotFound(_missing(entry, missing)) from error
    if not isinstance(adapter, type) or not issubclass(adapter, Adapter) or not getattr(adapter, "schemes", ()):
        raise ConfigError(
            f"the adapter {entry.name!r} of {_distribution(entry)} is broken: {entry.value} must be a subclass of "
            "leveler.adapter.Adapter that declares its schemes"
        )
    return adapter


def _missing(entry: metadata.EntryPoint, module: str) -> str:
    needs = f"the adapter {entry.name!r} needs the module {module!r}, which "
    if module.partition(".")[0] in sys.stdlib_module_names:
        return f"{needs}this Python was built without: use another build of Python"
    if _is_ours(entry):
        return f"{needs}is not installed: pip install '{_DISTRIBUTION}[{entry.name}]'"
    return f"{needs}is not installed: install it as {_distribution(entry)!r} says, which this adapter comes from"


def _nobody_answers(scheme: str, known: set[str], problems: Mapping[str, Exception]) -> str:
    known = known | {ours for ours, name in _OURS.items() if name in problems}
    lines = [f"no adapter answers to '{scheme}://'{_nearest(scheme, known)}; known are {_listed(known)}"]
    for name, error in problems.items():
        if name not in _OURS.values() or not isinstance(error, AdapterNotFound):  # else it is known what it would say
            lines.append(f"  the adapter {name!r} could not be asked: {error}")
    return "\n".join(lines)


def _is_ours(entry: metadata.EntryPoint) -> bool:
    return re.sub(r"[-_.]+", "-", _distribution(entry)).lower() == _DISTRIBUTION


def _distribution(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown distribution"


# ---- the URL and its options


def _split(url: str) -> tuple[str, str, str]:
    """Scheme, URL without query, query. No error shows the URL: what is no URL may be a password."""
    scheme, separator, rest = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        shown = f"broker {url!r}" if url in _OURS or url in _OURS.values() else "the broker's URL"
        raise AdapterNotFound(
            f"{shown} has no scheme: write it as scheme://..., for example 'sqlite:///orders.db' or 'memory://'"
        )
    address, _, query = rest.partition("?")
    if "@" in query and "@" not in address and ":" in address.partition("/")[0]:
        raise ConfigError(
            f"the URL {scheme}://... seems to have a '?' in its password: write it as %3F "
            "(if there is no password, write the '@' in the option as %40)"
        )
    return scheme.lower(), f"{scheme.lower()}://{address}", query


def _pairs(scheme: str, query: str) -> Iterator[tuple[str, str]]:
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")  # "+" stays: it is a common character of keys and signatures
        if not _KEY.fullmatch(key):
            raise ConfigError(f"the URL {scheme}://... has an option whose name is no word; a '?' in a password is %3F")
        yield key, unquote(value)


def _gather(scheme: str, pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    given: dict[str, object] = {}
    for key, value in pairs:
        name = key.replace("-", "_")
        if name in given:
            raise ConfigError(f"option {name!r} of {scheme}:// is given twice (URL query and settings count as one)")
        given[name] = value
    return given


def _options(scheme: str, adapter: type[Adapter], given: Mapping[str, object]) -> Any:
    known = {field.name for field in fields(adapter.options) if field.init}
    for name in given:
        if name not in known:
            listed = f"it takes {_listed(known)}" if known else "it takes none"
            raise ConfigError(f"{scheme}:// has no option {name!r}{_nearest(name, known)}; {listed}")
    try:
        return msgspec.convert(dict(given), adapter.options, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"options of {scheme}://: {_finding(adapter.options, str(error))}") from None


def _finding(options: type[Any], text: str) -> str:
    """What msgspec found wrong, in the user's words, with the choices where there are any."""
    place = re.search(r"`\$\.(\w+)", text)
    hint = get_type_hints(options).get(place[1]) if place else None
    choices = f"; choose one of {_listed(map(str, get_args(hint)))}" if get_origin(hint) is Literal else ""
    return redact(text).replace("`$.", "`") + choices


def _nearest(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, sorted(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none: no adapter is installed"
