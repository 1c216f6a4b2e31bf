"""The workload: orders of about 1 KB of JSON, as a shop would send them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Final

import msgspec

#: So many different ones are made; they come again and again.
_DISTINCT: Final = 500
_LINES: Final = 6


class Line(msgspec.Struct):
    sku: str
    title: str
    quantity: int
    unit_price: float
    tags: list[str]


class Address(msgspec.Struct):
    name: str
    street: str
    city: str
    postcode: str
    country: str


class Order(msgspec.Struct):
    id: str
    customer: str
    currency: str
    total: float
    express: bool
    address: Address
    lines: list[Line]
    note: str | None = None
    #: On the monotonic clock of the host; for latencies.
    sent_at: float = 0.0


def orders(count: int) -> Iterator[Order]:
    """The same ones in every process."""
    rng = random.Random(42)
    return islice(cycle([_order(rng, number) for number in range(min(count, _DISTINCT))]), count)


def _order(rng: random.Random, number: int) -> Order:
    lines = [
        Line(
            sku=f"SKU-{rng.randrange(10**8):08d}",
            title=rng.choice(("Espresso cups, set of six", "Bicycle light, rechargeable", "Notebook, dotted, A5")),
            quantity=rng.randrange(1, 9),
            unit_price=round(rng.uniform(1, 500), 2),
            tags=rng.sample(["new", "sale", "fragile", "bulky", "gift", "digital"], 2),
        )
        for _ in range(_LINES)
    ]
    return Order(
        id=f"order-{number:08d}",
        customer=f"customer-{rng.randrange(10**6):06d}",
        currency=rng.choice(("EUR", "USD", "GBP")),
        total=round(sum(line.quantity * line.unit_price for line in lines), 2),
        express=rng.random() < 0.2,
        address=Address("Jane Doe", f"{rng.randrange(1, 200)} Long Street", "Springfield", "12345", "US"),
        lines=lines,
        note="Please leave it with the neighbours." if rng.random() < 0.3 else None,
    )
