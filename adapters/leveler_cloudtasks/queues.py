"""Queues: made, checked, and set to what the workers bear."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from google.cloud.tasks_v2 import Queue, RateLimits, RetryConfig

from leveler.adapter import QueueSpec
from leveler.errors import ConfigError, QueueNotFound
from leveler_cloudtasks.client import Client

#: The largest that the service takes.
_MAX_RATE: Final = 500.0
_MAX_CONCURRENT: Final = 5000

_UNLIMITED: Final = -1


class Queues:
    """
    Args:
        client: the calls.
        longest_backoff_seconds: before a task that was refused is offered again.
    """

    def __init__(self, client: Client, longest_backoff_seconds: float) -> None:
        self._client = client
        self._longest_backoff = longest_backoff_seconds

    async def declare(self, spec: QueueSpec) -> tuple[str, ...]:
        """Make or check the queue and its dead letters; what only an operator can judge, one line each.

        Raises:
            ConfigError: it would lose tasks.
            QueueNotFound: it is not there and may not be made.
        """
        if spec.declare == "skip":
            return ()
        queue = await self._found(self._live(spec), spec)
        dead = await self._found(self._dead(spec), spec)
        await self._check_live(queue, spec)
        await self._check_dead(dead, spec)
        paused = queue.state != Queue.State.RUNNING
        return (f"queue {spec.name!r} is paused: nothing is delivered until it is resumed",) if paused else ()

    async def _found(self, wanted: Queue, spec: QueueSpec) -> Queue:
        name = wanted.name.rpartition("/")[2]
        try:
            return await self._client.queue(name)
        except QueueNotFound:
            if spec.declare == "verify":
                raise
        await self._client.create_queue(wanted)
        return await self._client.queue(name)

    async def _check_live(self, queue: Queue, spec: QueueSpec) -> None:
        """Tasks are deleted after the queue's last attempt, so ours must come first."""
        wanted = self._live(spec)
        paths = [
            path
            for path in ("rate_limits.max_dispatches_per_second", "rate_limits.max_concurrent_dispatches")
            if _value(wanted, path) and _value(queue, path) != _value(wanted, path)
        ]
        if queue.retry_config.max_attempts != _UNLIMITED:
            paths.append("retry_config.max_attempts")
        too_few = _UNLIMITED < queue.retry_config.max_attempts <= spec.max_deliveries
        if spec.declare == "verify" and too_few:
            raise ConfigError(
                f"queue {spec.name!r}: its max_attempts is {queue.retry_config.max_attempts}, and after so many Cloud "
                f"Tasks deletes a task; leveler needs more than {spec.max_deliveries}: set it to -1 (no limit)"
            )
        if spec.declare == "create" and paths:
            await self._client.update_queue(wanted, paths)

    async def _check_dead(self, queue: Queue, spec: QueueSpec) -> None:
        if queue.state == Queue.State.PAUSED:
            return
        if spec.declare == "verify":
            raise ConfigError(
                f"queue {spec.dead_name!r} is not paused, so the dead letters would be sent to the workers: pause it"
            )
        await self._client.pause_queue(spec.dead_name)

    def _live(self, spec: QueueSpec) -> Queue:
        retry = RetryConfig(
            max_attempts=_UNLIMITED,
            min_backoff=timedelta(seconds=0.1),
            max_backoff=timedelta(seconds=self._longest_backoff),
        )
        limits = RateLimits()
        if spec.max_rate_per_second is not None:
            limits.max_dispatches_per_second = min(spec.max_rate_per_second, _MAX_RATE)
        if spec.max_concurrency is not None:
            limits.max_concurrent_dispatches = min(spec.max_concurrency, _MAX_CONCURRENT)
        return Queue(name=self._client.place.queue(spec.name), retry_config=retry, rate_limits=limits)

    def _dead(self, spec: QueueSpec) -> Queue:
        return Queue(name=self._client.place.queue(spec.dead_name), retry_config=RetryConfig(max_attempts=_UNLIMITED))


def _value(queue: Queue, path: str) -> float:
    group, _, name = path.partition(".")
    return float(getattr(getattr(queue, group), name))
