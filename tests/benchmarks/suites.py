"""Suites: which rows are measured, against which reference, and how. A broker joins the benchmarks here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.benchmarks import bare_redis, ours
from tests.benchmarks.bare_memory import BareMemory
from tests.benchmarks.bare_rabbitmq import bare as bare_rabbitmq
from tests.benchmarks.bare_rabbitmq import bare_multiple as bare_rabbitmq_multiple
from tests.benchmarks.bare_redis import BareRedis
from tests.benchmarks.bare_servicebus import BareServiceBus
from tests.benchmarks.bare_sqlite import BareSQLite
from tests.benchmarks.bare_sqs import BareSQS
from tests.benchmarks.bare_storagequeue import BareStorageQueue
from tests.benchmarks.peers import peers
from tests.benchmarks.row import MakeRow


@dataclass(frozen=True)
class Turn:
    """One measure, taken of every row in turn."""

    #: One of `tests.benchmarks.measures.MEASURES`.
    measure: str
    #: As many as the reference handles in about a second.
    messages: int
    #: Rounds, at most: what takes long and varies little needs few.
    rounds: int = 1000
    #: It compares the row with itself, so there is nothing to be learnt from the reference.
    by_itself: bool = False


@dataclass(frozen=True)
class Suite:
    """One broker, or the lack of one."""

    #: The raw limit comes first: it is the reference.
    rows: Mapping[str, MakeRow]
    turns: Sequence[Turn]
    #: Removes what a measurement in that folder has left on a server.
    clear: Callable[[Path], None] = lambda folder: None

    @property
    def reference(self) -> str:
        return next(iter(self.rows))

    def only(self, measures: Collection[str] | None) -> Suite:
        """With these measures and no others; None = all."""
        return replace(self, turns=[turn for turn in self.turns if measures is None or turn.measure in measures])


SUITES: Final[Mapping[str, Suite]] = {
    "memory": Suite(
        rows={"bare": BareMemory, "leveler": ours.on_memory},
        turns=[
            Turn("publish_one", 100_000),
            Turn("publish_batch", 100_000),
            Turn("publish_concurrent", 50_000),
            Turn("consume", 100_000),
            Turn("roundtrip", 100_000),
            Turn("roundtrip_one", 50_000),
            Turn("latency", 1_500),
        ],
    ),
    "limits": Suite(
        rows={"none": ours.on_memory, "every limiter": ours.with_every_limiter},
        turns=[Turn("consume", 100_000)],
    ),
    "redis": Suite(
        rows={"bare": BareRedis, "overlapped": bare_redis.overlapped, "leveler": ours.on_redis, **peers("redis")},
        turns=[
            Turn("publish_one", 5_000),
            Turn("publish_batch", 40_000),
            Turn("publish_concurrent", 20_000),
            Turn("consume", 40_000),
            Turn("roundtrip", 30_000),
            Turn("latency_between", 1_500),
            Turn("rss_backlog", 200_000, rounds=2, by_itself=True),
        ],
        clear=bare_redis.clear,
    ),
    "sqlite": Suite(
        rows={"bare": BareSQLite, "leveler": ours.on_sqlite},
        turns=[
            Turn("publish_one", 1_500),
            Turn("publish_batch", 30_000),
            Turn("publish_concurrent", 20_000),
            Turn("consume", 20_000),
            Turn("roundtrip", 20_000),
            Turn("latency_between", 1_500),
            Turn("rss_backlog", 200_000, rounds=2, by_itself=True),
        ],
    ),
    "sqs": Suite(
        rows={"aiobotocore": BareSQS, "leveler": ours.on_sqs},
        turns=[
            Turn("publish_one", 300),
            Turn("publish_batch", 8_000),
            Turn("publish_concurrent", 4_000),
            Turn("consume", 5_000),
            Turn("roundtrip", 5_000),
            Turn("rss_backlog", 10_000, rounds=1, by_itself=True),
        ],
    ),
    "rabbitmq": Suite(
        rows={
            "aio-pika": bare_rabbitmq,
            "aio-pika multiple acks": bare_rabbitmq_multiple,
            "leveler": ours.on_rabbitmq,
            **peers("rabbitmq"),
        },
        turns=[
            Turn("publish_one", 1_000),
            Turn("publish_batch", 5_000),
            Turn("publish_concurrent", 5_000),
            Turn("consume", 5_000),
            Turn("roundtrip", 5_000),
            Turn("latency", 1_500),
            Turn("rss_backlog", 100_000, rounds=1, by_itself=True),
        ],
    ),
    "servicebus": Suite(
        rows={"azure-servicebus": BareServiceBus, "leveler": ours.on_servicebus},
        turns=[
            Turn("publish_one", 300),
            Turn("publish_batch", 5_000),
            Turn("publish_concurrent", 1_500),
            Turn("consume", 5_000),
            Turn("roundtrip", 1_000),
        ],
    ),
    "storagequeue": Suite(
        rows={"azure-storage-queue": BareStorageQueue, "leveler": ours.on_storagequeue},
        turns=[
            Turn("publish_one", 150),
            Turn("publish_batch", 500),
            Turn("publish_concurrent", 500),
            Turn("consume", 500),
            Turn("roundtrip", 500),
        ],
    ),
}
