"""Letter: a message as the service carries it, a text of at most 64 KiB that may stand in XML.

The text is the structured mode of CloudEvents, one JSON object, as it is or in base64, whichever is shorter. Beside the
envelope it may say how much of the service's count does not count::

    "levelerreturned": "2/5"    of the first 5 times that it was handed out, 2 were given back uncounted

Someone who writes that into a message of their own gains no more attempts than they have let pass: it is believed only
when the service has really counted more than 5.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from leveler.errors import MessageTooLarge
from leveler.message import Death, Message

#: Of the text as it stands in the request.
MOST_BYTES: Final = 64 * 1024
#: Kept free for what is added later: the count, and the death of a dead letter with nearly all of its detail.
RESERVE_BYTES: Final = 8 * 1024

# What XML does not carry, or not unchanged. The JSON of ours has no control characters but those of its own spaces.
_NO_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPED = re.compile("[&<>]")
_RETURNED = re.compile(r"(\d{1,6})/(\d{1,6})")


class Returned(NamedTuple):
    """Of the first `counted` times that it was handed out, `given_back` do not count."""

    given_back: int = 0
    counted: int = 0

    def again(self, dequeue_count: int) -> Returned:
        """After one more uncounted give-back, at that count."""
        return Returned(self.given_back + 1, dequeue_count)


class _Bookkeeping(msgspec.Struct):
    levelerreturned: str = ""


def text_of(message: Message, returned: Returned | None = None) -> str:
    """The text of a message."""
    document = message.to_json()
    if returned is not None and returned.given_back:
        document = b'%b,"levelerreturned":"%d/%d"}' % (document[:-1], *returned)
    return _as_text(document)


def text_of_dead(message: Message, death: Death) -> str:
    """The text of its dead letter, with as much of the detail as there is room for.

    What others have sent may leave no room even without, nor for an envelope: then it is its body alone, as it came.

    Raises:
        MessageTooLarge: there is no room for that either.
    """
    for letter in message.dead(death).shortened():
        if size_of(text := text_of(letter)) <= MOST_BYTES:
            return text
    if size_of(text := _as_it_came(message.body)) <= MOST_BYTES:
        return text
    raise MessageTooLarge(f"message {message.id!r} is too large for a dead letter of its own: up to {MOST_BYTES} bytes")


def size_of(text: str) -> int:
    """Bytes of the text in the request, where some characters are written as entities."""
    size = len(text) if text.isascii() else len(text.encode())
    return size + sum(4 if character == "&" else 3 for character in _ESCAPED.findall(text))


def read(
    text: str | None, *, received_at: datetime, native_id: str, dequeue_count: int, base64_of_others: bool
) -> tuple[Message, Returned]:
    """The message of a text, whoever wrote it, and what of its count does not count.

    Args:
        text: as the service gave it.
        received_at: when the service took it.
        native_id: the service's own id of it.
        dequeue_count: how often it has been handed out.
        base64_of_others: whether a text in base64 that is none of ours is decoded.
    """
    given = (text or "").encode(errors="surrogatepass")
    document = given if given[:1] == b"{" else _decoded(given)
    message = Message.from_json(document, received_at=received_at, native_id=native_id)
    if message.body is document and not base64_of_others:  # nobody's envelope: it is what it is
        message = Message.from_attributes({}, given, {}, received_at=received_at, native_id=native_id)
    return message, _returned(document, dequeue_count) if b'"levelerreturned"' in document else Returned()


def _as_text(document: bytes) -> str:
    plain = document.decode()
    if not _NO_XML.search(plain) and size_of(plain) <= 4 * ((len(document) + 2) // 3):
        return plain
    return base64.b64encode(document).decode()


def _as_it_came(body: bytes) -> str:
    try:
        plain = body.decode()
    except UnicodeDecodeError:
        return base64.b64encode(body).decode()
    return base64.b64encode(body).decode() if _NO_XML.search(plain) else plain


def _decoded(given: bytes) -> bytes:
    try:
        return base64.b64decode(given, validate=True) or given
    except binascii.Error:
        return given


def _returned(document: bytes, dequeue_count: int) -> Returned:
    try:
        said = _RETURNED.fullmatch(msgspec.json.decode(document, type=_Bookkeeping).levelerreturned)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return Returned()
    given_back, counted = (int(said[1]), int(said[2])) if said else (0, 0)
    return Returned(given_back, counted) if given_back <= counted < dequeue_count else Returned()
