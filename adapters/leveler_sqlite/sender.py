"""SQLiteSender: sends to one queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from leveler.adapter import QueueSpec, Sender
from leveler.clock import Clock
from leveler.errors import BatchError, LevelerError, MessageTooLarge, QueueFull, SendUnknown
from leveler.message import Message
from leveler_sqlite.arrivals import arrive
from leveler_sqlite.bundles import Arrival
from leveler_sqlite.envelope import encode, size
from leveler_sqlite.job import Job
from leveler_sqlite.sending import Sending
from leveler_sqlite.writer import Writer


class SQLiteSender(Sender):
    """
    Args:
        queue: where to.
        writer: of the file.
        clock: for delays.
        max_message_bytes: largest message.
    """

    def __init__(self, queue: QueueSpec, writer: Writer, clock: Clock, max_message_bytes: int) -> None:
        self._queue = queue
        self._writer = writer
        self._clock = clock
        self._most = max_message_bytes
        self._sending: Sending | None = None

    def size(self, message: Message) -> int:
        return size(message)

    async def send(self, messages: Sequence[Message]) -> None:
        failed: dict[int, LevelerError] = {}
        arrivals: list[Arrival] = []
        for place, message in enumerate(messages):
            try:
                arrivals.append((message, self._envelope(message)))
            except LevelerError as error:
                failed[place] = error
        refused: Sequence[int] = ()
        if arrivals:
            sending = self._join()
            try:
                refused = await sending.join(arrivals)
            except asyncio.CancelledError:
                sending.give_up()
                raise
        if refused or failed:
            places = [place for place in range(len(messages)) if place not in failed]
            raise BatchError(failed | {places[index]: self._full() for index in refused})

    def _join(self) -> Sending:
        """What others in this turn of the event loop have begun, or a new one."""
        if self._sending is None or not self._sending.open:
            self._sending = Sending(self._writer, self._job)
        return self._sending

    def _job(self, arrivals: Sequence[Arrival]) -> Job[Sequence[int]]:
        queue, now = self._queue, self._clock.now()
        return Job(
            lambda transaction: arrive(
                transaction,
                queue.name,
                arrivals,
                sent_at=now,
                dedup_seconds=queue.dedup_seconds,
                max_depth=queue.max_depth,
            ),
            grows=True,
            doubt=SendUnknown,
        )

    def _envelope(self, message: Message) -> bytes:
        envelope = encode(message)
        # It is longer than what counts of it: nearly every message is small enough without being measured.
        if len(envelope) + len(message.body) > self._most and (bytes_in_all := size(message)) > self._most:
            raise MessageTooLarge(
                f"message {message.id!r} has {bytes_in_all} bytes, headers included; this queue takes up to "
                f"{self._most} (max_message_bytes): send a reference to the data instead"
            )
        return envelope

    def _full(self) -> QueueFull:
        return QueueFull(
            f"queue {self._queue.name!r} is at its bound of {self._queue.max_depth} waiting messages: send again when "
            "there is room, or raise the bound"
        )
