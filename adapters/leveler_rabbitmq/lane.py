"""Lane: one channel of ours. Questions and their answers, what is delivered, and its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from struct import Struct
from typing import Any, Final, TypeVar

import pamqp.frame
from pamqp import base, commands

from leveler_rabbitmq import frames
from leveler_rabbitmq.errors import ChannelClosed
from leveler_rabbitmq.frames import BODY, HEAD, HEADER, LONG_LONG, METHOD, METHOD_ID
from leveler_rabbitmq.wire import Wire

Answer = TypeVar("Answer", bound=base.Frame)

_BODY_SIZE: Final = Struct(">Q")


class LaneLost(Exception):
    """The channel is gone with its connection, or was closed by us."""


class Lane:
    """
    Args:
        wire: of an open connection.
        number: of the channel; nobody else has it.
    """

    def __init__(self, wire: Wire, number: int) -> None:
        self.wire = wire
        self.number = number
        #: Why it is over; None while it is not. A `ChannelClosed` or a `LaneLost`.
        self.lost: Exception | None = None
        self._answers: list[tuple[type[base.Frame], asyncio.Future[Any]]] = []
        #: The method whose content comes next, what it says, and as far as the content has come.
        self._method = 0
        self._said: tuple[Any, ...] = ()
        self._properties = b""
        self._missing = 0
        self._body: list[bytes] = []
        wire.lanes[number] = self

    async def open(self) -> None:
        await self.ask(commands.Channel.Open(), commands.Channel.OpenOk)

    async def ask(self, question: base.Frame, expected: type[Answer]) -> Answer:
        """The broker's answer.

        Questions of one lane need not wait for one another: their answers are told apart by what they answer. (They
        come in the order of the questions, but for those that a quorum queue has a part in.)

        Raises:
            ChannelClosed: it is refused, and the lane is over.
            LaneLost: the lane is over already.
        """
        if self.lost is not None:
            raise self.lost
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers.append((expected, answer))
        self.wire.write(pamqp.frame.marshal(question, self.number))
        return await answer

    async def close(self) -> None:
        """Close the channel. What was written before is done when this returns."""
        if self.lost is None:
            with suppress(ChannelClosed, LaneLost):
                await self.ask(_close(), commands.Channel.CloseOk)

    def abandon(self, why: str) -> None:
        """Close the channel and wait for nothing: it is over here and now."""
        if self.lost is None:
            self.wire.write(pamqp.frame.marshal(_close(), self.number))
            self._end(LaneLost(why))

    def take(self, kind: int, data: bytes, start: int, end: int) -> None:
        """Of `FrameTaker`."""
        if kind == METHOD:
            method = METHOD_ID.unpack_from(data, start)[0]
            if method == frames.DELIVER:
                after = start + 5 + data[start + 4]
                self._method = method
                self._said = (data[start + 5 : after], LONG_LONG.unpack_from(data, after)[0])
            elif method in (frames.ACK, frames.NACK):
                self.confirmed(
                    LONG_LONG.unpack_from(data, start + 4)[0], bool(data[start + 12] & 1), method == frames.ACK
                )
            else:
                self._answered(data, start, end, method)
        elif kind == HEADER:
            self._properties = data[start + 12 : end]
            self._missing = _BODY_SIZE.unpack_from(data, start + 4)[0]
            if not self._missing:
                self._arrived(b"")
        elif kind == BODY:
            self._missing -= end - start
            if self._missing > 0:
                self._body.append(data[start:end])
            elif self._body:
                self._body.append(data[start:end])
                body = b"".join(self._body)
                self._body.clear()
                self._arrived(body)
            else:
                self._arrived(data[start:end])

    def connection_lost(self, why: str) -> None:
        """Of `FrameTaker`."""
        self._end(LaneLost(why))

    # -- what a lane of a certain kind does about it

    def delivered(self, consumer: bytes, tag: int, properties: bytes, body: bytes) -> None:
        """A message for one of our consumers, or for no consumer: it was asked for."""

    def found_empty(self) -> None:
        """One was asked for, and there is none."""

    def returned(self, queue: str, properties: bytes) -> None:
        """A message of ours found no queue."""

    def confirmed(self, tag: int, multiple: bool, accepted: bool) -> None:
        """The broker has taken a message of ours, or refused it."""

    def cancelled(self) -> None:
        """The broker has ended a consumer of ours."""

    def ended(self, why: Exception) -> None:
        """The lane is over."""

    def _arrived(self, body: bytes) -> None:
        if self.lost is not None:
            return
        if self._method == frames.DELIVER:
            consumer, tag = self._said
            self.delivered(consumer, tag, self._properties, body)
        elif self._method == frames.RETURN:
            self.returned(self._said[0], self._properties)

    def _answered(self, data: bytes, start: int, end: int, method: int) -> None:
        raw = HEAD.pack(METHOD, self.number, end - start) + data[start:end] + frames.END
        found = pamqp.frame.unmarshal(raw)[2]
        if isinstance(found, commands.Basic.Return):
            self._method, self._said = method, (found.routing_key or "",)
        elif isinstance(found, commands.Basic.GetOk):
            self._method, self._said = frames.DELIVER, (b"", found.delivery_tag)
        elif isinstance(found, commands.Basic.GetEmpty):
            self.found_empty()
        elif isinstance(found, commands.Channel.Close):
            self.wire.write(pamqp.frame.marshal(commands.Channel.CloseOk(), self.number))
            self._free()
            self._end(ChannelClosed(found.reply_code or 0, found.reply_text or ""))
        elif isinstance(found, commands.Basic.Cancel):
            self.cancelled()
        else:
            self._resolve(found)
        if isinstance(found, commands.Channel.CloseOk):
            self._free()
            self._end(LaneLost("it was closed"))

    def _resolve(self, found: object) -> None:
        """Whoever has waited longest for such an answer has it."""
        for place, (expected, answer) in enumerate(self._answers):
            if isinstance(found, expected):
                del self._answers[place]
                if not answer.done():
                    answer.set_result(found)
                return

    def _free(self) -> None:
        """The number may be somebody else's."""
        if self.wire.lanes.get(self.number) is self:
            del self.wire.lanes[self.number]

    def _end(self, why: Exception) -> None:
        if self.lost is not None:
            return
        self.lost = why
        answers, self._answers = self._answers, []
        for _, answer in answers:
            if not answer.done():
                answer.set_exception(why)
        self.ended(why)


def _close() -> commands.Channel.Close:
    return commands.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
