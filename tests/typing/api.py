"""A user's code, type-checked and never run: what is written here must be clean, and what is marked must not be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

import msgspec

from leveler import (
    AppFigures,
    BatchContext,
    BatchFailed,
    Completed,
    Context,
    Depth,
    Leveler,
    Message,
    Queue,
    Reject,
    Retry,
    RetryPolicy,
    Snooze,
    Throttled,
)
from leveler.events import Event, MessageCompleted
from leveler.testing import TestApp


class Order(msgspec.Struct):
    id: str
    total: float


@dataclass
class Refund:
    order: str


@asynccontextmanager
async def lifespan(app: Leveler) -> AsyncIterator[dict[str, int]]:
    yield {"pool": 1}


app = Leveler("memory://", lifespan=lifespan)
orders = app.queue("orders", Order)
assert_type(orders, Queue[Order])


@app.consumer("orders")
async def process(order: Order, ctx: Context) -> None:
    assert_type(ctx.message, Message)
    assert_type(ctx.attempt, int)


@app.consumer("refunds", concurrency=4)
def refund(value: Refund) -> Reject | Retry | Snooze | Throttled | Completed | None:
    return Reject("closed") if value.order else Retry(after=timedelta(minutes=1))


@app.consumer("batches", batch_size=100, batch_wait="500ms", concurrency=2)
async def many(orders: list[Order]) -> None:
    raise BatchFailed({0: Retry(after=5), 1: ValueError("no")})


@app.consumer("batches-with-context", batch_size=100)
def many_with_context(orders: list[Order], ctx: BatchContext) -> BatchFailed | None:
    assert_type(ctx.items[0], Context)
    return None


# One message whose body is a list.
@app.consumer("lists")
async def one_list(orders: list[Order]) -> None: ...


@app.consumer("batches", batch_size=100)  # type: ignore[type-var]
async def no_list(order: Order) -> None: ...


@app.consumer("batches", batch_size=100)  # type: ignore[type-var]
async def wrong_context(orders: list[Order], ctx: int) -> None: ...


# The decorator gives the function back as it is.
async def call_directly(ctx: Context) -> None:
    await process(Order("1", 1.0), ctx)
    refund(Refund("1"))
    await many([Order("1", 1.0)])
    await many(Order("1", 1.0))  # type: ignore[arg-type]
    await process("1", ctx)  # type: ignore[arg-type]


async def send() -> None:
    async with app:
        assert_type(await orders.send(Order("1", 1.0), key="k", delay=timedelta(hours=1)), Message)
        assert_type(await orders.send_many([Order("1", 1.0)]), list[Message])
        assert_type(await app.send("orders", Order("1", 1.0), delay=30, headers={"x-a": "b"}), Message)
        assert_type(await app.depth("orders"), Depth)
        assert_type(await app.figures(), AppFigures)
        await orders.send(Refund("1"))  # type: ignore[arg-type]
        await orders.send(Order("1", 1.0), dealy=30)  # type: ignore[call-arg]


def send_blocking() -> None:
    with app.blocking() as out:
        assert_type(out.send("orders", Order("1", 1.0)), Message)


@app.add_middleware
async def timing(value: Any, ctx: Context, call_next: Any) -> Any:
    return await call_next(value, ctx)


@app.observe
def count(event: Event) -> None:
    if isinstance(event, MessageCompleted):
        assert_type(event.run_seconds, float)


policy = RetryPolicy(max_attempts=3, backoff="linear")
bad_policy = RetryPolicy(backoff="sometimes")  # type: ignore[arg-type]


async def test() -> None:
    async with TestApp(app) as t:
        await t.send("orders", Order("1", 1.0))
        await t.drain()
        assert_type(t.completed, list[MessageCompleted])
