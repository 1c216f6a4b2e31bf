"""Sending: lines become messages, and what becomes of each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from leveler.cli.complaint import complain
from leveler.cli.lines import Line
from leveler.errors import BatchError, InvalidMessage, LevelerError, MessageError
from leveler.message import Message
from leveler.producer import Producer, SendOptions


@dataclass(frozen=True)
class Reading:
    """How a line becomes a message."""

    #: Of all messages; None = the name of each value's own.
    type: str | None
    #: Where each message's key stands.
    key_field: str | None
    #: Of `SendOptions`, the same for all.
    words: Mapping[str, Any]
    #: How long to wait for room; None = as the queue's settings say.
    block_seconds: float | None = None

    def message(self, line: bytes, producer: Producer) -> Message:
        """
        Raises:
            MessageError: the line is not JSON, has no key, or is no message that this queue takes.
        """
        value = _json(line)
        words = dict(self.words, type=type(value).__name__ if self.type is None else self.type)
        if self.key_field is not None:
            words["key"] = _key(value, self.key_field)
        return producer.message(msgspec.Raw(line), SendOptions(**words))


@dataclass
class Sending:
    """What became of the lines.

    Args:
        queue: where they go.
        stop: at the first line that is wrong.
    """

    queue: str
    stop: bool
    sent: int = 0
    #: What is wrong with each wrong line, by its number.
    wrong: dict[int, str] = field(default_factory=dict[int, str])
    #: Why the broker took no more.
    refused: LevelerError | None = None
    seconds: float = 0.0

    @property
    def ended(self) -> bool:
        return self.refused is not None or (self.stop and bool(self.wrong))

    async def send(self, lines: Sequence[Line], reading: Reading, producer: Producer) -> None:
        """Send what is right among `lines`: up to the first wrong one, if that is to stop us."""
        messages: dict[int, Message] = {}
        for line in lines:
            try:
                messages[line.number] = reading.message(line.text, producer)
            except MessageError as error:
                self._is_wrong(line.number, error)
                if self.stop:
                    break
        failed = await _failures(producer, list(messages.values()), reading.block_seconds)
        self.sent += len(messages) - len(failed)
        numbers = list(messages)
        for index, cause in sorted(failed.items()):
            self._failed(numbers[index], cause)

    def as_data(self) -> dict[str, Any]:
        return {
            "queue": self.queue,
            "sent": self.sent,
            "wrong": [{"line": number, "error": error} for number, error in self.wrong.items()],
            "error": None if self.refused is None else str(self.refused),
            "seconds": round(self.seconds, 3),
        }

    def as_text(self) -> str:
        wrong = f"; {len(self.wrong)} wrong" if self.wrong else ""
        pace = f" ({self.sent / self.seconds:,.0f}/s)" if self.seconds >= 0.5 else ""
        return f"{self.sent:,} sent to {self.queue} in {self.seconds:.1f} s{pace}{wrong}"

    def _failed(self, number: int, error: LevelerError) -> None:
        if isinstance(error, MessageError):
            self._is_wrong(number, error)
        elif self.refused is None:
            self.refused = error
            complain(f"line {number} was not sent: {error}")

    def _is_wrong(self, number: int, error: MessageError) -> None:
        self.wrong[number] = str(error)
        complain(f"line {number}: {error}")


async def _failures(
    producer: Producer, messages: Sequence[Message], block_seconds: float | None
) -> dict[int, LevelerError]:
    try:
        await producer.send(messages, block_seconds)
    except BatchError as error:
        return error.failed
    except LevelerError as error:  # a message that is sent alone fails with its own error
        return {0: error}
    return {}


def _json(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeError) as error:
        hint = "; each value stands on one line" if "truncated" in str(error) else ""
        raise InvalidMessage(f"not JSON: {error}{hint}") from None
    except RecursionError:
        raise InvalidMessage("nested deeper than its readers can follow") from None


def _key(value: Any, field: str) -> str:
    found = value.get(field) if isinstance(value, dict) else None
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise InvalidMessage(f"no key: its field {field!r} is missing, or neither text nor a whole number")
    return str(found)
