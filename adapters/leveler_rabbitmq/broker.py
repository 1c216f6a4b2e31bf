"""Broker: the connections of one adapter, made when they are needed, and what goes over them.

What is published goes over a connection of its own. A broker that is short of memory or disk stops reading from
connections that publish, and settlements must not be held up with them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from pamqp import commands

from leveler.errors import (
    BrokerError,
    BrokerUnavailable,
    LevelerError,
    MessageError,
    MessageTooLarge,
    NotStarted,
    QueueFull,
    QueueNotFound,
    SendUnknown,
)
from leveler_rabbitmq import delays
from leveler_rabbitmq.address import Address
from leveler_rabbitmq.errors import PRECONDITION_FAILED, ChannelClosed, not_connected, refused, within
from leveler_rabbitmq.lane import Lane, LaneLost
from leveler_rabbitmq.link import AnyLane, Link, connect
from leveler_rabbitmq.publisher import Letter, Publisher, open_publisher
from leveler_rabbitmq.windows import RETURNED, Fate
from leveler_rabbitmq.wire import Wire

R = TypeVar("R")

#: RabbitMQ writes down where a quorum queue keeps its messages half a second after its declaration. A server that is
#: killed sooner does not find them again, and the queue never answers any more (seen with 3.10.8 and 4.0.5).
_WRITTEN_DOWN_SECONDS: Final = 1.0

#: What leaves open whether the broker did what it was told.
_LOST: Final = (LaneLost, ChannelClosed, TimeoutError)


class Side:
    """One connection, or none at the moment.

    Args:
        dial: makes one.
    """

    def __init__(self, dial: Callable[[], asyncio.Future[Link]]) -> None:
        self._dial = dial
        self._link: Link | None = None
        self._dialling = asyncio.Lock()

    async def link(self) -> Link:
        async with self._dialling:
            if self._link is None or not self._link.open:
                self._link = await self._dial()
            return self._link

    async def close(self) -> None:
        async with self._dialling:
            if self._link is not None:
                link, self._link = self._link, None
                await link.close()


class Broker:
    """
    Args:
        address: where it is; the nodes are tried in this order, from the last one that answered on.
        context: for TLS.
        heartbeat_seconds: of the connections.
        deadline_seconds: of everything here.
    """

    def __init__(
        self, address: Address, context: Callable[[], ssl.SSLContext | None], heartbeat_seconds: int, deadline: float
    ) -> None:
        self.deadline_seconds = deadline
        self._address = address
        self._context = context
        self._heartbeat = heartbeat_seconds
        self._first = 0
        self._sides: tuple[Side, Side] | None = None
        self._publishers: dict[str, Publisher] = {}
        self._opening = asyncio.Lock()
        self._delay_queues: set[str] = set()

    async def open(self) -> Link:
        """Connect."""
        self._sides = (Side(self._dialled), Side(self._dialled))
        return await self.incoming()

    async def close(self) -> None:
        if self._sides is not None:
            sides, self._sides = self._sides, None
            self._publishers.clear()
            await asyncio.gather(*(side.close() for side in sides))

    async def incoming(self) -> Link:
        """For everything but publishing."""
        return await self._side(0).link()

    async def lane(self, make: Callable[[Wire, int], AnyLane]) -> AnyLane:
        """A new channel for everything but publishing.

        Raises:
            BrokerUnavailable: there can be none at the moment.
        """
        try:
            return await (await self.incoming()).lane(make)
        except (LaneLost, ChannelClosed) as error:
            raise BrokerUnavailable(f"{self._where}: {error}") from error

    @asynccontextmanager
    async def talk(self, what: str) -> AsyncIterator[Lane]:
        """A channel for some questions about `what`.

        Raises:
            LevelerError: whatever the broker has against it.
        """
        async with within(self.deadline_seconds, what):
            lane = await self.lane(Lane)
            try:
                yield lane
            except ChannelClosed as error:
                raise refused(error, what) from error
            except LaneLost as error:
                raise BrokerUnavailable(f"{what}: {error}") from error
            finally:
                lane.abandon("it is not needed any more")

    async def post(self, lane: str, letters: Sequence[Letter], *, bounded: bool = False) -> Mapping[int, LevelerError]:
        """Publish; the error of each that the broker has not taken, as far as we know.

        Args:
            lane: those of one lane wait for nobody else's.
            letters: may go to different queues.
            bounded: the broker may refuse because the queue is full.
        """
        try:
            publisher = await self._publisher(lane)
            for letter in letters:
                publisher.check(letter)
            fates = await publisher.publish(letters, self.deadline_seconds)
        except BrokerUnavailable as error:
            return dict.fromkeys(range(len(letters)), error)
        except MessageTooLarge:
            return await self._post_what_fits(lane, letters, bounded=bounded)
        except _LOST as error:
            return {index: _doubt(letter, error) for index, letter in enumerate(letters)}
        return {index: _explain(letters[index], fate, bounded=bounded) for index, fate in fates.items()}

    async def post_delayed(
        self, queue: str, lane: str, letters: Sequence[Letter], lengths_ms: Sequence[int | None], *, bounded: bool
    ) -> Mapping[int, LevelerError]:
        """The same for letters some of which go to a delay queue of `queue`, which is made if need be.

        Args:
            lengths_ms: of the delay queue that each letter goes to; None = it goes to no such queue.
        """
        lengths = {length for length in lengths_ms if length is not None}
        try:
            await self._have_delay_queues(queue, lengths)
        except LevelerError as error:
            return dict.fromkeys(range(len(letters)), error)
        failed = dict(await self.post(lane, letters, bounded=bounded))
        gone = [index for index, error in failed.items() if isinstance(error, QueueNotFound) and lengths_ms[index]]
        if gone:  # somebody has dropped and declared the queue since: nothing of these was done
            self._delay_queues.difference_update(letters[index].queue for index in gone)
            for index in gone:
                del failed[index]
            await self._have_delay_queues(queue, {lengths_ms[index] or 0 for index in gone})
            again = await self.post(lane, [letters[index] for index in gone])
            failed.update({gone[place]: error for place, error in again.items()})
        return failed

    def forget_delay_queues(self, names: Iterable[str]) -> None:
        self._delay_queues.difference_update(names)

    async def _post_what_fits(
        self, lane: str, letters: Sequence[Letter], *, bounded: bool
    ) -> Mapping[int, LevelerError]:
        publisher = await self._publisher(lane)
        failed: dict[int, LevelerError] = {}
        for index, letter in enumerate(letters):
            try:
                publisher.check(letter)
            except MessageError as error:
                failed[index] = error
        fitting = [index for index in range(len(letters)) if index not in failed]
        if fitting:
            rest = await self.post(lane, [letters[index] for index in fitting], bounded=bounded)
            failed.update({fitting[place]: error for place, error in rest.items()})
        return failed

    async def _have_delay_queues(self, queue: str, lengths_ms: Iterable[int]) -> None:
        missing = [length for length in lengths_ms if delays.delay_queue(queue, length) not in self._delay_queues]
        if missing:
            await asyncio.gather(*(self._have_delay_queue(queue, length) for length in missing))

    async def _have_delay_queue(self, queue: str, length_ms: int) -> None:
        name = delays.delay_queue(queue, length_ms)
        try:
            await self.ready(name)
        except QueueNotFound:
            async with self.talk(f"queue {name!r}") as lane:
                arguments = delays.arguments(queue, length_ms)
                declaration = commands.Queue.Declare(queue=name, durable=True, arguments=arguments)
                await lane.ask(declaration, commands.Queue.DeclareOk)
            await written_down()
        self._delay_queues.add(name)

    async def ready(self, name: str) -> int:
        """How many messages wait in that queue.

        Raises:
            QueueNotFound: there is none.
        """
        async with self.talk(f"queue {name!r}") as lane:
            declaration = commands.Queue.Declare(queue=name, passive=True)
            return (await lane.ask(declaration, commands.Queue.DeclareOk)).message_count or 0

    async def _publisher(self, lane: str) -> Publisher:
        found = self._publishers.get(lane)
        if found is not None and found.lost is None:
            return found
        async with within(self.deadline_seconds, self._where), self._opening:
            found = self._publishers.get(lane)
            if found is None or found.lost is not None:
                try:
                    found = self._publishers[lane] = await open_publisher(await self._side(1).link())
                except (LaneLost, ChannelClosed) as error:
                    raise BrokerUnavailable(f"{self._where}: {error}") from error
            return found

    def _side(self, which: int) -> Side:
        if self._sides is None:
            raise NotStarted(f"the adapter of {self._where} is not open: use it inside 'async with'")
        return self._sides[which]

    def _dialled(self) -> asyncio.Future[Link]:
        return asyncio.ensure_future(self._dial())

    async def _dial(self) -> Link:
        """The first node that answers. A refusal of one is a refusal of all: they share users and permissions."""
        nodes = self._address.nodes
        problems: list[str] = []
        cause: BaseException | None = None
        for turn in range(len(nodes)):
            place = (self._first + turn) % len(nodes)
            node = nodes[place]
            try:
                async with asyncio.timeout(self.deadline_seconds / len(nodes)):
                    link = await connect(self._address, node, self._context(), self._heartbeat)
            except (Exception, asyncio.CancelledError) as error:  # aiormq lets through whatever breaks in it
                if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                    raise
                problem = not_connected(error, str(node), self._address.vhost)
                if not isinstance(problem, BrokerUnavailable):
                    raise problem from error
                problems.append(str(problem))
                cause = error
            else:
                self._first = place
                return link
        raise BrokerUnavailable("; ".join(problems)) from cause

    @property
    def _where(self) -> str:
        return ", ".join(map(str, self._address.nodes))


async def written_down() -> None:
    """Wait until what is confirmed in a queue that has just been made is safe."""
    await asyncio.sleep(_WRITTEN_DOWN_SECONDS)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _explain(letter: Letter, fate: Fate, *, bounded: bool) -> BrokerError:
    if fate == RETURNED:
        return QueueNotFound(
            f"queue {letter.queue!r} does not exist, so message {letter.id!r} was not accepted: declare it with "
            "declare: create, or check its name"
        )
    if bounded:
        return QueueFull(f"queue {letter.queue!r} is at its bound: send again when there is room, or raise the bound")
    return SendUnknown(
        f"message {letter.id!r}: the broker could not take it for queue {letter.queue!r} (is a majority of its "
        "members up?): send it again with the same id"
    )


def _doubt(letter: Letter, error: Exception) -> LevelerError:
    if isinstance(error, ChannelClosed) and error.code == PRECONDITION_FAILED and "max size" in error.text:
        most = error.text.rpartition(" ")[2]
        if most.isdigit() and len(letter.body) > int(most):
            return MessageTooLarge(
                f"message {letter.id!r} has a body of {len(letter.body)} bytes and the server takes {most} "
                "(max_message_size): send a reference to the data, or raise it there"
            )
    what = "no confirmation in time" if isinstance(error, TimeoutError) else str(error)
    return SendUnknown(f"message {letter.id!r}: {what}: it may or may not be queued; send again with the same id")
