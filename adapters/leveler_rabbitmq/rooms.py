"""Rooms: the queues where messages wait, see `leveler_rabbitmq.delays`: which are there, and which do not answer.

One may never answer again. RabbitMQ writes down where a quorum queue keeps its messages half a second after its
declaration; a server that is killed sooner lists the queue after its return and never finds a leader for it. So a
room that refused a message, or did not confirm it in time, is left alone for a while, and the next one is used instead;
and one that is new to us gets one message before it gets many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from pamqp import commands

from leveler.clock import Clock
from leveler.errors import BrokerUnavailable, QueueNotFound
from leveler_rabbitmq.connections import Connections
from leveler_rabbitmq.delays import Room

#: See above.
_WRITTEN_DOWN_SECONDS: Final = 1.0
#: After so long, one that did not answer is tried again.
_SILENT_SECONDS: Final = 60.0


class Rooms:
    """
    Args:
        connections: to make them over.
        clock: time.
    """

    def __init__(self, connections: Connections, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock
        self._known: set[str] = set()
        self._tried: set[str] = set()
        self._seen_at: dict[str, float] = {}
        self._silent_until: dict[str, float] = {}

    def usable(self, room: Room) -> Room:
        """It, or another one that may be used instead, if it did not answer lately."""
        if not self._silent_until or self.answers(room.name):
            return room
        return next((other for other in room.following() if self.answers(other.name)), room)

    def trials(self, rooms: Sequence[Room | None]) -> list[int]:
        """Where the first one stands of each that has never answered us."""
        first: dict[str, int] = {}
        for index, room in enumerate(rooms):
            if room is not None and room.name not in self._tried:
                first.setdefault(room.name, index)
        return list(first.values())

    def answered(self, names: Iterable[str]) -> None:
        self._tried.update(names)

    def answers(self, name: str) -> bool:
        """As far as we know."""
        return self._silent_until.get(name, 0.0) <= self._clock.monotonic()

    def did_not_answer(self, names: Iterable[str]) -> None:
        """It is left alone for a while."""
        self._silent_until.update(dict.fromkeys(names, self._clock.monotonic() + _SILENT_SECONDS))

    async def have(self, rooms: Iterable[Room | None]) -> None:
        """See that they are there, and may be used."""
        if missing := {room for room in rooms if room is not None and room.name not in self._known}:
            await asyncio.gather(*map(self._have, missing))

    async def make(self, room: Room) -> bool:
        """See that it is there. Whether it was not."""
        made = False
        try:
            await self._connections.ready(room.name)
        except QueueNotFound:
            made = True
            async with self._connections.talk(f"queue {room.name!r}") as lane:
                declaration = commands.Queue.Declare(queue=room.name, durable=True, arguments=room.arguments())
                await lane.ask(declaration, commands.Queue.DeclareOk)
        self._seen_at.setdefault(room.name, self._clock.monotonic())
        return made

    def forget(self, names: Iterable[str]) -> None:
        """They may be gone."""
        for name in names:
            self._known.discard(name)
            self._seen_at.pop(name, None)

    async def _have(self, room: Room) -> None:
        try:
            await self.make(room)
        except BrokerUnavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                self.did_not_answer((room.name,))
            raise
        # Whoever made it may have done so a moment before we saw it.
        await asyncio.sleep(self._seen_at[room.name] + _WRITTEN_DOWN_SECONDS - self._clock.monotonic())
        self._known.add(room.name)


async def written_down() -> None:
    """Wait until what is confirmed in a queue that has just been made is safe."""
    await asyncio.sleep(_WRITTEN_DOWN_SECONDS)
