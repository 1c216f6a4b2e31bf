"""Downstreams: what handlers call, and the owners of the limits that protect it. Consumers of one share its gate."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from leveler import units
from leveler.adapter import Capabilities
from leveler.clock import Clock
from leveler.consumer.limits import Breaker, FixedConcurrency, FleetRate, Gate, Limit, Limits, Memory, Rate, adaptive
from leveler.errors import ConfigError
from leveler.settings import DEFAULT_CONCURRENCY, Adaptive, ConsumerSettings, LimitSettings


class Downstreams:
    """All of one process.

    Args:
        settings: their limits, by name.
        clock: time.
        rng: chance, which spreads the probes of many processes.
    """

    def __init__(self, settings: Mapping[str, LimitSettings], clock: Clock, rng: random.Random) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng
        #: Of the consumers that have limits of their own.
        self.own: dict[str, Gate] = {}
        #: Of each downstream.
        self.gates = {name: self._gate(name, limits) for name, limits in settings.items()}
        #: The rates of the whole fleet that consumers here pass, as the settings call them; and of which queues.
        self.fleet_rates: dict[str, FleetRate] = {}
        self.fleet_queues: dict[str, list[str]] = {}

    def limits(self, queue: str, consumer: ConsumerSettings, can: Capabilities) -> tuple[Limits, int]:
        """The limits of the consumer of `queue`, and the most runs that they will ever allow at once.

        Raises:
            ConfigError: its downstream is not configured, or its memory is less than one message may need.
        """
        own, shared = consumer.limits, self._shared(queue, consumer.downstream)
        if own.concurrency is None and shared.concurrency is None:
            own = replace(own, concurrency=DEFAULT_CONCURRENCY)
        gates: list[Gate] = []
        if own != LimitSettings():
            self.own[queue] = self._gate(queue, own)
            gates.append(self.own[queue])
            self._note_fleet(f"consumers.{queue}", self.own[queue], queue)
        if consumer.downstream is not None:
            gates.append(self.gates[consumer.downstream])
            self._note_fleet(f"downstreams.{consumer.downstream}", gates[-1], queue)
        most = min(n for n in (own.most_runs, shared.most_runs) if n is not None)
        return Limits(gates, self.gates, memory_of(queue, consumer, can), consumer.batch_size or 1), most

    def _note_fleet(self, name: str, gate: Gate, queue: str) -> None:
        if gate.fleet_rate is not None:
            self.fleet_rates[name] = gate.fleet_rate
            queues = self.fleet_queues.setdefault(name, [])
            queues += [] if queue in queues else [queue]

    def _shared(self, queue: str, downstream: str | None) -> LimitSettings:
        if downstream is None:
            return LimitSettings()
        if downstream not in self._settings:
            known = ", ".join(sorted(self._settings)) or "none"
            raise ConfigError(
                f"consumers.{queue}.downstream is {downstream!r}, which is not configured; known: {known}"
            )
        return self._settings[downstream]

    def _gate(self, name: str, settings: LimitSettings) -> Gate:
        return Gate(name, self._made(settings), self._clock)

    def _made(self, settings: LimitSettings) -> Sequence[Limit]:
        limits: list[Limit] = []
        breaker = None if settings.breaker is None else Breaker(settings.breaker, self._rng)
        if breaker is not None:  # first: it says that nothing may be learnt before anybody learns
            limits.append(breaker)
        if isinstance(settings.concurrency, Adaptive):
            concurrency = adaptive(settings.concurrency, self._clock.now().timestamp() - self._clock.monotonic())
            if breaker is not None:
                breaker.listen(concurrency.breaker_changed)
            limits.append(concurrency)
        elif settings.concurrency is not None:
            limits.append(FixedConcurrency(settings.concurrency))
        if settings.rate_per_second is not None:
            kind = FleetRate if settings.is_fleet else Rate
            limits.append(kind(settings.rate_per_second))
        return limits


def memory_of(queue: str, consumer: ConsumerSettings, can: Capabilities) -> Memory | None:
    """What the consumer of `queue` may hold.

    Raises:
        ConfigError: one message may be larger.
    """
    if consumer.memory_bytes is None:
        return None
    if consumer.memory_bytes < can.max_message_bytes:
        raise ConfigError(
            f"consumers.{queue}.memory is {units.size(consumer.memory_bytes)}: one message of this queue may take "
            f"{units.size(can.max_message_bytes)}; raise it, or lower max_message_bytes of the broker"
        )
    return Memory(consumer.memory_bytes, largest_bytes=can.max_message_bytes, is_told=can.bounds_bytes)
