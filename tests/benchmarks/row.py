"""Row: one way to send orders and to consume them. leveler is one, its raw limit another, a peer may be a third."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from tests.benchmarks.orders import Order

#: What a consumer calls with each decoded order.
Handle = Callable[[Order], Awaitable[None]]


class Sending(Protocol):
    """Inside `Row.open`."""

    async def send(self, order: Order) -> None:
        """Return when it is accepted."""
        ...

    async def send_many(self, orders: Sequence[Order]) -> None:
        """Return when all of them are accepted."""
        ...


class Row(Protocol):
    """Made once per process, and opened as often as a measure likes: what was sent and not consumed is still there."""

    def open(self, handle: Handle | None = None) -> AbstractAsyncContextManager[Sending]:
        """Be able to send inside; and consume, if there is a `handle`. At its end, what was handled is settled."""
        ...


#: Makes the row in a folder that all processes of one measurement share.
MakeRow = Callable[[Path], Row]
