"""An attach: where the link leads, whether the client may, and what it is answered."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from leveler_servicebus.emulator.amqp.performatives import Attach
from leveler_servicebus.emulator.amqp.values import Symbol, UByte, UInt, ULong
from leveler_servicebus.emulator.cbs import answer_token
from leveler_servicebus.emulator.clock import ticks
from leveler_servicebus.emulator.entity.queue import Queue
from leveler_servicebus.emulator.entity.refusal import DISABLED, NOT_ALLOWED, NOT_IMPLEMENTED, UNAUTHORIZED, Refused
from leveler_servicebus.emulator.entity.sessions import Session
from leveler_servicebus.emulator.incoming import Incoming, sender_to
from leveler_servicebus.emulator.management import answer_request
from leveler_servicebus.emulator.outgoing import Answers, Outgoing
from leveler_servicebus.emulator.service import Waiting
from leveler_servicebus.emulator.signature import LISTEN, SEND
from leveler_servicebus.emulator.terminus import (
    CBS,
    LOCKED_UNTIL,
    MOST_BATCH_BYTES,
    OPERATION_TIMEOUT,
    SESSION_FILTER,
    Address,
    address,
    is_coordinator,
    source,
    target,
    wanted_session,
)

if TYPE_CHECKING:
    from leveler_servicebus.emulator.links import Link
    from leveler_servicebus.emulator.session import SessionEnd

#: How long the next free session is waited for, if the client does not say.
SESSION_WAIT_MS: Final = 65_000

#: Largest batch, where larger messages are allowed.
LARGEST_BATCH_BYTES: Final = 1024 * 1024

_SETTLED: Final = 1
_NODE_MESSAGE_BYTES: Final = 1024 * 1024


def attach(session: SessionEnd, wanted: Attach) -> None:
    """Attach the link that the client wants, or say why not."""
    try:
        if wanted.role:
            _attach_receiver(session, wanted)
        else:
            _attach_sender(session, wanted)
    except Refused as refused:
        refuse(session, wanted, refused)


def refuse(session: SessionEnd, wanted: Attach, refused: Refused) -> None:
    """As the standard wants it: an attach with nothing at our end, then a detach that says why."""
    session.send(_reply(wanted, source=None, target=None))
    session.detach(wanted.handle, refused.condition, refused.description)


# ---- the client sends


def _attach_sender(session: SessionEnd, wanted: Attach) -> None:
    if is_coordinator(wanted.target):
        raise Refused(NOT_IMPLEMENTED, "Transactions are not emulated.")
    at = Address.of(address(wanted.target))
    if at.entity == CBS:
        link = Incoming(session, wanted, partial(answer_token, session))
        _attached(session, link, wanted, max_bytes=_NODE_MESSAGE_BYTES)
        link.grant()
        return
    queue = session.service.namespace.find(at.entity)
    properties: dict[Symbol, Any] | None = None
    if at.management:
        _authorize(session, at.entity, SEND, LISTEN)
        link = Incoming(session, wanted, partial(answer_request, session, queue))
        max_bytes = _NODE_MESSAGE_BYTES
    else:
        _authorize(session, at.entity, SEND)
        if queue.dead is None:
            raise Refused(NOT_ALLOWED, f"Nothing can be sent to '{queue.name}': it keeps dead letters.")
        if not queue.settings.accepts:
            raise Refused(DISABLED, f"The queue '{queue.name}' is disabled for sending.")
        link = Incoming(session, wanted, sender_to(session, queue))
        link.entity = at.entity
        max_bytes = queue.settings.max_message_bytes
        properties = {MOST_BATCH_BYTES: ULong(min(max_bytes, LARGEST_BATCH_BYTES))}
    _attached(session, link, wanted, max_bytes=max_bytes, properties=properties)
    link.grant()


# ---- the client receives


def _attach_receiver(session: SessionEnd, wanted: Attach) -> None:
    at = Address.of(address(wanted.source))
    if at.entity == CBS or at.management:
        if at.management:
            session.service.namespace.find(at.entity)
            _authorize(session, at.entity, SEND, LISTEN)
        _attached(session, Answers(session, wanted, at.entity, address(wanted.target)), wanted)
        return
    queue = session.service.namespace.find(at.entity)
    _authorize(session, at.entity, LISTEN)
    if not queue.settings.delivers:
        raise Refused(DISABLED, f"The queue '{queue.name}' is disabled for receiving.")
    by_session, session_id = wanted_session(wanted.source)
    if by_session != queue.has_sessions:
        raise Refused(NOT_ALLOWED, _sessions_hint(queue))
    if by_session:
        _attach_when_free(session, wanted, queue, session_id)
    else:
        _attach_outgoing(session, wanted, queue)


def _attach_outgoing(session: SessionEnd, wanted: Attach, queue: Queue, locked: Session | None = None) -> Outgoing:
    link = Outgoing(session, wanted, queue, locked=locked, away=wanted.snd_settle_mode == _SETTLED)
    link.entity = queue.name.lower()
    if locked is not None:
        locked.owner = link
    filters = None if locked is None else {SESSION_FILTER: locked.session_id}
    properties = None if locked is None else {LOCKED_UNTIL: ticks(locked.locked_until_ms)}
    node = source(address(wanted.source), filters)
    _attached(session, link, wanted, source=node, properties=properties)
    return link


def _attach_when_free(session: SessionEnd, wanted: Attach, queue: Queue, session_id: str | None) -> None:
    """The answer waits until there is a session; one that is asked for by name is there or it is not."""
    service = session.service

    def attempt() -> bool:
        if session.wanted.get(wanted.handle) is not wanted:
            return True
        try:
            locked = queue.accept_session(session_id, wanted, service.clock.now_ms())
        except Refused as refused:
            fail(refused)
            return True
        if locked is not None:
            del session.wanted[wanted.handle]
            _attach_outgoing(session, wanted, queue, locked)
        return locked is not None

    def fail(refused: Refused) -> None:
        if session.wanted.pop(wanted.handle, None) is wanted:
            refuse(session, wanted, refused)

    session.wanted[wanted.handle] = wanted
    said = (wanted.properties or {}).get(OPERATION_TIMEOUT)
    wait_ms = SESSION_WAIT_MS if said is None else int(said)
    service.wait(queue, Waiting(attempt, fail, service.clock.now_ms() + wait_ms))


def _sessions_hint(queue: Queue) -> str:
    if queue.has_sessions:
        return f"The queue '{queue.name}' requires sessions: receive with a session id, or the next available session."
    return f"A sessionful message receiver cannot be created on '{queue.name}', which does not require sessions."


# ---- both


def _authorize(session: SessionEnd, path: str, *rights: str) -> None:
    if not any(session.connection.may(right, path) for right in rights):
        raise Refused(
            UNAUTHORIZED,
            f"Unauthorized access. '{' or '.join(right.capitalize() for right in rights)}' claim(s) are required to "
            f"perform this operation on '{path}'.",
        )


def _attached(session: SessionEnd, link: Link, wanted: Attach, max_bytes: int = 0, **reply: Any) -> None:
    session.links[wanted.handle] = link
    ends = {"source": source(address(wanted.source)), "target": target(address(wanted.target)), **reply}
    session.send(_reply(wanted, max_bytes=max_bytes, **ends))


def _reply(wanted: Attach, *, source: Any, target: Any, max_bytes: int = 0, properties: Any = None) -> Attach:
    return Attach(
        name=wanted.name,
        handle=UInt(wanted.handle),
        role=not wanted.role,
        snd_settle_mode=UByte(2 if wanted.snd_settle_mode is None else wanted.snd_settle_mode),
        rcv_settle_mode=UByte(wanted.rcv_settle_mode or 0),
        source=source,
        target=target,
        initial_delivery_count=UInt(0) if wanted.role else None,
        max_message_size=ULong(max_bytes) if max_bytes else None,
        properties=None if properties is None else {Symbol(key): value for key, value in properties.items()},
    )
