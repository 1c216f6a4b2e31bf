"""Link: what every link has, whatever goes through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leveler_servicebus.emulator.amqp.performatives import Attach, Flow, Transfer
from leveler_servicebus.emulator.amqp.values import DecodeError

if TYPE_CHECKING:
    from leveler_servicebus.emulator.session import SessionEnd


class Link:
    """One link of a session.

    Args:
        session: which.
        attach: what the client wanted.
    """

    def __init__(self, session: SessionEnd, attach: Attach) -> None:
        self.session = session
        self.handle: int = attach.handle
        self.name: str = attach.name
        self.active_ms = session.service.clock.now_ms()
        #: The entity behind it, in lower case; empty for a node that answers requests.
        self.entity = ""

    def flow(self, flow: Flow | None) -> None:
        """The client says how much it takes; None: of the session only."""

    def transfer(self, transfer: Transfer, payload: bytes) -> None:
        """The client sends a part of a message."""
        raise DecodeError("a transfer on a link that we send on")

    def end(self, *, orderly: bool) -> None:
        """It is gone: detached, or with its connection."""

    def detach(self, condition: str, description: str) -> None:
        """Take it away."""
        self.session.detach(self.handle, condition, description)

    def touched(self) -> None:
        """Something has happened on it."""
        self.active_ms = self.session.service.clock.now_ms()


def whole(parts: list[bytes], payload: bytes, transfer: Any) -> bytes | None:
    """The message, once its last part is there."""
    if transfer.aborted:
        parts.clear()
        return None
    if transfer.more:
        parts.append(payload)
        return None
    if not parts:
        return payload
    message = b"".join([*parts, payload])
    parts.clear()
    return message
