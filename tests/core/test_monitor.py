"""The figures of an app: who may read them, what they are called, and what flows between two looks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import astuple, fields, replace
from typing import Any

import pytest

from leveler.adapter import Capabilities, Depth, QueueSpec
from leveler.cli.dashboard import curves, drawn
from leveler.cli.looks import Looks
from leveler.consumer.limits import Figures
from leveler.consumer.report import ConsumerHealth, Tally
from leveler.downstreams import Downstreams
from leveler.errors import BrokerUnavailable, ConfigError
from leveler.monitor.address import Address, names_this_host
from leveler.monitor.depths import FRESH_SECONDS, Depths
from leveler.monitor.figures import AppFigures, ConsumerFigures, DepthFigures, QueueFigures
from leveler.monitor.flow import added_up, flows, limits
from leveler.monitor.guard import Guard
from leveler.monitor.lately import Lately, Recent
from leveler.monitor.measures import Measure, measures
from leveler.monitor.useful import Useful
from leveler.monitor.watcher import Unreadable, Watcher, endpoint_url
from leveler.settings import ConsumerSettings, LimitSettings, Settings
from leveler.testing import VirtualClock

TOKEN = "a-token-that-nobody-guesses"


# ---- where it listens


@pytest.mark.parametrize(
    ("words", "host", "port", "loopback"),
    [
        ("127.0.0.1:9464", "127.0.0.1", 9464, True),
        ("9464", "127.0.0.1", 9464, True),
        (9464, "127.0.0.1", 9464, True),
        (":0", "127.0.0.1", 0, True),
        ("localhost:80", "localhost", 80, True),
        ("[::1]:80", "::1", 80, True),
        ("127.9.9.9:80", "127.9.9.9", 80, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("[::]:80", "::", 80, False),
        ("10.0.0.7:80", "10.0.0.7", 80, False),
        ("localhost.evil.example:80", "localhost.evil.example", 80, False),
    ],
)
def test_an_address_is_loopback_unless_it_says_something_else(
    words: object, host: str, port: int, loopback: bool
) -> None:
    address = Address.of(words)
    assert (address.host, address.port, address.is_loopback) == (host, port, loopback)
    assert Address.of(str(address)) == address


@pytest.mark.parametrize(
    "words", ["", "host", "host:", "host:65536", "::1:80", "http://x:80", "a b:80", "u@h:80", None]
)
def test_what_is_no_address_is_refused(words: object) -> None:
    with pytest.raises(ConfigError, match="expected an address"):
        Address.of(words)


# ---- who may read


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("127.0.0.1:9464", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("[::1]:9464", True),
        ("rebound.example:9464", False),
        ("127.0.0.1.rebound.example", False),
        ("localhost.rebound.example", False),
        ("", False),
        (None, False),
    ],
)
@pytest.mark.parametrize("path", ["/figures", "/metrics", "/livez", "/readyz"])
def test_on_loopback_no_page_whose_name_was_made_to_point_here_reads_anything(
    host: str | None, answered: bool, path: str
) -> None:
    refusal = Guard(Address("127.0.0.1", 9464), None).refuses(path, host, None)
    assert (refusal is None) == answered


@pytest.mark.parametrize(
    ("authorization", "answered"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        (f"Bearer {TOKEN}x", False),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        ("Bearer", False),
        ("Bearer \xe9", False),
        (None, False),
    ],
)
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_where_there_is_a_token_only_who_shows_it_reads_figures(
    host: str, authorization: str | None, answered: bool
) -> None:
    guard = Guard(Address(host, 9464), TOKEN)
    assert (guard.refuses("/figures", "127.0.0.1", authorization) is None) == answered
    assert (guard.refuses("/metrics", "127.0.0.1", authorization) is None) == answered
    assert guard.refuses("/readyz", "127.0.0.1", authorization) is None


def test_elsewhere_any_name_will_do_because_the_token_must() -> None:
    guard = Guard(Address("0.0.0.0", 9464), TOKEN)
    assert guard.refuses("/figures", "worker-7.internal:9464", f"Bearer {TOKEN}") is None
    assert TOKEN not in repr(guard)


def test_only_this_host_is_this_host() -> None:
    assert not names_this_host("0.0.0.0")


@pytest.mark.parametrize(
    ("words", "url"),
    [
        ("9464", "http://127.0.0.1:9464"),
        ("worker:9464", "http://worker:9464"),
        ("http://worker:9464/", "http://worker:9464"),
        ("http://worker:9464/figures", "http://worker:9464"),
        ("https://front/workers/7/figures", "https://front/workers/7"),
    ],
)
def test_an_endpoint_may_be_named_in_several_ways(words: str, url: str) -> None:
    assert endpoint_url(words) == url


@pytest.mark.parametrize("words", ["worker", "file:///etc/passwd", "http://user:secret@worker:1", "http://"])
def test_what_is_no_endpoint_is_refused_without_its_secret(words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        endpoint_url(words)
    assert "secret" not in str(refused.value)


# ---- depths


class Counting:
    """A queue whose broker counts how often it has to count."""

    deadline_seconds = 5.0

    def __init__(self, depth: str = "exact") -> None:
        self.spec = QueueSpec(name="orders")
        self.can = Capabilities(scope="process", durable=False, max_message_bytes=1, max_batch=1, depth=depth)  # type: ignore[arg-type]
        self.adapter: Any = self
        self.counted = 0
        self.away = False

    async def depth(self, queue: QueueSpec) -> Depth:
        await asyncio.sleep(0)
        self.counted += 1
        if self.away:
            raise BrokerUnavailable("nobody there")
        return Depth(self.counted, 0, 0, 0, 0.0)


def test_however_many_look_the_broker_counts_once_in_a_while() -> None:
    async def story() -> None:
        clock, queue = VirtualClock(), Counting()
        depths = Depths(clock)

        looks = await asyncio.gather(*(depths.of([queue]) for _ in range(10)))
        assert queue.counted == 1
        assert {look["orders"].ready for look in looks if look["orders"]} == {1}

        await clock.advance(FRESH_SECONDS)
        queue.away = True
        assert await depths.of([queue]) == {"orders": None}
        assert queue.counted == 2

    asyncio.run(story())


def test_a_broker_that_cannot_count_is_not_asked() -> None:
    async def story() -> None:
        queue = Counting(depth="none")
        assert await Depths(VirtualClock()).of([queue]) == {"orders": None}
        assert queue.counted == 0

    asyncio.run(story())


# ---- names


def app(*, up: float = 10.0, process: str = "host:1", depth: DepthFigures | None = None, **counts: Any) -> AppFigures:
    """One worker with one consumer."""
    limits: Figures = {"concurrency": 8, "running": 3, "breaker": "closed"}
    tally = Tally(**counts)
    consumer = ConsumerFigures(
        ready=True, running=3, held=5, held_bytes=99, counts=tally, limits=limits, downstream="bank"
    )
    return AppFigures(
        process=process,
        up_seconds=up,
        ready=True,
        queues={"orders": QueueFigures(sent=2, depth=depth, consumer=consumer), "mails": QueueFigures(sent=7)},
        downstreams={"bank": {"concurrency": 4, "running": 3, "paused_seconds": 1.5, "breaker": "half-open"}},
    )


def named(figures: AppFigures) -> dict[str, Measure]:
    return {measure.name: measure for measure in measures(figures)}


def test_every_count_has_a_name_and_its_value() -> None:
    counts: dict[str, Any] = {field.name: index for index, field in enumerate(fields(Tally), 1)}
    found = [
        value for measure in measures(app(**counts)) if measure.kind == "counter" for value in measure.values.items()
    ]
    assert sorted(value for labels, value in found if labels[0] == "orders") == sorted([2, *counts.values()])
    assert (("mails",), 7) in found


def test_the_names_are_those_that_prometheus_expects() -> None:
    found = named(app(depth=DepthFigures(ready=1, oldest_age_seconds=2.0)))
    assert all(name.startswith("leveler_") and not name.endswith("_total") for name in found)  # the library adds that
    assert len(found) == len(list(measures(app(depth=DepthFigures(ready=1, oldest_age_seconds=2.0)))))
    assert found["leveler_run_seconds"].kind == "counter"
    assert found["leveler_held_bytes"].values == {("orders",): 99}


def test_what_a_broker_cannot_tell_is_left_out() -> None:
    found = named(app(depth=DepthFigures(ready=4, dead=1)))["leveler_queue_messages"]
    assert found.values == {("orders", "ready"): 4, ("orders", "dead"): 1}


def test_whatever_a_limit_shows_becomes_a_metric() -> None:
    found = named(app())
    assert found["leveler_limit_concurrency"].values == {("consumers.orders",): 8.0, ("downstreams.bank",): 4.0}
    assert found["leveler_limit_breaker_state"].values == {
        ("consumers.orders", "closed"): 1.0,
        ("downstreams.bank", "half-open"): 1.0,
    }


def test_what_a_worker_says_of_useful_workers_has_three_names() -> None:
    said = Useful(needed=2.5, busy=0.75, borne=2.0)
    found = named(saying(app(), said))
    assert found["leveler_needed_workers"].values == {("orders",): 2.5}
    assert found["leveler_busy_workers"].values == {("orders",): 0.75}
    assert found["leveler_borne_workers"].values == {("orders",): 2.0}
    unknown = named(saying(app(), Useful(busy=0.75, borne=1.0)))
    assert unknown["leveler_needed_workers"].values == {}  # a 0 would send everybody away


def saying(figures: AppFigures, said: Useful) -> AppFigures:
    """The same worker with that to say."""
    orders = figures.queues["orders"]
    assert orders.consumer is not None
    consumer = replace(orders.consumer, workers=said)
    return replace(figures, queues={**figures.queues, "orders": replace(orders, consumer=consumer)})


# ---- what flows


def depth(waiting: int) -> DepthFigures:
    return DepthFigures(ready=waiting, leased=0, delayed=0, dead=0, oldest_age_seconds=0.0)


def test_rates_are_what_happened_between_two_looks() -> None:
    before = app(up=10.0, depth=depth(100), completed=10, retried=1, dead_lettered=0, started=11, run_seconds=1.0)
    now = app(up=12.0, depth=depth(140), completed=50, retried=5, dead_lettered=2, started=61, run_seconds=2.0)

    flow = flows({"a": before}, {"a": now})["orders"]

    assert (flow.completing_per_second, flow.retrying_per_second) == (20.0, 2.0)
    assert flow.arriving_per_second == 41.0  # 40 more wait, and 42 have left, in 2 s
    assert flow.run_seconds == pytest.approx(0.02)
    assert (flow.concurrency, flow.breaker, flow.running) == (4.0, "closed, half-open", 3)


def test_workers_of_one_queue_add_up() -> None:
    one, two = app(depth=depth(9), completed=1), app(process="host:2", depth=depth(9), completed=3)
    later = {
        "a": app(up=11.0, depth=depth(9), completed=5),
        "b": app(up=14.0, process="host:2", depth=depth(9), completed=7),
    }

    flow = flows({"a": one, "b": two}, later)["orders"]

    assert (flow.workers, flow.running, flow.concurrency, flow.counts.completed) == (2, 6, 8.0, 12)
    assert flow.completing_per_second == 5.0  # 4 in 1 s, and 4 in 4 s
    assert flow.depth == depth(9)


def test_there_is_no_rate_over_the_restart_of_a_worker_or_without_a_look_before() -> None:
    for before in ({}, {"a": app(process="host:2", completed=9)}, {"a": app(up=10.0)}):
        flow = flows(before, {"a": app(up=10.0, completed=1)})["orders"]
        assert (flow.completing_per_second, flow.arriving_per_second, flow.run_seconds) == (None, None, None)


def test_without_a_depth_nobody_knows_what_arrives() -> None:
    flow = flows({"a": app(up=1.0)}, {"a": app(up=2.0, completed=3)})["orders"]
    assert (flow.completing_per_second, flow.arriving_per_second) == (3.0, None)


def test_of_all_workers_together_it_is_known_how_many_would_be_useful() -> None:
    said = Useful(needed=9.0, busy=1.0, borne=2.0)
    two = {"a": saying(app(), said), "b": saying(app(process="host:2"), replace(said, borne=1.0))}
    assert flows({}, two)["orders"].useful_workers == 3
    assert flows({}, two)["mails"].useful_workers is None


def test_a_limit_at_several_workers_is_shown_once() -> None:
    shown: Figures = {"concurrency": 4, "paused_seconds": 1.0, "breaker": "open"}
    other: Figures = {"concurrency": 6, "paused_seconds": 3.0, "breaker": "closed", "phase": "probing"}
    together: Figures = {"concurrency": 10, "paused_seconds": 3.0, "breaker": "closed, open", "phase": "probing"}
    assert added_up([shown, other]) == together
    assert set(limits({"a": app()})) == {"consumers.orders", "downstreams.bank"}


# ---- what one worker did of late


def test_what_was_of_late_shows_however_often_somebody_looks() -> None:
    for every in (0.01, 0.5, 7.0, 59.0, 600.0):
        recent, now = Recent(0.0), 0.0
        while now < 1200:
            now += every
            recent.look(now, int(now * 4), int(now * 4) * 0.5)
        assert (recent.per_second, recent.running) == pytest.approx((4.0, 2.0), rel=0.05)
        assert recent.seconds_each == pytest.approx(0.5)


def test_what_is_older_than_a_minute_is_forgotten_but_for_how_long_a_run_takes() -> None:
    recent = Recent(0.0)
    for now in range(1, 100):
        recent.look(now, now * 10, now * 10 * 0.2)
    for now in range(100, 300):
        recent.look(now, 990, 198.0)
    assert (recent.per_second, recent.running) == (0.0, 0.0)
    assert recent.seconds_each == pytest.approx(0.2)


def test_nothing_is_known_before_a_run_has_ended() -> None:
    recent = Recent(0.0)
    recent.look(0.0, 0, 0.0)
    recent.look(5.0, 0, 0.0)
    assert (recent.seconds_each, recent.per_second) == (None, 0.0)


CAN = Capabilities(scope="process", durable=False, max_message_bytes=1 << 20, max_batch=10)


def lately(clock: VirtualClock, consumers: Mapping[str, ConsumerSettings], **downstreams: LimitSettings) -> Lately:
    settings = Settings(consumers=consumers, downstreams=downstreams)
    gates = Downstreams(downstreams, clock, random.Random(1))
    for name, consumer in consumers.items():
        gates.limits(name, consumer, CAN)
    return Lately(settings, gates, clock.monotonic())


def ran(messages: int, seconds_each: float, *, running: int = 0, held: int = 0, ready: bool = True) -> ConsumerHealth:
    tally = Tally(started=messages + running, run_seconds=messages * seconds_each)
    return ConsumerHealth(ready, running, held, tally)


def counted(ready: int | None, leased: int | None = 0) -> Depth:
    return Depth(ready, leased, None, None, None)


def test_queues_that_share_a_downstream_are_one_backlog_to_it() -> None:
    clock = VirtualClock()
    consumer = ConsumerSettings(downstream="bank", target_wait_seconds=60.0)
    seen = lately(clock, {"orders": consumer, "refunds": consumer}, bank=LimitSettings(concurrency=2))
    asyncio.run(clock.advance(100.0))
    health = {"orders": ran(1000, 0.1), "refunds": ran(100, 1.0)}

    told = seen.workers(clock.monotonic(), health, {"orders": counted(1200), "refunds": counted(100, 20)})

    # One worker: 1,200 orders or 120 refunds in a minute. Both took 1 of 2 places.
    assert told["orders"] == told["refunds"]
    assert astuple(told["orders"]) == pytest.approx((2.0, 1.0, 2.0))


def test_what_the_broker_does_not_tell_is_what_is_held_here_or_nothing_at_all() -> None:
    clock = VirtualClock()
    seen = lately(clock, {"orders": ConsumerSettings(target_wait_seconds=16.0)})  # with 16 places
    asyncio.run(clock.advance(10.0))
    cases = ((counted(90, None), 100 / 256), (counted(90, 20), 110 / 256), (counted(None), None), (None, None))
    for depth, needed in cases:
        told = seen.workers(clock.monotonic(), {"orders": ran(10, 1.0, held=10)}, {"orders": depth})
        assert told["orders"].needed == (None if needed is None else pytest.approx(needed))


def test_who_does_not_consume_counts_for_nothing_and_knows_the_backlog() -> None:
    clock = VirtualClock()
    seen = lately(clock, {"orders": ConsumerSettings()})
    asyncio.run(clock.advance(10.0))
    told = seen.workers(clock.monotonic(), {"orders": ran(9, 1.0, running=9, ready=False)}, {"orders": counted(4800)})
    assert astuple(told["orders"]) == pytest.approx((1.0, 0.0, 0.0))


def test_long_runs_are_busy_from_their_start_and_batches_take_one_place() -> None:
    clock = VirtualClock()
    consumer = ConsumerSettings(limits=LimitSettings(concurrency=2), batch_size=100)
    seen = lately(clock, {"orders": consumer})
    asyncio.run(clock.advance(3000.0))
    told = seen.workers(clock.monotonic(), {"orders": ran(100, 1.0, running=100)}, {"orders": counted(500, 100)})
    assert told["orders"].busy == pytest.approx(0.5)
    assert told["orders"].needed == pytest.approx(1.0)  # 300 s for a place: 300 messages


# ---- what it looks like


class Seeing(Watcher):
    """Sees what it is given."""

    def __init__(self, *looks: dict[str, AppFigures | Unreadable]) -> None:
        self._looks = iter(looks)

    def look(self) -> dict[str, AppFigures | Unreadable]:
        return next(self._looks)


def test_the_dashboard_shows_what_flows_what_limits_it_and_who_does_not_answer() -> None:
    before = app(up=10.0, depth=replace(depth(100), dead=3), completed=10)
    now = app(up=12.0, depth=replace(depth(90), dead=4), completed=50, dead_lettered=1)
    looks = Looks(Seeing({"a": before}, {"a": now, "b\x1b[2J": Unreadable("b does not answer")}))
    looks.again()
    looks.again()

    text = drawn(looks)

    [orders] = [line for line in text.splitlines() if line.startswith("orders")]
    assert orders.split()[1:] == [
        "15.5/s",
        "90",
        "0s",
        "3",
        "4",
        "20.0/s",
        "0.0/s",
        "-",
        "closed,",
        "half-open",
        "4",
        "1",
        "?",
    ]
    assert "downstreams.bank  concurrency 4, running 3, paused_seconds 1.5, breaker half-open" in text
    assert "b does not answer" in text
    assert "\x1b" not in text
    assert "orders completing" in curves(looks)
