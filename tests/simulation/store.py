"""Store: where the workers of a simulation have their rate together, and what goes wrong with it for all of them."""

from __future__ import annotations

from leveler.adapter import Adapter, QueueSpec, Receiver, Sender
from leveler.errors import BrokerUnavailable
from leveler.schedule import Ask, Stretch
from tests.simulation.eyes import Nobody
from tests.simulation.witness import Witness


class Store:
    """How it is just now."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """It is well, or again."""
        self.is_away = False
        #: How long a request waits before anybody looks at it, and an answer before it is sent.
        self.before_seconds = self.after_seconds = 0.0
        #: So many requests are made twice, as by a client library that was not answered, and told the second answer.
        self.doubles = 0


class AtStore(Witness):
    """The way to it, and to the broker beside it, of which it changes nothing."""

    def __init__(self, inner: Adapter, store: Store) -> None:
        super().__init__(inner, Nobody())
        self._store = store

    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        store = self._store
        if store.before_seconds:
            await self.clock.sleep(store.before_seconds)
        if store.is_away:
            raise BrokerUnavailable("the store is away")
        if store.doubles:
            store.doubles -= 1
            await self._inner.reserve(rate, ask)
        stretch = await self._inner.reserve(rate, ask)
        if store.after_seconds:
            await self.clock.sleep(store.after_seconds)
        return stretch

    def sender(self, queue: QueueSpec) -> Sender:
        return self._inner.sender(queue)

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> Receiver:
        return self._inner.receiver(queue, capacity=capacity, dead=dead)
