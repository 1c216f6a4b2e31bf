"""Incoming: a link on which clients send, to an entity or to a node that answers requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from leveler_servicebus.emulator.amqp.message import BATCH_FORMAT, parse, split_batch
from leveler_servicebus.emulator.amqp.performatives import Attach, Flow, Transfer
from leveler_servicebus.emulator.amqp.values import DecodeError, Encoded, UInt
from leveler_servicebus.emulator.entity.queue import Queue
from leveler_servicebus.emulator.entity.refusal import DECODE_ERROR, DISABLED, TOO_LARGE, Refused
from leveler_servicebus.emulator.links import Link, whole
from leveler_servicebus.emulator.terminus import ACCEPTED, rejected

if TYPE_CHECKING:
    from leveler_servicebus.emulator.session import SessionEnd

#: Messages that a client may send before it hears from us, and when it hears.
CREDIT: Final = 1000

#: More is not collected, whatever becomes of it: the largest message that any queue may allow.
MOST_BYTES: Final = 101 * 1024 * 1024


class Incoming(Link):
    """A link that takes messages, and says for each what became of it.

    Args:
        session: which.
        attach: what the client wanted.
        accept: takes a message (its format, its bytes); raises `Refused` or `DecodeError` if it will not.
    """

    def __init__(self, session: SessionEnd, attach: Attach, accept: Callable[[int, bytes], None]) -> None:
        super().__init__(session, attach)
        self._accept = accept
        self._count: int = attach.initial_delivery_count or 0
        self._credit = CREDIT
        self._parts: list[bytes] = []
        self._first: Transfer | None = None

    def grant(self) -> None:
        """Let the client send."""
        self._credit = CREDIT
        self.session.flow(
            handle=UInt(self.handle), delivery_count=UInt(self._count), link_credit=UInt(CREDIT), drain=False
        )

    def flow(self, flow: Flow | None) -> None:
        if flow is not None and flow.echo:
            self.grant()

    def transfer(self, transfer: Transfer, payload: bytes) -> None:
        self._first = self._first or transfer
        message = whole(self._parts, payload, transfer)
        if transfer.more:
            if sum(map(len, self._parts)) > MOST_BYTES:
                self.detach(TOO_LARGE, f"No message is larger than {MOST_BYTES} bytes.")
            return
        first, self._first = self._first, None
        self._count = (self._count + 1) & 0xFFFFFFFF
        self._credit -= 1
        if message is not None:
            self._answer(first, self._outcome(first.message_format or 0, message))
        if self._credit <= CREDIT // 2:
            self.grant()
        self.touched()

    def _answer(self, first: Transfer, outcome: Encoded) -> None:
        if not first.settled:
            self.session.settled(first.delivery_id, first.delivery_id, outcome, sender=False)

    def _outcome(self, message_format: int, message: bytes) -> Encoded:
        try:
            self._accept(message_format, message)
        except Refused as refused:
            return rejected(refused.condition, refused.description)
        except DecodeError as problem:
            return rejected(DECODE_ERROR, str(problem))
        return ACCEPTED


def sender_to(session: SessionEnd, queue: Queue) -> Callable[[int, bytes], None]:
    """Puts what a client sends into the queue."""
    service = session.service

    def accept(message_format: int, message: bytes) -> None:
        service.namespace.check_busy()
        if not queue.settings.accepts:
            raise Refused(DISABLED, f"The queue '{queue.name}' is disabled for sending.")
        most_bytes = queue.settings.max_message_bytes
        if len(message) > most_bytes:
            raise Refused(
                TOO_LARGE, f"The received message of {len(message)} bytes exceeds the limit ({most_bytes} bytes)."
            )
        messages = split_batch(message) if message_format == BATCH_FORMAT else [message]
        queue.send([parse(one) for one in messages], service.clock.now_ms())
        service.serve(queue)

    return accept
