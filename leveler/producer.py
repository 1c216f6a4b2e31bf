"""Producer: encode, stamp, check, send. `send` returns when the broker has accepted, or says why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any, Final, TypedDict

from leveler.adapter import Capabilities, Sender
from leveler.checks import check_headers, check_token, check_type
from leveler.clock import Clock
from leveler.codec import Encoder
from leveler.errors import (
    BatchError,
    BrokerError,
    BrokerUnavailable,
    InvalidMessage,
    LevelerError,
    MessageError,
    MessageTooLarge,
    SendUnknown,
)
from leveler.events import MessageSent, Observers
from leveler.message import DEFAULT_PRIORITY, MAX_PRIORITY, Message, new_ids
from leveler.outcome import seconds
from leveler.patience import Unanswered, answer
from leveler.pressure import Pressure
from leveler.together import Together

_NO_HEADERS: Final[Mapping[str, str]] = {}
#: All but the body takes less, headers included and everything escaped. Only a body that could reach the limit
#: together with so much is measured: to measure is to write the message out.
_ENVELOPE_BYTES: Final = 128 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class SendOptions:
    """How one message is to be sent. Durations are seconds or timedeltas."""

    #: Messages of one key are handled in order where the queue is ordered.
    key: str | None = None
    #: Not to be handled before so long from now; the broker keeps the time.
    delay: float | timedelta | None = None
    #: Worthless after so long: dead-lettered as ``expired``.
    expires_in: float | timedelta | None = None
    #: 0 to 9, higher first, where the broker has priorities.
    priority: int = DEFAULT_PRIORITY
    #: Lower-case names, text values.
    headers: Mapping[str, str] | None = None
    #: Give one to make a repeated send recognisable; otherwise a new one is made.
    id: str | None = None
    #: Message type; by default the class name of the value.
    type: str | None = None
    #: W3C trace context.
    traceparent: str | None = None
    #: How long to wait for room while the queue is full; 0 = raise `QueueFull` at once; None = as its settings say.
    block: float | timedelta | None = None

    @property
    def block_seconds(self) -> float | None:
        return None if self.block is None else seconds(self.block)


class SendWords(TypedDict, total=False):
    """`SendOptions` as keyword arguments."""

    key: str | None
    delay: float | timedelta | None
    expires_in: float | timedelta | None
    priority: int
    headers: Mapping[str, str] | None
    id: str | None
    type: str | None
    traceparent: str | None
    block: float | timedelta | None


class Producer:
    """Sends to one queue.

    Args:
        queue: its name.
        sender: the adapter's.
        can: what the broker takes.
        clock: time.
        observers: told of what was accepted.
        source: who we are, a URI reference.
        timeout_seconds: a send takes no longer once there is room, whatever the broker does.
        pressure: waits for room where the queue is full; None = nobody does.
    """

    def __init__(
        self,
        queue: str,
        sender: Sender,
        can: Capabilities,
        clock: Clock,
        observers: Observers,
        *,
        source: str,
        timeout_seconds: float,
        pressure: Pressure | None = None,
    ) -> None:
        #: Messages that the broker has accepted.
        self.sent = 0
        self._queue = queue
        self._sender = sender
        self._can = can
        self._clock = clock
        self._observers = observers
        self._source = source
        self._timeout_seconds = timeout_seconds
        self._pressure = pressure
        self._encode = Encoder()
        self._together = Together(self._deliver)
        # A body that is not text takes a third more in a JSON document.
        self._surely_small_bytes = (can.max_message_bytes - _ENVELOPE_BYTES) * 3 // 4

    def message(self, value: Any, options: SendOptions) -> Message:
        """The message that `send` would send for `value`, checked.

        Raises:
            EncodeError: the value cannot become bytes.
            InvalidMessage: an attribute or a header breaks the rules.
            MessageTooLarge: the broker would not take it; names both sizes.
        """
        return self.messages((value,), options)[0]

    def messages(self, values: Sequence[Any], options: SendOptions) -> list[Message]:
        """The same for many: what they have in common is checked once."""
        now = self._clock.now()
        not_before = None if options.delay is None else _after(now, "delay", options.delay)
        expires_at = None if options.expires_in is None else _after(now, "expires_in", options.expires_in)
        if not 0 <= options.priority <= MAX_PRIORITY:
            raise InvalidMessage(f"priority is {options.priority}: expected 0 to {MAX_PRIORITY}, higher first")
        type_name = None if options.type is None else check_type(options.type)
        key = None if options.key is None else check_token("key", options.key)
        headers = check_headers(options.headers) if options.headers else _NO_HEADERS
        traceparent = None if options.traceparent is None else check_token("traceparent", options.traceparent)
        ids = new_ids(len(values)) if options.id is None else repeat(check_token("message id", options.id))
        encode, source, priority = self._encode, self._source, options.priority
        messages: list[Message] = []
        for value, id_ in zip(values, ids, strict=False):
            encoded = encode(value)
            message = Message(
                id=id_,
                body=encoded.body,
                type=encoded.type if type_name is None else type_name,
                source=source,
                time=now,
                content_type=encoded.content_type,
                key=key,
                headers=headers,
                priority=priority,
                not_before=not_before,
                ready_at=not_before,
                expires_at=expires_at,
                traceparent=traceparent,
            )
            if len(encoded.body) > self._surely_small_bytes:
                self._check_size(message)
            messages.append(message)
        return messages

    async def send(self, messages: Sequence[Message], block_seconds: float | None = None) -> None:
        """Return when the broker has accepted all of `messages`.

        Args:
            messages: in order.
            block_seconds: how long to wait for room; None = as the queue's settings say.

        Raises:
            SendUnknown: it may or may not be queued: send it again with the same id.
            QueueFull, BrokerUnavailable: it is not queued.
            BatchError: of several messages, some were not accepted; the others were.
        """
        if len(messages) > 1 and messages[0].id == messages[1].id:
            raise InvalidMessage(f"several messages have the id {messages[0].id!r}: send each with an id of its own")
        pressure = self._pressure
        if pressure is not None and (pressure.is_expected or block_seconds):
            failed = await pressure.send(messages, block_seconds, self._deliver)
        else:
            failed = await self._deliver(messages)
        if failed:
            raise failed[0] if len(messages) == 1 else BatchError(failed)

    async def send_one(self, message: Message, block_seconds: float | None = None) -> None:
        """`send` for one message. Those of one turn of the event loop go to the broker together."""
        pressure = self._pressure
        if pressure is None or not (pressure.is_expected or block_seconds):
            await self._together.send(message)
        elif failed := await pressure.send((message,), block_seconds, self._send_together):
            raise failed[0]

    async def _send_together(self, messages: Sequence[Message]) -> dict[int, LevelerError]:
        [message] = messages
        try:
            await self._together.send(message)
        except LevelerError as error:
            return {0: error}
        return {}

    async def _deliver(self, messages: Sequence[Message]) -> dict[int, LevelerError]:
        """Send `messages`, in as few calls as the broker allows; the error of each one that was not accepted."""
        failed: dict[int, LevelerError] = {}
        give_up_at = self._clock.monotonic() + self._timeout_seconds
        for start in range(0, len(messages), self._can.max_batch):
            batch = messages[start : start + self._can.max_batch]
            for index, error in (await self._accepted(batch, give_up_at)).items():
                failed[start + index] = error
        self.sent += len(messages) - len(failed)
        if self._observers.present:
            for index, message in enumerate(messages):
                if index not in failed:
                    self._observers.tell(MessageSent(self._queue, message))
        return failed

    async def _accepted(self, batch: Sequence[Message], give_up_at: float) -> Mapping[int, LevelerError]:
        """Hand `batch` to the broker; the error of each one that it did not accept, as far as we know."""
        left = give_up_at - self._clock.monotonic()
        if left <= 0:
            late = BrokerUnavailable(f"send_timeout ({self._timeout_seconds:g} s) was over before this was sent")
            return dict.fromkeys(range(len(batch)), late)
        try:
            await answer(self._sender.send(batch), self._clock, left)
        except BatchError as error:
            return error.failed
        except Unanswered as error:
            unknown = SendUnknown(f"{error} (send_timeout is {self._timeout_seconds:g} s): send again with the same id")
            return dict.fromkeys(range(len(batch)), unknown)
        except (BrokerError, MessageError) as error:
            return dict.fromkeys(range(len(batch)), error)
        except Exception as error:  # a bug in the adapter: what it had done by then is done
            unknown = SendUnknown(f"the adapter failed with {type(error).__name__}: {error}")
            unknown.__cause__ = error
            return dict.fromkeys(range(len(batch)), unknown)
        return {}

    def _check_size(self, message: Message) -> None:
        size = self._sender.size(message)
        if size > self._can.max_message_bytes:
            raise MessageTooLarge(
                f"a message of {size} bytes, headers included, is more than queue {self._queue!r} takes "
                f"({self._can.max_message_bytes}): send a reference to the data instead"
            )


def _after(now: datetime, what: str, duration: float | timedelta) -> datetime:
    if not isinstance(duration, int | float | timedelta):
        raise InvalidMessage(f"{what} is {duration!r}: expected seconds as a number, or a timedelta")
    try:
        return now + timedelta(seconds=seconds(duration))
    except (OverflowError, ValueError) as error:
        raise InvalidMessage(f"{what} is {duration}: no calendar goes that far") from error
