"""A request to a node, and the bytes of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from leveler_servicebus.emulator.amqp.encoder import NULL, encode, encode_list, section
from leveler_servicebus.emulator.amqp.message import APPLICATION, PROPERTIES, VALUE, parse, read
from leveler_servicebus.emulator.outgoing import Answers

if TYPE_CHECKING:
    from leveler_servicebus.emulator.session import SessionEnd

_REPLY_TO = 4
_CORRELATION_ID = 5


class Request(NamedTuple):
    """What a client asks."""

    #: Its id as it came, for the answer must carry the same, of the same type.
    message_id: bytes
    reply_to: str
    #: Application properties.
    said: dict[str, Any]
    body: Any

    @classmethod
    def of(cls, message: bytes) -> Request:
        """Raises `DecodeError` if the message is none."""
        sections = read(message)
        properties = sections.get(PROPERTIES) or []
        reply_to = properties[_REPLY_TO] if len(properties) > _REPLY_TO else None
        said = sections.get(APPLICATION) or {}
        return cls(parse(message).message_id, reply_to or "", said, sections.get(VALUE))


def answer(session: SessionEnd, node: str, request: Request, said: dict[str, Any], body: Any = None) -> None:
    """Send the answer on the link that the client has for it."""
    link = _link_for(session, node, request.reply_to)
    if link is not None:
        link.answer(_encode(request, said, body))


def _encode(request: Request, said: dict[str, Any], body: Any) -> bytes:
    properties = [NULL] * _CORRELATION_ID + [request.message_id or NULL]
    return b"".join(
        (
            section(PROPERTIES, encode_list(properties)),
            section(APPLICATION, encode(said)),
            section(VALUE, encode(body)),
        )
    )


def _link_for(session: SessionEnd, node: str, reply_to: str) -> Answers | None:
    links = [link for link in session.links.values() if isinstance(link, Answers) and link.node == node]
    named = [link for link in links if reply_to and link.reply_to == reply_to]
    return next(iter(named or links), None)
