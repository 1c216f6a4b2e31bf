"""Diagnosis: what is found when brokers and queues are looked at. Nothing is created or changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from leveler.adapter import INFINITE, Adapter, Capabilities, Depth, redact
from leveler.checks import check_queue_name
from leveler.cli.capabilities import capabilities_data
from leveler.cli.source import NO_BROKER, Source
from leveler.clock import SystemClock
from leveler.config.check import did_you_mean
from leveler.consumer.limits import Memory
from leveler.discovery import find
from leveler.downstreams import memory_of
from leveler.errors import ConfigError, LevelerError, QueueNotFound
from leveler.fleet import open_store
from leveler.retry import RetryPolicy
from leveler.runtime import check_lease, check_wait
from leveler.settings import BrokerSettings, ConsumerSettings, QueueSettings, Settings
from leveler.units import duration, size

Level = Literal["ok", "note", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: Level
    #: ``broker default``, ``queue orders``.
    subject: str
    text: str


@dataclass
class Diagnosis:
    """All that was found."""

    findings: list[Finding] = field(default_factory=list[Finding])
    capabilities: dict[str, Capabilities] = field(default_factory=dict[str, Capabilities])

    @property
    def faults(self) -> list[Finding]:
        return [one for one in self.findings if one.level == "fault"]

    @property
    def warnings(self) -> list[Finding]:
        return [one for one in self.findings if one.level == "warning"]

    def add(self, level: Level, subject: str, text: str) -> None:
        self.findings.append(Finding(level, subject, text))

    def as_data(self) -> dict[str, Any]:
        return {
            "ok": not self.faults,
            "findings": [asdict(one) for one in self.findings],
            "capabilities": {name: capabilities_data(can) for name, can in self.capabilities.items()},
        }


async def diagnose(source: Source, queues: Sequence[str]) -> Diagnosis:
    """Look at every broker that is configured, and at `queues` besides those that the settings or the app speak of.

    Raises:
        ConfigError: the settings themselves are wrong.
    """
    app = source.loaded()
    settings = app.settings()
    names = sorted({*source.queues(), *map(check_queue_name, queues)})
    if not settings.brokers:
        raise ConfigError(NO_BROKER)
    found = Diagnosis()
    found.findings += [Finding("warning", subject, text) for subject, text in mistyped(settings, app.handlers)]
    found.findings += _unused(settings)
    for queue in names:
        if (broker := settings.queue(queue).broker) not in settings.brokers:
            known = ", ".join(sorted(settings.brokers))
            found.add("fault", f"queue {queue}", f"is on broker {broker!r}, which is not configured; known: {known}")
    for name in settings.brokers:
        on_it = [queue for queue in names if settings.queue(queue).broker == name]
        await _broker(found, settings, name, on_it)
    if settings.fleet_rates():
        await _store(found, settings)
    return found


async def _broker(found: Diagnosis, settings: Settings, name: str, queues: Sequence[str]) -> None:
    broker = settings.brokers[name]
    subject = f"broker {name}"
    try:
        async with AsyncExitStack() as stack:
            adapter = await stack.enter_async_context(_adapter(broker))
            found.add("ok", subject, f"{redact(broker.url) or 'an adapter of the app itself'} answers")
            for queue in queues:
                await _queue(found, adapter, queue, settings.queue(queue), settings.consumer(queue))
    except LevelerError as error:
        found.add("fault", subject, str(error))


async def _store(found: Diagnosis, settings: Settings) -> None:
    """What keeps the rates of the fleet, where it is none of the brokers, and whether it is good for a fleet."""
    broker = settings.brokers.get(settings.store)
    if (settings.store if broker is None else broker.url).startswith("memory:"):
        text = "is this one process's own, so each worker has the rates of the fleet by itself: set store to another"
        found.add("warning", "store", text)
    if broker is not None:
        return
    try:
        async with open_store(settings.store, SystemClock()):
            found.add("ok", "store", f"{settings.shown_store} answers")
    except LevelerError as error:
        found.add("fault", "store", str(error))


def _adapter(broker: BrokerSettings) -> Adapter:
    return broker.adapter or find(
        broker.url, clock=SystemClock(), deadline_seconds=broker.deadline_seconds, extra_options=broker.options
    )


async def _queue(
    found: Diagnosis, adapter: Adapter, name: str, settings: QueueSettings, consumer: ConsumerSettings
) -> None:
    subject = f"queue {name}"
    try:
        can, there = await _capabilities(adapter, name, settings)
        check_lease(name, settings.lease_seconds, settings.timeout_seconds, can)
        check_wait(name, settings.max_wait_seconds, can)
        memory = memory_of(name, consumer, can)
    except LevelerError as error:
        found.add("fault", subject, str(error))
        return
    found.capabilities[name] = can
    if there:
        depth = await adapter.depth(settings.spec(name))
        found.add("ok", subject, _in_words(depth))
        if depth.dead:
            found.add("note", subject, f"{depth.dead:,} dead letters: see 'leveler dead list {name}'")
    else:
        found.add("note", subject, "is not there yet: the first worker or producer makes it")
    if memory is not None and memory.capacity < INFINITE:
        found.add("note", subject, _capacity(memory, can))
    found.findings += [Finding(level, subject, text) for level, text in judgement(settings, can)]


async def _capabilities(adapter: Adapter, name: str, settings: QueueSettings) -> tuple[Capabilities, bool]:
    """What is true of the queue, and whether it is there. One that is made at the first start may be missing."""
    spec = settings.spec(name)
    try:
        return await adapter.declare(replace(spec, declare="verify")), True
    except QueueNotFound:
        if settings.declare != "create":
            raise
        return await adapter.declare(replace(spec, declare="skip")), False


def judgement(settings: QueueSettings, can: Capabilities) -> Iterator[tuple[Level, str]]:
    """What these settings on a queue that can do this mean for the promises. Pure."""
    if settings.ordered and not can.ordering:
        yield "fault", "ordered is true, but this broker does not keep the order of a key"
    if settings.dedup_seconds > can.dedup_seconds:
        yield "fault", f"dedup is {settings.dedup_seconds:g} s, but this broker remembers for {can.dedup_seconds:g} s"
    for line in can.degraded:
        yield "warning", line
    if not can.durable:
        yield "warning", "accepted messages are lost when the broker's process ends"
    if can.scope == "process":
        yield "warning", "the queue is seen by this one process only: a worker elsewhere has a queue of its own"
    if can.uncounted == "none":
        yield "warning", "a message that is given back unstarted has used up one of its deliveries"
    if can.depth == "none":
        yield "warning", "the depth is not known, so nobody sees a backlog grow"
    if can.attempts == "approximate":
        yield "note", "the broker may count deliveries that never arrived: such messages start alone in their process"
    retry = settings.retry
    if retry.initial_seconds > retry.cap_seconds and retry.initial_seconds != RetryPolicy().initial_seconds:
        initial, cap = duration(retry.initial_seconds), duration(retry.cap_seconds)
        yield "warning", f"retry.initial is {initial}, but no retry waits longer than retry.cap, which is {cap}"
    if retry.cap_seconds > can.max_abandon_seconds:
        longest = duration(can.max_abandon_seconds)
        yield "note", f"retries wait up to {duration(retry.cap_seconds)}, in steps of at most {longest}"


def mistyped(settings: Settings, consumed: Collection[str]) -> Iterator[tuple[str, str]]:
    """Settings of queues that the app does not consume, whose names look much like those of queues that it does."""
    for section, names in (("consumers", settings.consumers), ("queues", settings.queues)):
        for name in set(names) - set(consumed):
            if near := did_you_mean(name, set(consumed) - set(names)):
                yield f"{section}.{name}", f"the app has no handler for this queue; did you mean {near!r}?"


def _unused(settings: Settings) -> Iterator[Finding]:
    used = {consumer.downstream for consumer in settings.consumers.values()}
    for name in settings.downstreams:
        if name not in used:
            yield Finding("warning", f"downstream {name}", "no consumer uses it, so its limits limit nothing")


def _capacity(memory: Memory, can: Capabilities) -> str:
    return (
        f"memory is {size(memory.most_bytes)}: {memory.capacity:,} messages are held at once, as each may take "
        f"{size(can.max_message_bytes)}; say it with max_message_bytes if yours are smaller"
    )


def _in_words(depth: Depth) -> str:
    counts = zip(("ready", "leased", "delayed"), depth[:3], strict=True)
    return ", ".join(f"{'?' if count is None else f'{count:,}'} {name}" for name, count in counts)
