"""Leveler: what may be defined on it, before anything is started."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leveler import ConfigError, ConsumerSettings, Context, InvalidMessage, Leveler, LimitSettings, NotStarted, Settings
from leveler.errors import LevelerError


def test_making_and_defining_an_app_does_no_io() -> None:
    app = Leveler("amqp://user:secret@no-such-host/")

    @app.consumer("orders")
    async def handle(order: dict[str, Any]) -> None: ...

    assert app.queue("orders", dict).name == "orders"
    assert "secret" not in repr(app)


def test_the_function_itself_is_returned_unchanged() -> None:
    app = Leveler()

    async def handle(order: str) -> str:
        return order.upper()

    assert app.consumer("orders")(handle) is handle
    assert asyncio.run(handle("x")) == "X"


def test_middleware_and_observers_are_returned_unchanged() -> None:
    app = Leveler()

    async def middleware(value: Any, ctx: Context, call_next: Any) -> Any: ...

    def observer(event: object) -> None: ...

    assert app.add_middleware(middleware) is middleware
    assert app.observe(observer) is observer


@pytest.mark.parametrize("kind", [None, "Order"])
def test_two_handlers_for_the_same_messages_are_refused(kind: str | None) -> None:
    app = Leveler()

    @app.consumer("orders", type=kind)
    async def first(order: str) -> None: ...

    with pytest.raises(ConfigError, match=r"two handlers.*'orders'.*type="):

        @app.consumer("orders", type=kind)
        async def second(order: str) -> None: ...


def test_handlers_of_different_types_share_a_queue() -> None:
    app = Leveler()

    @app.consumer("orders", type="Order")
    async def order(value: str) -> None: ...

    @app.consumer("orders", type="Refund")
    async def refund(value: str) -> None: ...

    @app.consumer("orders")
    async def anything(value: str) -> None: ...

    @app.consumer("refunds")
    async def elsewhere(value: str) -> None: ...


@pytest.mark.parametrize(
    "name", ["", "ab", "Orders", "orders_new", "orders-", "-orders", "x" * 59, "orders-dead", "1st"]
)
def test_a_queue_name_that_is_not_legal_everywhere_is_refused(name: str) -> None:
    app = Leveler()
    with pytest.raises(InvalidMessage):
        app.consumer(name)
    with pytest.raises(InvalidMessage):
        app.queue(name, str)


def test_a_handler_that_cannot_be_called_leaves_no_consumer_behind() -> None:
    app = Leveler("memory://")

    def wrong(first: str, second: str, third: str) -> None: ...

    with pytest.raises(ConfigError, match="wrong"):
        app.consumer("orders")(wrong)

    async def start() -> list[str]:
        async with app.working():
            return list(app.health().consumers)

    assert asyncio.run(start()) == []


def test_what_the_settings_say_of_a_consumer_is_stronger_than_code() -> None:
    strong = ConsumerSettings(limits=LimitSettings(concurrency=3))
    app = Leveler("memory://", consumers={"orders": strong})

    @app.consumer("orders", concurrency=50, rate="7/s")
    async def handle(order: str) -> None: ...

    limits = app.settings().consumers["orders"].limits
    assert (limits.concurrency, limits.rate_per_second) == (3, 7.0)


@pytest.mark.parametrize("limits", [{"concurrency": 0}, {"concurrency": -1}, {"rate": "0/s"}, {"rate": "fast"}])
def test_limits_without_sense_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Leveler().consumer("orders", **limits)


def test_an_app_without_a_broker_says_where_to_name_one() -> None:
    async def start() -> None:
        async with Leveler(settings=Settings()):
            pass

    with pytest.raises(ConfigError, match=r"no broker.*leveler\.yaml"):
        asyncio.run(start())


def test_everything_that_needs_a_broker_says_that_the_app_is_not_started() -> None:
    app = Leveler("memory://")

    async def use() -> None:
        for call in (
            app.send("orders", "x"),
            app.send_many("orders", ["x"]),
            app.queue("orders", str).send("x"),
            app.queue("orders", str).send_many(["x"]),
            app.depth("orders"),
            app.dead_letters("orders"),
        ):
            with pytest.raises(NotStarted, match="async with app"):
                await call

    asyncio.run(use())
    with pytest.raises(NotStarted):
        app.health()


def test_an_app_may_live_again_in_another_loop() -> None:
    app = Leveler("memory://")
    lives: list[int] = []

    async def live() -> None:
        async with app:
            await app.send("orders", "x")
            lives.append((await app.depth("orders")).ready or 0)

    asyncio.run(live())
    asyncio.run(live())
    assert lives == [1, 1]


def test_two_lives_at_once_are_refused() -> None:
    app = Leveler("memory://")

    async def live() -> None:
        async with app:
            with pytest.raises(LevelerError, match="started already"):
                await app.__aenter__()
            await app.send("orders", "x")

    asyncio.run(live())
