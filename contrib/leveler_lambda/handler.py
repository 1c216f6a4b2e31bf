"""LambdaHandler: what Lambda calls. The app is started by the first event, and stays started while it is warm."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from leveler_sqs import SQSAdapter

from leveler.adapter import QueueSpec
from leveler.app import Leveler
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.errors import ConfigError
from leveler.runtime import Runtime
from leveler.settings import BrokerSettings, QueueSettings, Settings
from leveler_lambda.adapter import EventAdapter
from leveler_lambda.batch import Batch

#: Of the function's time, what is kept for ending: the last handlers are cut and settled in it.
_SHORTEST_RESERVE_SECONDS: Final = 0.5
_LONGEST_RESERVE_SECONDS: Final = 2.0
_RESERVE_SHARE: Final = 0.1


class LambdaContext(Protocol):
    """What of Lambda's context is looked at."""

    def get_remaining_time_in_millis(self) -> int: ...


def lambda_handler(app: Leveler) -> LambdaHandler:
    """What to name as the function's handler: ``handler = lambda_handler(app)``.

    The event source mapping must have ``ReportBatchItemFailures``: without it Lambda ignores the answer and takes
    everything as done.

    Args:
        app: not started. Its broker, or the one of its queues on SQS, has a URL that begins with ``sqs://``.
    """
    return LambdaHandler(app)


class LambdaHandler:
    """
    Args:
        app: not started.
    """

    def __init__(self, app: Leveler) -> None:
        self._app = app
        self._clock = SystemClock()
        self._runner: asyncio.Runner | None = None
        self._runtime: Runtime | None = None
        self._adapters: list[EventAdapter] = []
        self._queues: dict[str, QueueSpec] = {}

    def __call__(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, list[dict[str, str]]]:
        """The records that are to come again.

        Raises:
            ConfigError: the app cannot take this event. Lambda then takes the whole batch as failed.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self._invoke(event, context.get_remaining_time_in_millis() / 1000))

    def close(self) -> None:
        """Stop the app. Lambda itself never does: it stops the process."""
        if self._runner is not None:
            with self._runner as runner:
                runner.run(self._app.__aexit__(None, None, None))
            self._runner = self._runtime = None

    async def _invoke(self, event: Mapping[str, Any], seconds: float) -> dict[str, list[dict[str, str]]]:
        reserve = max(_SHORTEST_RESERVE_SECONDS, min(_LONGEST_RESERVE_SECONDS, seconds * _RESERVE_SHARE))
        ends_at = self._clock.monotonic() + seconds - reserve
        batch = Batch(event)
        runtime = self._runtime or await self._start(seconds)
        names = self._hand_in(batch, leased_until=ends_at + reserve / 2)
        if not names:
            return batch.answer()
        timer = self._clock.call_later(ends_at - self._clock.monotonic(), batch.over.set)
        try:
            await runtime.consume(names, self._app._state)
            await runtime.until(batch.over)
        finally:
            timer.cancel()
            await runtime.drain(0.0)
        return batch.answer()

    async def _start(self, seconds: float) -> Runtime:
        settings = self._app.settings()
        settings = replace(settings, queues=self._fitting(settings, seconds))
        consumed = [name for name in self._app.handlers if _is_sqs(settings, name)]
        if not consumed:
            raise ConfigError("no queue with a handler is on SQS: set the broker to sqs://")
        brokers = {
            name: self._with_events(broker, [one for one in consumed if settings.queue(one).broker == name])
            if broker.url.startswith("sqs:")
            else broker
            for name, broker in settings.brokers.items()
        }
        self._queues = {name: settings.queue(name).spec(name) for name in consumed}
        self._runtime = await self._app._start(replace(settings, brokers=brokers), self._clock, random.Random())
        return self._runtime

    def _with_events(self, broker: BrokerSettings, consumed: list[str]) -> BrokerSettings:
        sqs = find(
            broker.url, clock=self._clock, deadline_seconds=broker.deadline_seconds, extra_options=broker.options
        )
        assert isinstance(sqs, SQSAdapter)
        adapter = EventAdapter(sqs, consumed)
        self._adapters.append(adapter)
        return BrokerSettings(adapter=adapter)

    def _fitting(self, settings: Settings, seconds: float) -> dict[str, QueueSettings]:
        """The lease of a delivery is the function's time, and a run must end within it."""
        queues = dict(settings.queues)
        for name in self._app.handlers:
            if _is_sqs(settings, name):
                mine = settings.queue(name)
                timeout = min(mine.timeout_seconds, seconds)
                queues[name] = replace(mine, lease_seconds=max(1.0, seconds), timeout_seconds=timeout)
        return queues

    def _hand_in(self, batch: Batch, leased_until: float) -> list[str]:
        """
        Raises:
            ConfigError: a record is of a queue for which there is no handler.
        """
        names = [name for adapter in self._adapters for name in adapter.put(batch, self._queues, leased_until)]
        known = {adapter.sqs_name(queue) for adapter in self._adapters for queue in self._queues.values()}
        for record in batch.records:
            if record.queue not in known:
                raise ConfigError(
                    f"queue {record.queue!r} has no handler here; there are {', '.join(sorted(known))} (a FIFO queue "
                    "needs ordered: true)"
                )
        return names


def _is_sqs(settings: Settings, queue: str) -> bool:
    broker = settings.brokers.get(settings.queue(queue).broker)
    return broker is not None and broker.url.startswith("sqs:")
