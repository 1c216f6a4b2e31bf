"""Post: publishing, through one channel for each stream of messages, and the delay queues that some of them wait in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from leveler.errors import (
    BrokerError,
    BrokerUnavailable,
    LevelerError,
    MessageError,
    MessageTooLarge,
    QueueFull,
    QueueNotFound,
    SendUnknown,
)
from leveler_rabbitmq.connections import Connections
from leveler_rabbitmq.delays import Room
from leveler_rabbitmq.errors import PRECONDITION_FAILED, ChannelClosed, within
from leveler_rabbitmq.lane import LaneLost
from leveler_rabbitmq.publisher import Letter, Publisher, Unconfirmed, open_publisher
from leveler_rabbitmq.rooms import Rooms
from leveler_rabbitmq.windows import RETURNED, Fate

#: A queue that has never confirmed anything to us has so long for the first message.
_TRIAL_SECONDS: Final = 3.0

#: What leaves open whether the broker did what it was told.
_LOST: Final = (LaneLost, ChannelClosed, TimeoutError)


class Post:
    """
    Args:
        connections: over which.
        rooms: where letters may have to wait.
    """

    def __init__(self, connections: Connections, rooms: Rooms) -> None:
        self._connections = connections
        self.rooms = rooms
        self._publishers: dict[str, Publisher] = {}
        self._opening = asyncio.Lock()

    async def send(
        self, lane: str, letters: Sequence[Letter], *, bounded: bool = False, seconds: float | None = None
    ) -> Mapping[int, LevelerError]:
        """Publish; the error of each that the broker has not taken, as far as we know.

        Args:
            lane: those of one lane wait for nobody else's.
            letters: may go to different queues.
            bounded: the broker may refuse because the queue is full.
            seconds: how long to wait for its answer, if not for all of the deadline.
        """
        try:
            publisher = await self._publisher(lane)
            for letter in letters:
                publisher.check(letter)
            doubtful: dict[int, LevelerError] = {}
            fates = await publisher.publish(letters, seconds or self._connections.deadline_seconds)
        except BrokerUnavailable as error:
            return dict.fromkeys(range(len(letters)), error)
        except MessageTooLarge:
            return await self._post_what_fits(lane, letters, bounded=bounded)
        except Unconfirmed as error:
            fates, doubtful = error.fates, {index: _doubt(letters[index], error) for index in error.places}
        except _LOST as error:
            return {index: _doubt(letter, error) for index, letter in enumerate(letters)}
        silent = {index for index, fate in fates.items() if fate != RETURNED} | doubtful.keys()
        self.rooms.did_not_answer(letters[index].queue for index in silent)
        return {index: _explain(letters[index], fate, bounded=bounded) for index, fate in fates.items()} | doubtful

    async def send_delayed(
        self, lane: str, letters: Sequence[Letter], rooms: Sequence[Room | None], *, bounded: bool
    ) -> Mapping[int, LevelerError]:
        """The same for letters some of which go where they have to wait.

        Args:
            rooms: where each letter waits, which is made if need be, or another one is taken; None = it need not wait.
        """
        rooms = [room and self.rooms.usable(room) for room in rooms]
        letters = [
            letter._replace(queue=room.name) if room else letter for letter, room in zip(letters, rooms, strict=True)
        ]
        try:
            await self.rooms.have(rooms)
        except LevelerError as error:
            return dict.fromkeys(range(len(letters)), error)
        if trials := self.rooms.trials(rooms):
            return await self._try_rooms(lane, letters, rooms, trials, bounded=bounded)
        return await self._send_to_rooms(lane, letters, rooms, bounded=bounded)

    async def _try_rooms(
        self, lane: str, letters: Sequence[Letter], rooms: Sequence[Room | None], trials: list[int], *, bounded: bool
    ) -> Mapping[int, LevelerError]:
        """Send one letter to each room that is new to us, and the rest when we know which of them answer."""
        seconds = min(_TRIAL_SECONDS, self._connections.deadline_seconds)
        failed = await self._send_part(trials, letters, rooms, partial(self._send_to_rooms, lane, seconds=seconds))
        self.rooms.answered(letters[index].queue for index in trials if index not in failed)
        rest = [index for index in range(len(letters)) if index not in trials]
        for index, error in failed.items():
            if self.rooms.answers(letters[index].queue):  # something else is wrong
                return failed | dict.fromkeys(rest, error)
        return failed | await self._send_part(rest, letters, rooms, partial(self.send_delayed, lane, bounded=bounded))

    @staticmethod
    async def _send_part(
        part: Sequence[int],
        letters: Sequence[Letter],
        rooms: Sequence[Room | None],
        send: Callable[[Sequence[Letter], Sequence[Room | None]], Awaitable[Mapping[int, LevelerError]]],
    ) -> dict[int, LevelerError]:
        failed = await send([letters[index] for index in part], [rooms[index] for index in part]) if part else {}
        return {part[place]: error for place, error in failed.items()}

    async def _send_to_rooms(
        self,
        lane: str,
        letters: Sequence[Letter],
        rooms: Sequence[Room | None],
        *,
        bounded: bool = False,
        seconds: float | None = None,
    ) -> Mapping[int, LevelerError]:
        failed = dict(await self.send(lane, letters, bounded=bounded, seconds=seconds))
        gone = [index for index, error in failed.items() if isinstance(error, QueueNotFound) and rooms[index]]
        if gone:  # somebody has dropped and declared the queue since: nothing of these was done
            self.rooms.forget(letters[index].queue for index in gone)
            for index in gone:
                del failed[index]
            await self.rooms.have(rooms[index] for index in gone)
            again = await self.send(lane, [letters[index] for index in gone], seconds=seconds)
            failed.update({gone[place]: error for place, error in again.items()})
        return failed

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
            rest = await self.send(lane, [letters[index] for index in fitting], bounded=bounded)
            failed.update({fitting[place]: error for place, error in rest.items()})
        return failed

    async def _publisher(self, lane: str) -> Publisher:
        found = self._publishers.get(lane)
        if found is not None and found.lost is None:
            return found
        async with within(self._connections.deadline_seconds, self._connections.where), self._opening:
            found = self._publishers.get(lane)
            if found is None or found.lost is not None:
                try:
                    found = self._publishers[lane] = await open_publisher(await self._connections.outgoing())
                except (LaneLost, ChannelClosed) as error:
                    raise BrokerUnavailable(f"{self._connections.where}: {error}") from error
            return found


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
    what = "no confirmation in time" if isinstance(error, TimeoutError | Unconfirmed) else str(error)
    return SendUnknown(f"message {letter.id!r}: {what}: it may or may not be queued; send again with the same id")
