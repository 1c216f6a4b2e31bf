"""RedisSender: sends to one queue."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

from redis.exceptions import ResponseError

from leveler.adapter import QueueSpec, Sender
from leveler.clock import Clock
from leveler.errors import (
    BatchError,
    BrokerUnavailable,
    InvalidMessage,
    LevelerError,
    MessageTooLarge,
    QueueFull,
    QueueNotFound,
    SendUnknown,
)
from leveler.message import DEFAULT_PRIORITY, Message
from leveler_redis.command import Argument, pack
from leveler_redis.entry import fields_of, size
from leveler_redis.errors import translate
from leveler_redis.keys import Keys, lane_of
from leveler_redis.script import Scripts
from leveler_redis.session import Unanswered
from leveler_redis.wire import Wire

#: What one script call or one write takes, but for a single message that is larger.
_MOST_BYTES: Final = 4 * 1024 * 1024
_MOST_ITEMS: Final = 500


class RedisSender(Sender):
    """
    Args:
        queue: where to.
        keys: of the queue.
        wire: to the server.
        scripts: for what takes more than adding an entry.
        clock: for delays.
        max_message_bytes: largest message.
        server: for messages.
        restore: told that the queue is gone; whether it is there again.
    """

    def __init__(
        self,
        queue: QueueSpec,
        keys: Keys,
        wire: Wire,
        scripts: Scripts,
        clock: Clock,
        *,
        max_message_bytes: int,
        server: str,
        restore: Callable[[], Awaitable[bool]],
    ) -> None:
        self._queue = queue
        self._keys = keys
        self._wire = wire
        self._scripts = scripts
        self._clock = clock
        self._most = max_message_bytes
        self._server = server
        self._restore = restore
        self._is_plain = not queue.ordered and queue.dedup_seconds <= 0 and queue.max_depth is None
        self._add = (b"XADD", keys.base, b"NOMKSTREAM", b"*")

    def size(self, message: Message) -> int:
        return size(message)

    async def send(self, messages: Sequence[Message]) -> None:
        failed: dict[int, LevelerError] = {}
        due = self._wire.due()
        away: LevelerError | None = None
        send = self._send_plain if self._are_plain(messages) else self._send_by_script
        for portion in self._portions(messages, failed):
            try:
                if away is not None:
                    raise away
                failed |= await send(portion, due)
            except LevelerError as error:
                failed |= dict.fromkeys((place for place, _ in portion), _of_sending(error))
                if isinstance(error, BrokerUnavailable):  # the rest would only wait for it as well
                    away = BrokerUnavailable(str(error))
        if failed:
            raise BatchError(failed)

    def _are_plain(self, messages: Sequence[Message]) -> bool:
        """Whether they only have to be added, so that it takes no script to decide anything."""
        return self._is_plain and all(
            message.priority == DEFAULT_PRIORITY and message.not_before is None for message in messages
        )

    def _portions(
        self, messages: Sequence[Message], failed: dict[int, LevelerError]
    ) -> Iterator[list[tuple[int, Message]]]:
        """Messages with their places, in order, as many as go into one call; those that are too large are `failed`."""
        portion: list[tuple[int, Message]] = []
        total = 0
        for place, message in enumerate(messages):
            bytes_in_all = size(message)
            if bytes_in_all > self._most:
                failed[place] = self._too_large(message, bytes_in_all)
                continue
            if portion and (total + bytes_in_all > _MOST_BYTES or len(portion) >= _MOST_ITEMS):
                yield portion
                portion, total = [], 0
            total += bytes_in_all
            portion.append((place, message))
        if portion:
            yield portion

    async def _send_plain(self, portion: Sequence[tuple[int, Message]], due: float) -> dict[int, LevelerError]:
        """Entries that only have to be added."""
        failed: dict[int, LevelerError] = {}
        packed: list[bytes] = []
        places: list[int] = []
        for place, message in portion:
            try:
                packed.append(pack((*self._add, *fields_of(message))))
                places.append(place)
            except (UnicodeError, TypeError) as error:
                failed[place] = _invalid(message, error)
        answers = await self._wire.ask(packed, due) if packed else []
        absent = [at for at, answer in enumerate(answers) if answer is None]
        if absent and await self._restore():
            again = await self._wire.ask([packed[at] for at in absent], due)
            for at, answer in zip(absent, again, strict=True):
                answers[at] = answer
        for place, answer in zip(places, answers, strict=True):
            if answer is None:
                failed[place] = self._not_found()
            elif isinstance(answer, ResponseError):
                failed[place] = translate(answer, self._server)
        return failed

    async def _send_by_script(self, portion: Sequence[tuple[int, Message]], due: float) -> dict[int, LevelerError]:
        """Entries for which there is something to decide."""
        failed: dict[int, LevelerError] = {}
        queue, now = self._queue, self._clock.now()
        bound = -1 if queue.max_depth is None else queue.max_depth
        arguments: list[Argument] = [int(queue.dedup_seconds * 1000), bound]
        places: list[int] = []
        for place, message in portion:
            try:
                arguments += _arrival(message, now)
                places.append(place)
            except (UnicodeError, TypeError) as error:
                failed[place] = _invalid(message, error)
        if places:
            refused = await self._wire.run(self._scripts.send, self._keys.all, arguments, due)
            if refused is None and await self._restore():
                refused = await self._wire.run(self._scripts.send, self._keys.all, arguments, due)
            if refused is None:
                raise self._not_found()
            failed |= {places[index]: self._full() for index in refused}
        return failed

    def _not_found(self) -> QueueNotFound:
        return QueueNotFound(
            f"queue {self._queue.name!r} is not on {self._server}: declare it, or correct the name; nothing was queued"
        )

    def _full(self) -> QueueFull:
        return QueueFull(
            f"queue {self._queue.name!r} is at its bound of {self._queue.max_depth} waiting messages: send again when "
            "there is room, or raise the bound"
        )

    def _too_large(self, message: Message, bytes_in_all: int) -> MessageTooLarge:
        return MessageTooLarge(
            f"message {message.id!r} has {bytes_in_all} bytes, headers included; this queue takes up to {self._most} "
            "(max_message_bytes): send a reference to the data instead"
        )


def _arrival(message: Message, now: datetime) -> list[Argument]:
    delay = 0.0 if message.not_before is None else message.delay_seconds(now)
    fields = fields_of(message)
    for value in fields:
        if isinstance(value, str):
            value.encode()  # here, where one message fails alone
    delay_ms = math.ceil(delay * 1000)
    return [lane_of(message.priority), delay_ms, message.dedup_key, _line_key(message.key), len(fields), *fields]


def _line_key(key: str | None) -> str:
    """What stands for the key in its line, where a zero byte ends it."""
    if key is not None and "\0" in key:
        return hashlib.sha256(key.encode()).hexdigest()
    return key or ""


def _invalid(message: Message, error: Exception) -> InvalidMessage:
    return InvalidMessage(f"message {message.id!r}: an attribute cannot be stored: {error}")


def _of_sending(error: LevelerError) -> LevelerError:
    if isinstance(error, Unanswered):
        unknown = SendUnknown(f"{error}; the message may or may not be queued: send it again with the same id")
        unknown.__cause__ = error
        return unknown
    if isinstance(error, BrokerUnavailable):
        return BrokerUnavailable(str(error))
    return error
