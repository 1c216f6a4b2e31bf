"""One file, any broker: it sends some orders when it starts and handles them.

LEVELER_BROKER=memory:// leveler run handlers:app
LEVELER_BROKER=sqlite:///orders.db leveler run handlers:app
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from leveler import Context, Leveler, Reject, Retry


class Order(msgspec.Struct):
    id: str
    total: float


@asynccontextmanager
async def lifespan(app: Leveler) -> AsyncIterator[dict[str, float]]:
    """What it yields is every handler's `ctx.state`; around it, things may be opened, sent and closed."""
    orders = [Order(id=str(number), total=9.5 * number) for number in range(1, 10)]
    await app.send_many("orders", [*orders, Order(id="10", total=-1.0)])
    ledger: dict[str, float] = {}
    yield ledger
    print(f"{len(ledger)} orders, {sum(ledger.values()):.2f} in all", flush=True)


app = Leveler(lifespan=lifespan)


@app.consumer("orders", concurrency=4)
async def charge(order: Order, ctx: Context) -> None:
    if order.total < 0:
        raise Reject("a negative total")  # will never work: a dead letter, to be looked at
    if order.id == "5" and ctx.attempt == 1:
        raise Retry(after=0.2)  # the payment provider has a bad moment
    ctx.state[order.id] = order.total  # by id: the same order twice is charged once
    print(f"charged {order.total:.2f} for order {order.id}, attempt {ctx.attempt}", flush=True)
