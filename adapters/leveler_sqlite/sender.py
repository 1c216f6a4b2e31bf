"""SQLiteSender: sends to one queue."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from leveler.adapter import QueueSpec, Sender
from leveler.clock import Clock
from leveler.errors import BatchError, LevelerError, MessageTooLarge, QueueFull, SendUnknown
from leveler.message import Message
from leveler_sqlite.arrivals import arrive
from leveler_sqlite.bundles import Stretch
from leveler_sqlite.envelope import check_ids, encode, rest_of, size
from leveler_sqlite.job import Job
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

    def size(self, message: Message) -> int:
        return size(message)

    async def send(self, messages: Sequence[Message]) -> None:
        failed: dict[int, LevelerError] = {}
        refused: Sequence[int] = ()
        if stretches := self._stretches(messages, failed):
            refused = await self._writer.do(self._job(stretches))
        if refused or failed:
            places = [place for place in range(len(messages)) if place not in failed]
            raise BatchError(failed | {places[index]: self._full() for index in refused})

    def _job(self, stretches: Sequence[Stretch]) -> Job[Sequence[int]]:
        queue, now = self._queue, self._clock.now()
        return Job(
            lambda transaction: arrive(
                transaction,
                queue.name,
                stretches,
                sent_at=now,
                dedup_seconds=queue.dedup_seconds,
                max_depth=queue.max_depth,
            ),
            grows=True,
            doubt=SendUnknown,
        )

    def _stretches(self, messages: Sequence[Message], failed: dict[int, LevelerError]) -> list[Stretch]:
        """All but those that `failed` is told of."""
        found: list[Stretch] = []
        place = 0
        for _, group in groupby(messages, rest_of):
            alike = list(group)
            try:
                found.append(self._stretch(alike))
            except LevelerError:  # of which one?
                found += self._one_by_one(alike, place, failed)
            place += len(alike)
        return found

    def _one_by_one(self, messages: Sequence[Message], place: int, failed: dict[int, LevelerError]) -> list[Stretch]:
        found: list[Stretch] = []
        for index, message in enumerate(messages, place):
            try:
                found.append(self._stretch([message]))
            except LevelerError as error:
                failed[index] = error
        return found

    def _stretch(self, messages: Sequence[Message]) -> Stretch:
        sample = messages[0]
        envelope = encode(sample)
        if len(messages) > 1:
            check_ids(messages)
        # An envelope is longer than what counts of it: nearly every message is small enough without being measured.
        if max([len(message.id) + len(message.body) for message in messages]) + len(envelope) > self._most:
            for message in messages:
                self._check_size(message)
        return Stretch(messages, sample, envelope)

    def _check_size(self, message: Message) -> None:
        if (bytes_in_all := size(message)) > self._most:
            raise MessageTooLarge(
                f"message {message.id!r} has {bytes_in_all} bytes, headers included; this queue takes up to "
                f"{self._most} (max_message_bytes): send a reference to the data instead"
            )

    def _full(self) -> QueueFull:
        return QueueFull(
            f"queue {self._queue.name!r} is at its bound of {self._queue.max_depth} waiting messages: send again when "
            "there is room, or raise the bound"
        )
