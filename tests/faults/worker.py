"""The process under test: a worker as a user would write it, whose handler keeps the ledger.

    python -m tests.faults.worker FOLDER URL

A bug may be planted in it (``FAULTS_PLANT``), to prove that the checker sees it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from leveler import BrokerUnavailable, Context, Leveler, LimitSettings, QueueSettings, Reject, RetryPolicy, Settings
from leveler.adapter import Delivery
from leveler.consumer.held import Held
from leveler.consumer.settlement import Settlement
from leveler.events import (
    DeliveryLost,
    Event,
    MessageCompleted,
    MessageDeadLettered,
    MessageRetried,
    MessageReturned,
    RateScopeChanged,
    ReceiverReady,
    SettlementFailed,
)
from leveler.fleet import Fleet
from leveler.schedule import Ask, Stretch
from leveler.settings import BrokerSettings, ConsumerSettings
from tests.faults import plants
from tests.faults.ledger import (
    ALONE,
    ANSWER,
    COMPLETED,
    EFFECT,
    GONE,
    LOG,
    READY,
    SETTLED,
    SETTLING,
    SIGNAL,
    START,
    TOGETHER,
    UNSETTLED,
    Ledger,
)
from tests.faults.load import BLOCK_SECONDS, QUEUE, Work

MAX_ATTEMPTS = 5
DRAIN_SECONDS = 5.0


#: What the processes under test are told of the queue: how long a lease is, and how long a run may take, in seconds.
LEASE, TIMEOUT = "FAULTS_LEASE_SECONDS", "FAULTS_TIMEOUT_SECONDS"
#: ... and how many may be started in a second by all of them; 0: any number.
FLEET_RATE = "FAULTS_FLEET_RATE"


def queue_settings(*, ordered: bool, environment: Mapping[str, str] = os.environ) -> QueueSettings:
    return QueueSettings(
        lease_seconds=float(environment[LEASE]),
        timeout_seconds=float(environment[TIMEOUT]),
        retry=RetryPolicy(max_attempts=MAX_ATTEMPTS, initial_seconds=0.1, cap_seconds=1.0),
        ordered=ordered,
    )


def make_app(folder: Path, url: str, *, ordered: bool) -> Leveler:
    ledger = Ledger(folder, "worker")
    settings = Settings(
        brokers={"default": BrokerSettings(url=url)},
        queues={QUEUE: queue_settings(ordered=ordered)},
        consumers={QUEUE: ConsumerSettings(limits=_limits(float(os.environ[FLEET_RATE])))},
        drain_timeout_seconds=DRAIN_SECONDS,
    )

    def on_event(event: Event) -> None:
        if isinstance(event, MessageCompleted):
            ledger.write(COMPLETED, event.message.id)
        elif isinstance(event, MessageDeadLettered | MessageRetried | MessageReturned):
            ledger.write(SETTLED, event.message.id, type(event).__name__)
        elif isinstance(event, DeliveryLost):
            ledger.write(GONE, event.message.id)
        elif isinstance(event, SettlementFailed):
            ledger.write(UNSETTLED, event.message.id, event.verb)
        elif isinstance(event, ReceiverReady):
            ledger.write(READY, "consumer")
        elif isinstance(event, RateScopeChanged):
            ledger.write(TOGETHER if event.is_fleet else ALONE, "rate")

    _tell_beginnings(ledger)
    _tell_answers(ledger)
    app = Leveler(settings=settings, observers=[on_event])

    @app.consumer(QUEUE, type="Work")
    async def work(work: Work, ctx: Context) -> None:
        ledger.write(START, ctx.message.id, str(ctx.attempt))
        await _do(work, ctx)
        ledger.write(EFFECT, ctx.message.id, ctx.message.key or "")

    def on_signal(number: int, frame: object) -> None:
        ledger.write(SIGNAL, str(number))

    signal.signal(signal.SIGUSR1, on_signal)
    log = logging.getLogger("leveler")
    log.setLevel(logging.WARNING)
    log.propagate = False
    log.addHandler(_Loud(ledger))
    close = log.getChild("rabbitmq")
    close.setLevel(logging.DEBUG)
    close.addFilter(partial(_unseen, ledger))
    return app


def _tell_beginnings(ledger: Ledger) -> None:
    """Have it written down when a settlement begins: a process that dies in the middle of one tells nothing."""
    real = Settlement.settle

    def settle(self: Settlement, held: Held, decision: Any) -> None:
        if not isinstance(decision, Delivery):  # a completion is made of no copy
            ledger.write(SETTLING, held.delivery.message.id)
        real(self, held, decision)

    Settlement.settle = settle  # type: ignore[method-assign]


def _limits(fleet_per_second: float) -> LimitSettings:
    if not fleet_per_second:
        return LimitSettings(concurrency=64)
    return LimitSettings(concurrency=64, rate_per_second=fleet_per_second, rate_scope="fleet")


def _tell_answers(ledger: Ledger) -> None:
    """Have it written down how long the store of the fleet's rate takes to answer."""
    real = Fleet._answer

    async def answer(self: Fleet, name: str, ask: Ask) -> Stretch:
        asked_at = time.monotonic()
        stretch = await real(self, name, ask)
        ledger.write(ANSWER, "store", f"{time.monotonic() - asked_at:.6f}")
        return stretch

    Fleet._answer = answer  # type: ignore[method-assign]


def _unseen(ledger: Ledger, record: logging.LogRecord) -> bool:
    """What an adapter gives back by itself has no event: it says so where nobody listens but who looks for a fault."""
    if record.levelno == logging.DEBUG and "unseen" in str(record.msg) and isinstance(record.args, tuple):
        *_, ids = record.args
        for id in ids if isinstance(ids, list) else ():
            ledger.write(SETTLED, id, "unseen")
    return True


class _Loud(logging.Handler):
    """Writes down what was said loudly."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(logging.WARNING)
        self._ledger = ledger

    def emit(self, record: logging.LogRecord) -> None:
        self._ledger.write(LOG, record.levelname, record.getMessage().replace("\n", " "))


async def _do(work: Work, ctx: Context) -> None:
    match work.kind:
        case "raise":
            raise ValueError("poison")
        case "memory-error":
            raise MemoryError("poison")
        case "recursion":
            _recurse(0)
        case "system-exit":
            sys.exit(3)
        case "reject":
            raise Reject("poison")
        case "os-exit":
            os._exit(9)
        case "kill-self":
            os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.sleep(60)
        case "block-loop":
            time.sleep(BLOCK_SECONDS)  # noqa: ASYNC251  # on purpose: a rude handler
        case "long":
            # Longer than a lease, where it can be renewed.
            await asyncio.sleep(min(float(os.environ[LEASE]) * 1.5, float(os.environ[TIMEOUT]) * 0.6))
        case "flaky" if ctx.attempt < 3:
            raise ConnectionError("not yet")
        case "thread":
            await asyncio.to_thread(time.sleep, 0.05)
        case _:
            if work.work_ms:
                await asyncio.sleep(work.work_ms / 1000)


def _recurse(depth: int) -> int:
    return _recurse(depth + 1) + 1


def main() -> int:
    logging.basicConfig(level=logging.CRITICAL)
    folder, url = Path(sys.argv[1]), sys.argv[2]
    plants.plant(os.environ.get("FAULTS_PLANT", ""))
    try:
        return make_app(folder, url, ordered=os.environ.get("FAULTS_ORDERED") == "1").run()
    except BrokerUnavailable:
        return 3  # the harness starts it again, as a supervisor would


if __name__ == "__main__":
    sys.exit(main())
