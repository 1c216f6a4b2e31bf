"""Whole stories, each told on every personality of the memory broker. Only a capability may leave one out."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import pytest
from leveler_memory.personality import PERSONALITIES, SERVICEBUS, SESSIONS

from leveler import ConsumerSettings, Leveler, LimitSettings, QueueSettings, RetryPolicy
from leveler.adapter import Capabilities, QueueSpec
from leveler.testing import TestApp

QUEUE: Final = "orders"

#: Real time that one story may take. Time in it is virtual: only one that hangs needs it.
_PATIENCE_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Stage:
    """One personality, and words for what a story needs."""

    name: str

    def can(self, **queue: Any) -> Capabilities:
        """What is true of a queue with these settings."""
        spec = QueueSpec(name=QUEUE, **{"lease_seconds": 30.0, **queue})
        personality = SESSIONS if spec.ordered and self.name == "servicebus" else PERSONALITIES[self.name]
        assert SERVICEBUS is PERSONALITIES["servicebus"]
        return personality.capabilities_of(spec)

    def need(self, capability: object, name: str) -> None:
        """Leave the story out where the broker cannot do that."""
        if not capability:
            pytest.skip(f"{self.name} has no {name}")

    def queue(self, *, attempts: int = 5, **settings: Any) -> QueueSettings:
        """Legal everywhere: the timeout is below the lease, which not every broker can extend."""
        retry = settings.pop("retry", None) or RetryPolicy(max_attempts=attempts)
        return QueueSettings(**{"lease_seconds": 30.0, "timeout_seconds": 20.0, "retry": retry, **settings})

    def app(
        self,
        handler: Callable[..., Any] | None = None,
        *,
        concurrency: int | None = None,
        rate: float | None = None,
        leveler: dict[str, Any] | None = None,
        **queue: Any,
    ) -> Leveler:
        """An app with the queue `QUEUE`, and `handler` on it."""
        limits = LimitSettings(concurrency=concurrency, rate_per_second=rate)
        app = Leveler(
            queues={QUEUE: self.queue(**queue)}, consumers={QUEUE: ConsumerSettings(limits=limits)}, **(leveler or {})
        )
        if handler is not None:
            app.consumer(QUEUE)(handler)
        return app

    def run(self, app: Leveler, *, seed: int = 0) -> TestApp:
        return TestApp(app, personality=self.name, seed=seed)

    def after(self, earlier: TestApp, app: Leveler) -> TestApp:
        """Another process at the same broker, at the same time of day."""
        later = self.run(app)
        later.clock, later.adapter, later.faults = earlier.clock, earlier.adapter, earlier.faults
        return later


@pytest.fixture(params=[*PERSONALITIES])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(request.param)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that is ``async def`` runs in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    tell(pyfuncitem.obj(**arguments))
    return True


def tell(story: Coroutine[Any, Any, None]) -> None:
    """Run one story to its end. What fails in it with nobody looking fails it too."""
    unheard: list[dict[str, Any]] = []

    async def within_patience() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unheard.append(context))
        await asyncio.wait_for(story, _PATIENCE_SECONDS)

    asyncio.run(within_patience())
    assert unheard == []


async def until(condition: Callable[[], object]) -> None:
    """Threads, signals and the system clock take real time: give them what they need, and no more."""
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.001)
