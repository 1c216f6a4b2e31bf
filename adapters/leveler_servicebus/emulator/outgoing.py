"""Outgoing: links on which clients receive: messages of an entity, or answers to requests."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from leveler_servicebus.emulator.amqp.frames import amqp_frame
from leveler_servicebus.emulator.amqp.performatives import Attach, Flow, Transfer
from leveler_servicebus.emulator.amqp.values import Encoded, UInt
from leveler_servicebus.emulator.delivery import HEAD_BYTES, encode_delivery, transfer_frame
from leveler_servicebus.emulator.entity.queue import Queue
from leveler_servicebus.emulator.entity.sessions import Session
from leveler_servicebus.emulator.entity.stored import Stored
from leveler_servicebus.emulator.links import Link
from leveler_servicebus.emulator.settlement import settle

if TYPE_CHECKING:
    from leveler_servicebus.emulator.session import SessionEnd

#: The token of a message that nobody has to settle.
_NO_TOKEN = bytes(16)


class Credited(Link):
    """A link whose client says how many messages it takes."""

    def __init__(self, session: SessionEnd, attach: Attach) -> None:
        super().__init__(session, attach)
        self._count = 0
        self._credit = 0

    def flow(self, flow: Flow | None) -> None:
        if flow is not None:
            # Clients that take what has been drained for received may say less than they have got.
            self._credit = max(0, (flow.delivery_count or 0) + (flow.link_credit or 0) - self._count)
            self.touched()
        self.serve()
        if flow is not None and flow.drain:
            self._count += self._credit
            self._credit = 0
        if flow is not None and (flow.drain or flow.echo):
            self._report(drain=bool(flow.drain))

    def serve(self) -> None:
        """Send what there is, as far as the credit goes."""
        raise NotImplementedError

    def _spend(self) -> None:
        self._count += 1
        self._credit -= 1

    def _report(self, *, drain: bool) -> None:
        self.session.flow(
            handle=UInt(self.handle),
            delivery_count=UInt(self._count),
            link_credit=UInt(self._credit),
            available=UInt(0),
            drain=drain,
        )


class Outgoing(Credited):
    """A link that takes messages of a queue for a client.

    Args:
        session: which.
        attach: what the client wanted.
        queue: where the messages come from.
        locked: the session of the queue that this link has locked, if it requires sessions.
        away: whether a message is gone once it is sent.
    """

    def __init__(
        self, session: SessionEnd, attach: Attach, queue: Queue, *, locked: Session | None = None, away: bool = False
    ) -> None:
        super().__init__(session, attach)
        self.queue = queue
        self.locked = locked
        self._away = away
        self._service = session.service
        self._service.join(queue, self)

    def serve(self) -> None:
        self._service.serve(self.queue)

    def room(self) -> int:
        """How many messages it can take now."""
        return min(self._credit, self.session.window) if self.session.connection.takes_more() else 0

    def deliver(self, limit: int) -> int:
        """Send up to `limit` messages; how many there were."""
        if self.session_lost():
            return 0
        take = self.queue.take_away if self._away else self.queue.take
        messages = take(limit, self._service.clock.now_ms(), self.locked)
        for message in messages:
            self._send(message)
        if messages:
            self.touched()
        return len(messages)

    def settle(self, token: bytes, state: Any) -> Encoded:
        """Do what the client says about a delivery; what is answered."""
        self.touched()
        owner = self if self.locked is not None else None
        answer = settle(self.queue, token, state, self._service.clock.now_ms(), owner)
        self._service.serve(self.queue)
        return answer

    def session_lost(self) -> bool:
        """Whether its session has been taken away from it."""
        return self.locked is not None and self.locked.owner is not self

    def end(self, *, orderly: bool) -> None:
        """Locks outlive the link. So does that of a session whose client is gone without a word."""
        self._service.leave(self.queue, self)
        if orderly and self.locked is not None and self.locked.owner is self:
            self.queue.end_session(self.locked, counted=False)
            self._service.serve(self.queue)

    def _send(self, message: Stored) -> None:
        tag = message.token or _NO_TOKEN
        frame = partial(_frame, self.handle, tag, self._away)
        delivery_id = self.session.deliver(encode_delivery(message), frame, HEAD_BYTES)
        self._spend()
        if not self._away:
            self.session.unsettled[delivery_id] = (self, message.token)


class Answers(Credited):
    """A link on which a client gets the answers to its requests.

    Args:
        session: which.
        attach: what the client wanted.
        node: what it asks.
        reply_to: as its requests name this link.
    """

    def __init__(self, session: SessionEnd, attach: Attach, node: str, reply_to: str) -> None:
        super().__init__(session, attach)
        self.node = node
        self.reply_to = reply_to
        self._pending: deque[bytes] = deque()

    def answer(self, message: bytes) -> None:
        self._pending.append(message)
        self.serve()

    def serve(self) -> None:
        while self._pending and self._credit > 0 and self.session.window > 0:
            message = self._pending.popleft()
            self.session.deliver(message, partial(_answer_frame, self.handle), 64)
            self._spend()


def _frame(handle: int, tag: bytes, settled: bool, channel: int, delivery_id: int, part: bytes, more: bool) -> bytes:
    return transfer_frame(channel, handle, delivery_id, tag, part, settled=settled, more=more)


def _answer_frame(handle: int, channel: int, delivery_id: int, part: bytes, more: bool) -> bytes:
    tag = delivery_id.to_bytes(4, "big")
    return amqp_frame(channel, Transfer(UInt(handle), UInt(delivery_id), tag, UInt(0), True, more), part)
