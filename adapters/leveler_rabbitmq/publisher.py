"""Publisher: a lane whose messages are confirmed, many of them at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from pamqp import commands

from leveler.errors import BrokerUnavailable, MessageTooLarge
from leveler_rabbitmq import frames
from leveler_rabbitmq.envelope import id_of
from leveler_rabbitmq.lane import Lane
from leveler_rabbitmq.link import Link
from leveler_rabbitmq.windows import Fate, Name, Windows
from leveler_rabbitmq.wire import Wire

#: class, weight and body size, which stand before the properties
_HEADER_BYTES: Final = 12


#: So many messages that one queue does not take, and RabbitMQ reads no more from their connection
#: (quorum_commands_soft_limit): whatever comes after them would wait, too.
_DEAFENING: Final = 32


class Letter(NamedTuple):
    """A message, ready to be published."""

    queue: str
    id: str
    properties: bytes
    body: bytes


class Unconfirmed(Exception):
    """The broker has not answered for some in time."""

    def __init__(self, places: list[int], fates: dict[int, Fate]) -> None:
        super().__init__(f"no confirmation of {len(places)} messages in time")
        #: Which of those that were published together.
        self.places = places
        #: Of the others, what became of those that it did not take.
        self.fates = fates


class Publisher(Lane):
    """Publishes to queues by their names, and hears what became of each message."""

    def __init__(self, wire: Wire, number: int, frame_max: int) -> None:
        super().__init__(wire, number)
        self._frame_max = frame_max
        self._windows = Windows()
        self._to: dict[str, bytes] = {}

    async def select(self) -> None:
        """Have every message confirmed."""
        await self.ask(commands.Confirm.Select(), commands.Confirm.SelectOk)

    async def publish(self, letters: Sequence[Letter], seconds: float) -> dict[int, Fate]:
        """The fate of each that the broker did not take; all others are safe.

        Raises:
            BrokerUnavailable: nothing was published.
            Unconfirmed: nobody knows what became of some.
            LaneLost, ChannelClosed: nobody knows what became of any.
        """
        await self._may_write(seconds)
        closed: asyncio.Future[dict[int, Fate]] = asyncio.get_running_loop().create_future()
        window = self._windows.open([Name(letter.queue, letter.id) for letter in letters], closed)
        self._write(letters)
        try:
            async with asyncio.timeout(seconds):
                return await closed
        except TimeoutError:
            unconfirmed = Unconfirmed(window.unanswered(), window.fates)
            if len(unconfirmed.places) >= _DEAFENING:
                self.wire.abort(str(unconfirmed))
            raise unconfirmed from None

    def check(self, letter: Letter) -> None:
        """
        Raises:
            MessageTooLarge: its headers do not go into one frame, and AMQP has no way to use two.
        """
        most = self._frame_max - frames.FRAME_BYTES - _HEADER_BYTES
        if len(letter.properties) > most:
            raise MessageTooLarge(
                f"message {letter.id!r} has {len(letter.properties)} bytes of headers and attributes; over this "
                f"connection go up to {most} (the broker's frame_max): put large data into the body"
            )

    async def _may_write(self, seconds: float) -> None:
        if self.wire.blocked:
            raise BrokerUnavailable(
                f"the broker takes no messages at the moment ({self.wire.blocked}): free memory or disk space there"
            )
        if not self.wire.writable.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self.wire.writable.wait()
            except TimeoutError as error:
                raise BrokerUnavailable("the broker does not read what is sent to it; nothing was sent") from error
        if self.lost is not None:
            raise BrokerUnavailable(f"{self.lost}: nothing was sent") from self.lost

    def _write(self, letters: Sequence[Letter]) -> None:
        out: list[bytes] = []
        channel, frame_max, to = self.number, self._frame_max, self._to
        for queue, _, properties, body in letters:
            method = to.get(queue)
            if method is None:
                method = to[queue] = frames.publish(channel, queue)
            out.append(method)
            out += frames.content(channel, properties, body, frame_max)
        self.wire.write(*out)

    def returned(self, queue: str, properties: bytes) -> None:
        self._windows.give_back(Name(queue, id_of(properties)))

    def confirmed(self, tag: int, multiple: bool, accepted: bool) -> None:
        self._windows.confirm(tag, multiple=multiple, accepted=accepted)

    def ended(self, why: Exception) -> None:
        self._windows.abandon(why)


async def open_publisher(link: Link) -> Publisher:
    """
    Raises:
        LaneLost, ChannelClosed: there can be none.
    """
    publisher = await link.lane(lambda wire, number: Publisher(wire, number, link.frame_max))
    await publisher.select()
    return publisher
