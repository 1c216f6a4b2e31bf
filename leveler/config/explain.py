"""Effective settings as rows for people: the key, its value in words, and who said it. Never a secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from leveler import units
from leveler.config.effective import place_of, word
from leveler.config.voice import Path, Said
from leveler.consumer.limits import BreakerPolicy
from leveler.retry import RetryPolicy
from leveler.settings import (
    DEFAULT_CONCURRENCY,
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

# What only code can say.
_CODE_ONLY: Final = ("give_up_on", "wait", "stop")
# There is no row where nobody says them.
_SELDOM: Final = (*_CODE_ONLY, "batch_size", "batch_wait_seconds", "rate_scope", "store")
# Fields that stand in a section of their own.
_INNER: Final[Mapping[str, Path]] = {"rate_scope": ("rate", "scope")}


class Row(NamedTuple):
    """One setting."""

    #: As in leveler.yaml: ``queues.orders.lease``.
    key: str
    #: In the words of leveler.yaml: ``30s``.
    value: str
    #: ``default``, ``code``, ``leveler.yaml:7``, or the variable's name.
    origin: str


def rows(settings: Settings, said: Sequence[Said]) -> Iterator[Row]:
    """All of `settings`, in the order of the file."""
    for name, broker in settings.brokers.items():
        for key, value in broker.shown().items():
            yield _row(("brokers", name, key), value, said, origin="code")
        deadline = units.duration(broker.deadline_seconds)
        is_default = broker.deadline_seconds == BrokerSettings().deadline_seconds
        yield _row(("brokers", name, "deadline"), deadline, said, origin="default" if is_default else "code")
    for name, limits in settings.downstreams.items():
        yield from _section(("downstreams", name), limits, LimitSettings(), said)
    for name, queue in settings.queues.items():
        instead = {"max_deliveries": str(queue.most_deliveries)}
        yield from _section(("queues", name), queue, QueueSettings(), said, instead)
    for name, consumer in settings.consumers.items():
        shared = settings.downstreams.get(consumer.downstream or "", LimitSettings()).concurrency
        instead = {"concurrency": str(DEFAULT_CONCURRENCY)} if shared is None else {}
        yield from _section(("consumers", name), consumer, ConsumerSettings(), said, instead)
    yield from _section((), _Process.of(settings), _Process.of(Settings()), said)


@dataclass(frozen=True)
class _Process:
    """What stands in no section."""

    store: str
    send_timeout_seconds: float
    drain_timeout_seconds: float
    listen: str | None
    listen_token: str | None
    processes: Processes

    @classmethod
    def of(cls, settings: Settings) -> _Process:
        token = None if settings.listen_token is None else "***"
        return cls(
            settings.shown_store,
            settings.send_timeout_seconds,
            settings.drain_timeout_seconds,
            settings.listen,
            token,
            Processes.of(settings.processes),
        )


def _section(
    path: Path,
    section: DataclassInstance,
    default: DataclassInstance,
    said: Sequence[Said],
    instead: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Row]:
    """One row for each field, inner sections too; `instead` says what holds where nothing is set."""
    for field in fields(section):
        value, standard = getattr(section, field.name), getattr(default, field.name)
        inner = path if field.name == "limits" else (*path, *_INNER.get(field.name, (word(field.name),)))
        if isinstance(value, LimitSettings | RetryPolicy | BreakerPolicy):
            standard = standard if standard is not None else BreakerPolicy()
            yield from _section(inner, value, standard, said, instead)
        elif field.name not in _SELDOM or value != standard:
            text = instead.get(word(field.name), "none") if value is None else _in_words(field.name, value)
            yield _row(inner, text, said, origin="default" if value == standard else "code")


def _row(path: Path, value: str, said: Sequence[Said], *, origin: str) -> Row:
    place = place_of(path, said)
    return Row(".".join(path), value, place.origin if place else origin)


def _in_words(field: str, value: Any) -> str:
    if isinstance(value, Adaptive):
        return f"{{min: {value.min}, max: {value.max}, algorithm: {value.algorithm}}}"
    if isinstance(value, Processes):
        return str(value.max) if value.min == value.max else f"{{min: {value.min}, max: {value.max}}}"
    if field in _CODE_ONLY:
        return ", ".join(one.__name__ for one in value) if isinstance(value, tuple) else type(value).__name__
    if field.endswith("_per_second"):
        return units.rate(value)
    if field.endswith("_seconds"):
        return units.duration(value)
    if field.endswith("_bytes"):
        return units.size(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
