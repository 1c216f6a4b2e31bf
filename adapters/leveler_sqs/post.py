"""Post: messages on their way to one queue, in as few requests as SQS allows."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from leveler.checks import is_token
from leveler.clock import Clock
from leveler.errors import BrokerUnavailable, LevelerError, MessageTooLarge, QueueNotFound, SendUnknown
from leveler.message import Message
from leveler_sqs import policy
from leveler_sqs.calls import Calls
from leveler_sqs.envelope import seal_within
from leveler_sqs.errors import TooLong, Unanswered, of_entry
from leveler_sqs.queues import Queues

#: What one request takes.
MOST_ITEMS: Final = 10
_MOST_BYTES: Final = policy.MOST_BYTES
#: Requests of one batch under way at once: more of them only wait for each other.
_AT_ONCE: Final = 10

Failures = dict[int, LevelerError]


class Letter(NamedTuple):
    """A message ready to go, and its place among those that were given."""

    place: int
    message: Message
    entry: dict[str, Any]
    size: int


class Post:
    """
    Args:
        name: of the queue, as SQS knows it.
        calls: to SQS.
        queues: know where it is.
        clock: for delays.
        fifo: whether order and duplicates matter there. Delays are then those of the whole queue.
        most_bytes: largest message.
    """

    def __init__(
        self, name: str, calls: Calls, queues: Queues, clock: Clock, *, fifo: bool, most_bytes: Callable[[], int]
    ) -> None:
        self._name = name
        self._calls = calls
        self._queues = queues
        self._clock = clock
        self._fifo = fifo
        self._most_bytes = most_bytes
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def send(self, messages: Mapping[int, Message]) -> Failures:
        """Send `messages`; the error of each one that was not accepted, by its key."""
        failed: Failures = {}
        letters = list(self._letters(messages, failed))
        if letters:
            carry = self._in_turn if self._fifo else self._at_once
            failed |= await carry(list(portions(letters)), self._clock.monotonic() + self._calls.deadline_seconds)
        return failed

    def _letters(self, messages: Mapping[int, Message], failed: Failures) -> Iterator[Letter]:
        now, most = self._clock.now(), self._most_bytes()
        for place, message in messages.items():
            try:
                text, size = seal_within(message, most)
            except LevelerError as error:
                failed[place] = error
                continue
            if size > most:
                failed[place] = _too_large(message, size, most)
                continue
            entry: dict[str, Any] = {"MessageBody": text}
            if self._fifo:
                entry["MessageGroupId"] = _group(message)
                entry["MessageDeduplicationId"] = message.dedup_key
            elif message.not_before is not None:
                delay = math.ceil(message.delay_seconds(now))
                entry["DelaySeconds"] = min(delay, policy.LONGEST_DELAY_SECONDS)
            yield Letter(place, message, entry, size)

    async def _at_once(self, batches: Sequence[Sequence[Letter]], due: float) -> Failures:
        answers = await asyncio.gather(*(self._when_there_is_room(batch, due) for batch in batches))
        return {place: error for failed in answers for place, error in failed.items()}

    async def _when_there_is_room(self, batch: Sequence[Letter], due: float) -> Failures:
        async with self._turn:
            return await self._send(batch, due)

    async def _in_turn(self, batches: Sequence[Sequence[Letter]], due: float) -> Failures:
        """One after another; after one that failed nothing of its key goes, or it would overtake."""
        failed: Failures = {}
        broken: set[str] = set()
        for batch in batches:
            held = [letter for letter in batch if letter.message.key in broken]
            failed |= {letter.place: _overtaking(letter.message) for letter in held}
            rest = [letter for letter in batch if letter.message.key not in broken]
            answer = await self._send(rest, due) if rest else {}
            failed |= answer
            broken |= {letter.message.key for letter in rest if letter.place in answer and letter.message.key}
        return failed

    async def _send(self, batch: Sequence[Letter], due: float) -> Failures:
        """One request; several where SQS takes less at once than it says."""
        doing = f"send to queue {self._name!r}"
        if (left := due - self._clock.monotonic()) <= 0:
            late = BrokerUnavailable(f"{self._calls.place}: {doing}: the deadline was over before this was sent")
            return {letter.place: late for letter in batch}
        entries = [{"Id": str(index), **letter.entry} for index, letter in enumerate(batch)]
        try:
            url = await self._queues.url(self._name)
            answer = await self._calls.ask("send_message_batch", doing, within=left, QueueUrl=url, Entries=entries)
        except TooLong as error:
            if len(batch) == 1:
                return {batch[0].place: MessageTooLarge(str(error))}
            half = len(batch) // 2
            return await self._send(batch[:half], due) | await self._send(batch[half:], due)
        except LevelerError as error:
            if isinstance(error, QueueNotFound):
                self._queues.forget(self._name)
            return {letter.place: _of_sending(error) for letter in batch}
        return {
            batch[int(one["Id"])].place: _of_sending(of_entry(one, self._calls.place, doing))
            for one in answer.get("Failed", ())
        }


def portions(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    """In order, as many as go into one request."""
    portion: list[Letter] = []
    total = 0
    for letter in letters:
        if portion and (len(portion) == MOST_ITEMS or total + letter.size > _MOST_BYTES):
            yield portion
            portion, total = [], 0
        portion.append(letter)
        total += letter.size
    if portion:
        yield portion


def _of_sending(error: LevelerError) -> LevelerError:
    if isinstance(error, Unanswered):
        unknown = SendUnknown(f"{error}; the message may or may not be queued: send it again with the same id")
        unknown.__cause__ = error
        return unknown
    return error


def _overtaking(message: Message) -> BrokerUnavailable:
    return BrokerUnavailable(
        f"message {message.id!r}: one before it with the key {message.key!r} was not accepted, so that it was not sent"
    )


def _group(message: Message) -> str:
    """Its key; in place of one that a foreign sender has made up and SQS does not take, always the same other one."""
    key = message.key or message.id
    return key if is_token(key) else hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def _too_large(message: Message, size: int, most: int) -> MessageTooLarge:
    return MessageTooLarge(
        f"message {message.id!r} has {size} bytes as SQS counts them, headers included; this queue takes up to {most}: "
        "send a reference to the data instead"
    )
