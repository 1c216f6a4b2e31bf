"""What holds in the end: the settings that the code gave, with what the voices say in their place, key by key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from leveler.config.check import did_you_mean, shown
from leveler.config.voice import Path, Place, Problem, Said, at
from leveler.config.words import is_name
from leveler.consumer.limits import BreakerPolicy
from leveler.discovery import adapter_type
from leveler.errors import ConfigError
from leveler.monitor.address import Address
from leveler.settings import (
    Adaptive,
    BrokerSettings,
    ConsumerSettings,
    LimitSettings,
    Processes,
    QueueSettings,
    Settings,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
D = TypeVar("D", bound="DataclassInstance")
_Over = Callable[[T, Mapping[str, Any]], T]

#: What stands in no section.
_ALONE: Final = ("store", "send_timeout", "drain_timeout", "listen", "listen_token")
_STORES: Final = (
    "set store to redis://host/0, sqlite:///rates.db (one host), or the name of a broker that is one of these"
)
_UNIT = re.compile(r"_((per_)?seconds?|bytes)$")


def word(field: str) -> str:
    """The key that a field of the settings is known by: its name without the unit."""
    return _UNIT.sub("", field)


def place_of(path: Path, said: Sequence[Said]) -> Place | None:
    """Where the setting at `path` was given last; None if only the code can have given it."""
    return next((place for one in reversed(said) if (place := one.place(path))), None)


def combine(code: Settings, said: Sequence[Said]) -> tuple[Settings, list[Problem]]:
    """`code` with all that was `said`, the last voice the strongest, and what no section can be made of."""
    problems: list[Problem] = []
    words: Mapping[str, Any] = {}
    for one in said:
        words = _merged(words, one.words)

    def section(
        name: str, words: Mapping[str, Any], known: Mapping[str, T], make: type[T], over: _Over[T]
    ) -> dict[str, T]:
        built = dict(known)
        for key, given in words.get(name, {}).items():
            try:
                built[key] = over(known.get(key) or make(), given or {})
            except ConfigError as error:
                problems.append(_blame((name, key), str(error), said))
        return built

    brokers = code.brokers
    for one in said:  # not merged before: a new URL ends what was said about the old one
        brokers = section("brokers", one.words, brokers, BrokerSettings, _broker)
    processes = code.processes
    if (given := words.get("processes")) is not None:
        try:
            processes = _over(Processes.of(code.processes), given)
        except ConfigError as error:
            problems.append(_blame(("processes",), str(error), said))
    settings = replace(
        _over(code, {key: words[key] for key in _ALONE if key in words}),
        processes=processes,
        brokers=brokers,
        downstreams=section("downstreams", words, code.downstreams, LimitSettings, _limits),
        queues=section("queues", words, code.queues, QueueSettings, _queue),
        consumers=section("consumers", words, code.consumers, ConsumerSettings, _consumer),
    )
    return settings, problems


def mismatches(settings: Settings, said: Sequence[Said], *, connecting: bool) -> Iterator[Problem]:
    """What is right by itself and does not fit the rest.

    Args:
        settings: all of them.
        said: where they come from.
        connecting: False: nobody will use the brokers.
    """
    for section, names in (("brokers", settings.brokers), ("downstreams", settings.downstreams)):
        for name in names:
            if not is_name(name):  # the file's were checked before
                yield _blame((section, name), "expected lower-case words joined by hyphens, such as 'my-api'", said)
    for name, consumer in settings.consumers.items():
        if consumer.downstream is not None and consumer.downstream not in settings.downstreams:
            yield _no_such(("consumers", name, "downstream"), consumer.downstream, settings.downstreams, said)
    if settings.is_open_to_all:
        yield _blame(("listen",), "other hosts could read it: give a listen_token, or listen on 127.0.0.1", said)
    try:
        Address.of(settings.listen or "127.0.0.1:0").further(Processes.of(settings.processes).max - 1)
    except ConfigError as error:
        yield _blame(("listen",), f"with {Processes.of(settings.processes).max} processes {error}", said)
    if not connecting:
        return
    for name, queue in settings.queues.items():
        if settings.brokers and queue.broker not in settings.brokers:
            yield _no_such(("queues", name, "broker"), queue.broker, settings.brokers, said)
    if settings.brokers and (rates := settings.fleet_rates()) and (lack := _lack_of_store(settings)):
        path = ("store",) if place_of(("store",), said) else (*rates[0].split("."), "rate", "scope")
        place = place_of(path, said) or _in_code(path)
        yield Problem(place.line, f"{place.name}: {rates[0]}.rate is the fleet's, and {lack}: {_STORES}")
    for name, broker in settings.brokers.items():
        if broker.adapter is None and not broker.url:
            yield _blame(("brokers", name), "url is missing, for example url: amqp://host/", said)


def _lack_of_store(settings: Settings) -> str:
    """Why no fleet can share its rates; empty where it can, as far as that is known before anything is started."""
    name, broker = settings.store, settings.brokers.get(settings.store)
    if broker is None and "://" not in name:
        return f"there is no broker {name!r} to keep it"
    try:
        adapter = broker.adapter if broker is not None else None
        keeps = (adapter or adapter_type(name if broker is None else broker.url)).keeps_rates
    except ConfigError:
        return ""  # whoever starts it says better what is wrong with the URL
    kind = "the store" if broker is None else f"broker {name!r}"
    return "" if keeps else f"{kind} cannot keep it"


def _no_such(path: Path, name: str, known: Mapping[str, object], said: Sequence[Said]) -> Problem:
    place = place_of(path, said) or _in_code(path)
    near = did_you_mean(name, known)
    hint = f"did you mean {near!r}?" if near else f"known are {', '.join(sorted(known)) or _none(path[-1])}"
    written = next((at(one.voice.written, path) for one in reversed(said) if one.place(path)), name)
    return Problem(place.line, f"{place.name} is {shown(written)}: there is no {path[-1]} of this name; {hint}")


def _none(kind: str) -> str:
    return f"none; define it under '{kind}s'"


def _blame(section: Path, text: str, said: Sequence[Said]) -> Problem:
    """`text` with the place of what it speaks about: the value in the section that it names and was given last."""
    places = (
        place
        for one in reversed(said)
        for path, place in one.voice.places.items()
        if path[: len(section)] == section
        and path[-1] in text
        and not isinstance(at(one.words, path), Mapping | NoneType)
    )
    place = next(places, None) or place_of(section, said) or _in_code(section)
    return Problem(place.line, f"{place.name}: {text}")


def _in_code(path: Path) -> Place:
    return Place(0, "code", f"{'.'.join(path)} (in code)")


def _merged(weaker: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(weaker)
    for key, value in stronger.items():
        both = isinstance(value, Mapping) and isinstance(weaker.get(key), Mapping)
        merged[key] = _merged(weaker[key], value) if both else value
    return merged


def _over(code: D, given: Mapping[str, Any]) -> D:
    """`code` with what was given in its place."""
    return replace(code, **{field.name: given[word(field.name)] for field in fields(code) if word(field.name) in given})


def _limits(code: LimitSettings, given: Mapping[str, Any]) -> LimitSettings:
    inner: dict[str, Any] = {}
    if "concurrency" in given:
        inner["concurrency"] = _concurrency(code.concurrency, given["concurrency"])
    if "rate" in given:
        inner["rate"] = given["rate"]["limit"]
        if "scope" in given["rate"]:
            inner["rate_scope"] = given["rate"]["scope"]
    if "breaker" in given:
        inner["breaker"] = _over(code.breaker or BreakerPolicy(), given["breaker"])
    return _over(code, {**given, **inner})


def _concurrency(code: int | Adaptive | None, given: Mapping[str, Any]) -> int | Adaptive:
    most: int | None = given.get("max") or (code.max if isinstance(code, Adaptive) else code)
    if most is None:
        raise ConfigError("concurrency.max is not set: expected a range, for example {max: 64}, or one number")
    if given.get("algorithm") == "fixed":
        return most
    return _over(code if isinstance(code, Adaptive) else Adaptive(max=most), {**given, "max": most})


def _consumer(code: ConsumerSettings, given: Mapping[str, Any]) -> ConsumerSettings:
    return _over(code, {**given, "limits": _limits(code.limits, given)})


def _queue(code: QueueSettings, given: Mapping[str, Any]) -> QueueSettings:
    return _over(code, {**given, "retry": _over(code.retry, given.get("retry", {}))})


def _broker(weaker: BrokerSettings, given: Mapping[str, Any]) -> BrokerSettings:
    options = {name: value for name, value in given.items() if name not in ("url", "deadline")}
    url = given.get("url")
    if url is None and weaker.adapter is not None and given:
        raise ConfigError("this adapter was made by the app itself: set it up there, or give a url that replaces it")
    deadline_seconds = given.get("deadline", weaker.deadline_seconds)
    if url is None:
        return replace(weaker, options={**weaker.options, **options}, deadline_seconds=deadline_seconds)
    kept = _still_meant(weaker, url)
    return BrokerSettings(url=url, options={**kept, **options}, deadline_seconds=deadline_seconds)


def _still_meant(weaker: BrokerSettings, url: str) -> dict[str, Any]:
    """Options that go on holding with a new URL: none where it leads to another kind of broker or says them itself."""
    if _scheme(weaker.url) not in ("", _scheme(url)):
        return {}
    said = {pair.partition("=")[0].replace("-", "_") for pair in url.partition("?")[2].split("&")}
    return {name: value for name, value in weaker.options.items() if name not in said}


def _scheme(url: str) -> str:
    return url.partition("://")[0].strip().lower()
