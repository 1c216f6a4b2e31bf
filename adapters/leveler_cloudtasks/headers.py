"""Envelope: how a message travels over HTTP. CloudEvents' HTTP binding: attributes in ``ce-`` headers and the body
untouched, or all of it in one JSON document; both are read, and so is what is no CloudEvent at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from leveler.message import Message

PREFIX: Final = "ce-"
#: The sender's own headers, as one JSON object: proxies drop, join and rename what they do not know.
HEADERS: Final = "leveler-headers"
_STRUCTURED: Final = "application/cloudevents"

# CloudEvents HTTP binding 1.0.2, section 3.1.3.2: what is not printable ASCII, the space, '"' and '%' are encoded.
_KEPT: Final = "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
_PLAIN = re.compile(r"[!-~]([ -~]*[!-~])?")

#: What every client and every proxy writes into a request: no part of the message.
_TRANSPORT: Final = re.compile(
    r"(x-cloudtasks-|x-google-|x-appengine-|x-forwarded-|x-cloud-trace|x-request-id|ce-|leveler-|sec-|cf-)|"
    r"(host|content-length|content-type|user-agent|accept|accept-encoding|authorization|cookie|connection|forwarded|via|"
    r"transfer-encoding|traceparent|tracestate|keep-alive|te|trailer|upgrade|expect)$"
)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def headers_of(message: Message) -> dict[str, str]:
    """Everything but the body."""
    attributes = message.attributes()
    content_type = attributes.pop("datacontenttype")
    out = {PREFIX + name: quote(value, safe=_KEPT) for name, value in attributes.items() if value}
    if _PLAIN.fullmatch(content_type):
        out["content-type"] = content_type
    else:
        out[f"{PREFIX}datacontenttype"] = quote(content_type, safe=_KEPT)
    if message.headers:
        out[HEADERS] = quote(msgspec.json.encode(dict(message.headers)), safe=_KEPT)
    return out


def message_of(headers: Mapping[str, str], body: bytes, *, received_at: datetime, native_id: str = "") -> Message:
    """Read what `headers_of` wrote, or what anybody else sends.

    Args:
        headers: of the request, with lower-case names.
        body: of the request.
        received_at: when it was queued, as far as it is known.
        native_id: the same at each delivery.
    """
    content_type = headers.get("content-type", "")
    attributes = {name[len(PREFIX) :]: unquote(value) for name, value in headers.items() if name.startswith(PREFIX)}
    if "specversion" not in attributes and content_type.lower().startswith(_STRUCTURED):
        return Message.from_json(body, received_at=received_at, native_id=native_id)
    if content_type:
        attributes.setdefault("datacontenttype", content_type)
    own = _own(headers[HEADERS]) if HEADERS in headers else _foreign(headers)
    return Message.from_attributes(attributes, body, own, received_at=received_at, native_id=native_id)


def _own(text: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(unquote(text), type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}


def _foreign(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if _NAME.fullmatch(name) and not _TRANSPORT.match(name)}
