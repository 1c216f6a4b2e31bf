"""DeadReceiver: dead letters are pulled from the paused queue that keeps them.

The service has no lease for a task that it does not dispatch. Here it is a task's name: letter ``x-4`` is taken by
making ``x-5``, which says until when it is held, and removing ``x-4``. Of two who want it one makes it, and the other
is told that it exists. The next one is made before the last one goes, so a crash leaves two letters at worst.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from leveler.adapter import Abandon, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.errors import BatchError, LeaseLost, LevelerError, MessageTooLarge, ReceiverLost, Unsupported
from leveler_cloudtasks.client import Client
from leveler_cloudtasks.letters import Letters
from leveler_cloudtasks.tasks import Tasks, message_in

#: A header of a letter that somebody holds: until when, in seconds since the epoch.
HELD_UNTIL: Final = "leveler-held-until"

#: Between two looks at the queue: the service allows 600 in a minute, to all together.
_LOOK_SECONDS: Final = 1.0


class DeadReceiver(Receiver):
    """
    Args:
        queue: whose dead letters.
        capacity: the most that it may hold.
        clock: time.
        tasks: makes the tasks.
        client: the calls.
    """

    def __init__(self, queue: QueueSpec, *, capacity: int, clock: Clock, tasks: Tasks, client: Client) -> None:
        self._queue = queue
        self._limit = self._capacity = capacity
        self._clock = clock
        self._tasks = tasks
        self._client = client
        self._letters = Letters(queue.dead_name, client, clock)
        self._held: dict[str, Delivery] = {}
        self._bell = Bell(clock)
        self._closed = False

    async def hold(self, limit: int) -> None:
        self._limit = min(limit, self._capacity)
        self._bell.ring()

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self._check_open()
        end = self._clock.monotonic() + wait_seconds
        running = self._limit > 0
        while True:
            self._bell.clear()
            taken = await self._take(min(credit, self._limit - len(self._live())))
            left = end - self._clock.monotonic()
            if taken or left <= 0 or (running and self._limit == 0):
                return taken
            await self._bell.wait(min(end, self._clock.monotonic() + _LOOK_SECONDS))
            self._check_open()

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        await self._each(deliveries, self._complete)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self._each([item.delivery for item in items], self._give_back)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        if items:
            raise Unsupported(f"{self._queue.dead_name}: a dead letter cannot die again: complete it or give it back")

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            raise Unsupported(f"{self._queue.dead_name}: a lease of this broker cannot be extended")

    async def close(self) -> None:
        self._closed = True
        self._bell.ring()
        await self._letters.close()

    # -- taking

    async def _take(self, most: int) -> list[Delivery]:
        """Up to `most`, if need be with a look at all of them."""
        begun = self._letters.begun
        taken = await self._take_listed(most)
        return taken if taken or not begun else await self._take_listed(most)

    async def _take_listed(self, most: int) -> list[Delivery]:
        taken: list[Delivery] = []
        while len(taken) < most and (letter := await self._letters.next()) is not None:
            if not held(letter, self._clock) and (delivery := await self._claim(letter)) is not None:
                taken.append(delivery)
        return taken

    async def _claim(self, letter: Any) -> Delivery | None:
        """It, if nobody else was faster."""
        until = self._clock.now().timestamp() + self._queue.lease_seconds
        leased_until = self._clock.monotonic() + self._queue.lease_seconds
        try:
            mine = await self._successor(letter.name, letter, {HELD_UNTIL: f"{until:.6f}"})
        except MessageTooLarge:  # what others have made may leave no room to say who has it: it is to be looked at only
            return None
        if mine is None:
            return None
        # A dead letter is not tried, so nothing of it is counted.
        message = message_in(letter, self._clock.now())
        delivery = Delivery(message, message.attempts + 1, leased_until, (mine, letter))
        self._held[mine] = delivery
        return delivery

    async def _successor(self, name: str, letter: Any, extra: dict[str, str]) -> str | None:
        """Make the letter's next task and remove this one; None if there is, or was, a next one."""
        made = type(letter)()
        made.name = _next_name(name)
        made.http_request.CopyFrom(letter.http_request)
        made.http_request.headers.pop(HELD_UNTIL, None)
        made.http_request.headers.update(extra)
        new = await self._client.create_task(self._queue.dead_name, made)
        await self._client.delete_task(name)
        return str(made.name) if new else None

    # -- settling

    async def _complete(self, delivery: Delivery) -> None:
        name, _ = delivery.receipt
        if not await self._client.delete_task(name):
            raise LeaseLost(f"{delivery}: somebody else has this dead letter by now")

    async def _give_back(self, delivery: Delivery) -> None:
        name, letter = delivery.receipt
        if await self._successor(name, letter, {}) is None:
            raise LeaseLost(f"{delivery}: somebody else has this dead letter by now")

    async def _each(self, deliveries: Sequence[Delivery], act: Callable[[Delivery], Awaitable[None]]) -> None:
        self._check_open()
        failed: dict[int, LevelerError] = {}
        for place, delivery in enumerate(deliveries):
            try:
                self._check_held(delivery)
                await act(delivery)
                self._held.pop(delivery.receipt[0], None)
            except LevelerError as error:
                failed[place] = error
        if failed:
            raise BatchError(failed)

    def _check_held(self, delivery: Delivery) -> None:
        if delivery.receipt[0] not in self._held or self._clock.monotonic() >= delivery.leased_until:
            raise LeaseLost(f"{delivery}: its lease is over")

    def _live(self) -> dict[str, Delivery]:
        now = self._clock.monotonic()
        self._held = {name: one for name, one in self._held.items() if one.leased_until > now}
        return self._held

    def _check_open(self) -> None:
        if self._closed:
            raise ReceiverLost(f"the receiver of {self._queue.dead_name} is closed: make a new one")


def _next_name(name: str) -> str:
    """After ``x-4`` comes ``x-5``; after a name that is none of ours, its first successor."""
    match = re.fullmatch(r"(.*/[^/]+)-(\d{1,9})", name)
    return f"{name}-1" if match is None else f"{match[1]}-{int(match[2]) + 1}"


def held(letter: Any, clock: Clock) -> bool:
    """Whether somebody holds this dead letter now."""
    try:
        return float(letter.http_request.headers.get(HELD_UNTIL, "0")) > clock.now().timestamp()
    except ValueError:
        return False
