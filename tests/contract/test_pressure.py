"""Back-pressure and outages on every broker: what the core does with the depth and the flow that a real one has."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from leveler import BatchError, ConsumerSettings, Leveler, LimitSettings, QueueFull, QueueSettings, Settings
from tests.containers.keeper import Kept
from tests.flow.outage import outage

#: Makes the URL of a broker.
Url = Callable[[pytest.FixtureRequest, Path], str]


def _memory(request: pytest.FixtureRequest, folder: Path) -> str:
    return "memory://"


def _sqlite(request: pytest.FixtureRequest, folder: Path) -> str:
    return f"sqlite:///{folder}/orders.db"


def _redis(request: pytest.FixtureRequest, folder: Path) -> str:
    kept: Kept = request.getfixturevalue("redis")
    return f"{kept.url}{'&' if '?' in kept.url else '?'}prefix={uuid.uuid4().hex}"


def _rabbitmq(request: pytest.FixtureRequest, folder: Path) -> str:
    kept: Kept = request.getfixturevalue("rabbitmq")
    return kept.url


BROKERS: list[Url] = [_memory, _sqlite, _redis, _rabbitmq]


@pytest.fixture(params=BROKERS, ids=[make.__name__.strip("_") for make in BROKERS])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    make: Url = request.param
    return make(request, tmp_path)


def app_on(url: str, queue: str, *, per_second: float | None, **settings: object) -> Leveler:
    app = Leveler(
        url,
        settings=Settings(send_timeout_seconds=10.0),
        queues={queue: QueueSettings(**settings)},  # type: ignore[arg-type]  # whatever it takes
        consumers={queue: ConsumerSettings(limits=LimitSettings(concurrency=8, rate_per_second=per_second))},
    )
    if per_second is not None:
        app.consumer(queue)(_handle)
    return app


async def _handle(number: float) -> None: ...


def test_a_bounded_queue_takes_what_fits_says_so_of_the_rest_and_takes_more_when_there_is_room(url: str) -> None:
    queue = f"pressure-{uuid.uuid4().hex[:12]}"

    async def story() -> None:
        async with app_on(url, queue, per_second=50.0, max_depth=20).working() as app:
            sent = await app.send_many(queue, range(100), block=20)
            assert len(sent) == 100
            with pytest.raises((QueueFull, BatchError)):
                await app.send_many(queue, range(200))

    asyncio.run(asyncio.wait_for(story(), 30))


def test_no_message_waits_much_longer_than_it_may(url: str) -> None:
    queue, waited = f"pressure-{uuid.uuid4().hex[:12]}", list[float]()
    app = app_on(url, queue, per_second=None, max_wait_seconds=1.5)
    app.consumer(queue, rate="40/s")(lambda sent_at: waited.append(time.monotonic() - sent_at))

    async def send(count: int) -> int:
        """How many were refused."""
        try:
            await app.send_many(queue, [time.monotonic()] * count)
        except BatchError as error:
            return sum(isinstance(one, QueueFull) for one in error.failed.values())
        return 0

    async def story() -> None:
        sent, refused = 0, 0
        async with app.working():
            for count in (80, *[2] * 20):  # two seconds of work, in which it sees how much is done
                sent += count - await send(count)
                await asyncio.sleep(0.1)
            until = time.monotonic() + 5
            while time.monotonic() < until:
                missed = await send(20)
                sent, refused = sent + 20 - missed, refused + missed
                await asyncio.sleep(0.02)
            while len(waited) < sent:  # noqa: ASYNC110  # real time
                await asyncio.sleep(0.01)
        assert refused > 100
        assert sent >= 200  # and it was kept busy

    asyncio.run(asyncio.wait_for(story(), 40))
    assert max(waited) < 4.5


def test_an_outage_loses_nothing_kills_nothing_and_leaves_nothing_leased(url: str) -> None:
    seen = asyncio.run(outage(url, 4000, 4.0, queue=f"outage-{uuid.uuid4().hex[:12]}", before_seconds=0.2))
    assert sorted(seen.done) == list(range(4000))
    assert seen.dead == 0
    assert 1 <= len(seen.probes) <= 4
    assert set(seen.leased) <= {0, 1, None}
    assert seen.bytes_held <= 1
    assert seen.back_seconds <= 3.0
