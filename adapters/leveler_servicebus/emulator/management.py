"""`<queue>/$management`: what is asked about messages rather than done with them on a link."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from leveler_servicebus.emulator.amqp.message import parse
from leveler_servicebus.emulator.amqp.values import Array, DecodeError, Int, Symbol, Timestamp
from leveler_servicebus.emulator.delivery import encode_delivery, token_uuid, uuid_token
from leveler_servicebus.emulator.entity.queue import Queue
from leveler_servicebus.emulator.entity.refusal import (
    ARGUMENT_ERROR,
    MESSAGE_LOCK_LOST,
    MESSAGE_NOT_FOUND,
    NOT_FOUND,
    NOT_IMPLEMENTED,
    SERVER_BUSY,
    SESSION_LOCK_LOST,
    UNAUTHORIZED,
    Refused,
)
from leveler_servicebus.emulator.entity.sessions import lost
from leveler_servicebus.emulator.request import Request, answer
from leveler_servicebus.emulator.signature import LISTEN, SEND, path_of

if TYPE_CHECKING:
    from leveler_servicebus.emulator.session import SessionEnd

_STATUS: Final[Mapping[str, int]] = {
    NOT_FOUND: 404,
    MESSAGE_NOT_FOUND: 404,
    MESSAGE_LOCK_LOST: 410,
    SESSION_LOCK_LOST: 410,
    SERVER_BUSY: 503,
    UNAUTHORIZED: 401,
    NOT_IMPLEMENTED: 501,
}
_MOST_PEEKED_BYTES: Final = 256 * 1024
_DELETE_ON_RECEIVE: Final = 0

#: .NET's last moment: whoever names it asks for sessions whenever their state was set.
_END_OF_TIME_MS: Final = 253_402_300_800_000


class Asked(NamedTuple):
    """A request, and where it came from."""

    session: SessionEnd
    queue: Queue
    body: dict[Any, Any]
    now_ms: int

    def argument(self, name: str) -> Any:
        """Raises `Refused` if the client has not said it."""
        if name not in self.body:
            raise Refused(ARGUMENT_ERROR, f"The request lacks '{name}'.")
        return self.body[name]


def answer_request(session: SessionEnd, queue: Queue, message_format: int, message: bytes) -> None:
    """Do what is asked, and answer. Raises `DecodeError` if the message is no request."""
    request = Request.of(message)
    said, body = _respond(session, queue, request)
    answer(session, path_of(queue.name), request, said, body)
    session.service.serve(queue)


def _respond(session: SessionEnd, queue: Queue, request: Request) -> tuple[dict[str, Any], Any]:
    operation = str(request.said.get("operation", "")).removeprefix("com.microsoft:")
    body = request.body if isinstance(request.body, dict) else {}
    try:
        right, act = _OPERATIONS.get(operation, (LISTEN, _unknown))
        if not session.connection.may(right, path_of(queue.name)):
            raise Refused(UNAUTHORIZED, f"'{right.capitalize()}' claim is required on '{queue.name}'.")
        session.service.namespace.check_busy()
        result = act(Asked(session, queue, body, session.service.clock.now_ms()))
    except Refused as refused:
        return {
            "statusCode": Int(_STATUS.get(refused.condition, 400)),
            "statusDescription": refused.description,
            "errorCondition": Symbol(refused.condition),
        }, None
    except (TypeError, ValueError, AttributeError, DecodeError) as problem:
        return {
            "statusCode": Int(400),
            "statusDescription": f"The request is not understood: {problem}",
            "errorCondition": Symbol(ARGUMENT_ERROR),
        }, None
    if result is None:
        return {"statusCode": Int(204), "statusDescription": "No Content"}, None
    return {"statusCode": Int(200), "statusDescription": "OK"}, result


def _unknown(asked: Asked) -> dict[str, Any]:
    raise Refused(NOT_IMPLEMENTED, "The emulator does not know this operation.")


# ---- locks


def _tokens(asked: Asked) -> list[bytes]:
    tokens: list[UUID] = asked.argument("lock-tokens")
    return [uuid_token(token) for token in tokens]


def _renew_lock(asked: Asked) -> dict[str, Any]:
    ends = [Timestamp(asked.queue.renew(token, asked.now_ms)) for token in _tokens(asked)]
    return {"expirations": Array(ends)}


def _update_disposition(asked: Asked) -> dict[str, Any]:
    act = _DISPOSITIONS.get(asked.argument("disposition-status"))
    if act is None:
        raise Refused(ARGUMENT_ERROR, f"There is no disposition status {asked.body['disposition-status']!r}.")
    for token in _tokens(asked):
        act(asked, token)
    return {}


def _suspend(asked: Asked, token: bytes) -> None:
    reason, detail = asked.body.get("deadletter-reason"), asked.body.get("deadletter-description")
    asked.queue.dead_letter(token, asked.now_ms, reason=reason, detail=detail)


_DISPOSITIONS: Final[Mapping[str, Callable[[Asked, bytes], None]]] = {
    "completed": lambda asked, token: asked.queue.complete(token, asked.now_ms),
    "abandoned": lambda asked, token: asked.queue.abandon(token, asked.now_ms),
    "unlocked": lambda asked, token: asked.queue.release(token, asked.now_ms),
    "defered": lambda asked, token: asked.queue.defer(token, asked.now_ms),
    "suspended": _suspend,
}


# ---- messages


def _peek(asked: Asked) -> dict[str, Any] | None:
    found = asked.queue.peek(
        asked.argument("from-sequence-number"), asked.argument("message-count"), asked.body.get("session-id")
    )
    messages: list[dict[str, Any]] = []
    size_bytes = 0
    for one in found:
        message = encode_delivery(one)
        size_bytes += len(message)
        if messages and size_bytes > _MOST_PEEKED_BYTES:
            break
        messages.append({"message": message})
    return {"messages": messages} if messages else None


def _schedule(asked: Asked) -> dict[str, Any]:
    contents = [parse(one["message"]) for one in asked.argument("messages")]
    return {"sequence-numbers": Array(asked.queue.send(contents, asked.now_ms))}


def _cancel(asked: Asked) -> dict[str, Any]:
    asked.queue.cancel(asked.argument("sequence-numbers"))
    return {}


def _receive_deferred(asked: Asked) -> dict[str, Any]:
    queue, session = asked.queue, None
    if queue.has_sessions:
        session_id = asked.argument("session-id")
        session = queue.sessions.owned(session_id, _owner(asked, session_id), asked.now_ms)
    away = asked.body.get("receiver-settle-mode") == _DELETE_ON_RECEIVE
    found = queue.take_deferred(asked.argument("sequence-numbers"), asked.now_ms, session, away=away)
    return {
        "messages": [
            {"message": encode_delivery(one), **({"lock-token": token_uuid(one.token)} if one.token else {})}
            for one in found
        ]
    }


# ---- sessions


def _owner(asked: Asked, session_id: str) -> object:
    """The link of this connection that has locked the session.

    Raises:
        Refused: none has.
    """
    owner = asked.queue.sessions.get(session_id).owner
    if owner is None or getattr(owner, "session", None) is not asked.session:
        raise lost(session_id)
    return owner


def _renew_session(asked: Asked) -> dict[str, Any]:
    session_id = asked.argument("session-id")
    return {"expiration": Timestamp(asked.queue.renew_session(session_id, _owner(asked, session_id), asked.now_ms))}


def _get_state(asked: Asked) -> dict[str, Any]:
    session_id = asked.argument("session-id")
    session = asked.queue.sessions.owned(session_id, _owner(asked, session_id), asked.now_ms)
    return {"session-state": session.state}


def _set_state(asked: Asked) -> dict[str, Any]:
    session_id = asked.argument("session-id")
    asked.queue.sessions.owned(session_id, _owner(asked, session_id), asked.now_ms)
    state = asked.argument("session-state")
    if isinstance(state, str):
        state = state.encode()
    asked.queue.set_session_state(session_id, state, asked.now_ms)
    return {}


def _list_sessions(asked: Asked) -> dict[str, Any] | None:
    """Sessions with messages or a state; with a time: those whose state has been set since."""
    since_ms = int(asked.body.get("last-updated-time", _END_OF_TIME_MS))
    skip, top = int(asked.body.get("skip", 0)), int(asked.body.get("top", 100))
    names = asked.queue.session_names(None if since_ms >= _END_OF_TIME_MS else since_ms)
    page = names[skip : skip + top]
    return {"skip": Int(skip + len(page)), "sessions-ids": Array(page)} if page else None


_OPERATIONS: Final[Mapping[str, tuple[str, Callable[[Asked], dict[str, Any] | None]]]] = {
    "renew-lock": (LISTEN, _renew_lock),
    "update-disposition": (LISTEN, _update_disposition),
    "peek-message": (LISTEN, _peek),
    "schedule-message": (SEND, _schedule),
    "cancel-scheduled-message": (SEND, _cancel),
    "receive-by-sequence-number": (LISTEN, _receive_deferred),
    "renew-session-lock": (LISTEN, _renew_session),
    "get-session-state": (LISTEN, _get_state),
    "set-session-state": (LISTEN, _set_state),
    "get-message-sessions": (LISTEN, _list_sessions),
}
