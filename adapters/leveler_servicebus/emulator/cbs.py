"""`$cbs`: a client shows a token for an entity before it attaches a link to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from leveler_servicebus.emulator.amqp.values import Int
from leveler_servicebus.emulator.request import Request, answer
from leveler_servicebus.emulator.signature import Denied, Grant, path_of
from leveler_servicebus.emulator.terminus import CBS

if TYPE_CHECKING:
    from leveler_servicebus.emulator.session import SessionEnd


def answer_token(session: SessionEnd, message_format: int, message: bytes) -> None:
    """Check the token of a put-token request, and say so. Raises `DecodeError` if the message is no request."""
    request = Request.of(message)
    status, description = _put_token(session, request)
    answer(session, CBS, request, {"status-code": Int(status), "status-description": description})


def _put_token(session: SessionEnd, request: Request) -> tuple[int, str]:
    if request.said.get("operation") != "put-token":
        return 400, "the only operation here is put-token"
    if not isinstance(request.body, str):
        return 400, "expected the token as the value of the message"
    try:
        grant = session.service.namespace.signatures.check(request.body, time.time())
    except Denied as denied:
        return 401, str(denied)
    wanted = path_of(str(request.said.get("name", "")))
    if grant.path and wanted != grant.path and not wanted.startswith(f"{grant.path}/"):
        return 401, f"InvalidSignature: the token is for another entity than '{wanted}'"
    session.connection.grants.append(Grant(wanted, grant.rights, grant.until))
    return 202, "Accepted"
