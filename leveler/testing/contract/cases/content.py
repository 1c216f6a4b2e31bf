"""Content: bytes and attributes arrive as they were sent, whatever the broker puts around them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from leveler.checks import MAX_HEADER_BYTES
from leveler.testing.contract.case import case
from leveler.testing.contract.rig import Rig


@case()
async def an_empty_body_stays_empty(t: Rig) -> None:
    """Body bytes are untouched: brokers that refuse empty bodies are the adapter's business."""
    await _arrives(t, b"")


@case()
async def zero_bytes_stay(t: Rig) -> None:
    """Body bytes are untouched: nothing ends at a NUL."""
    await _arrives(t, b"\x00a\x00\x00b\x00")


@case()
async def every_byte_stays(t: Rig) -> None:
    """Body bytes are untouched, all 256 of them."""
    await _arrives(t, bytes(range(256)) * 2)


@case()
async def what_is_not_utf_8_stays(t: Rig) -> None:
    """Body bytes are untouched: no decoding on the way."""
    await _arrives(t, b"\xff\xfe\xc3\x28\xed\xa0\x80 caf\xe9")


@case()
async def text_that_is_not_normalised_stays(t: Rig) -> None:
    """Body bytes are untouched: composed and decomposed letters, marks and line ends are different bytes."""
    await _arrives(t, "e\u0301 \u00e9 \ufb01 \u212b \ufeff\r\n\r\n".encode())


@case()
async def what_looks_like_base64_is_not_decoded(t: Rig) -> None:
    """An adapter that carries binary as base64 knows which bodies it encoded itself."""
    await _arrives(t, b"aGVsbG8gd29ybGQ=")
    await _arrives(t, b"AAAA")


@case()
async def what_xml_cannot_carry_stays(t: Rig) -> None:
    """SQS refuses what is not legal in XML; markup and entities are only text."""
    await _arrives(t, "\x01\x08\x0b\x1f\ufffe\uffff <a>&amp;&#0;]]></a>".encode())


@case()
async def json_keeps_its_form(t: Rig) -> None:
    """Body bytes are untouched: spaces, order, doubled keys and large numbers of a JSON document too."""
    await _arrives(t, b' {"b" : 1.0, "a":12345678901234567890, "a":1e400 }\n')
    await _arrives(t, b'{"b":"\\u00e9","a":-0}')


@case()
async def text_that_claims_to_be_json_stays(t: Rig) -> None:
    """The content type is the sender's word; the body need not live up to it."""
    await _arrives(t, b"not json {")
    await _arrives(t, b'"a quoted text"')
    await _arrives(t, b"null")


@case()
async def an_event_inside_a_message_is_only_a_body(t: Rig) -> None:
    """A body that is itself a CloudEvent in JSON must not be mistaken for the envelope."""
    inner = t.message(b'{"inner":true}', headers={"x-inner": "1"})
    await _arrives(t, inner.to_json())
    await _arrives(t, inner.to_json(), content_type="application/cloudevents+json")


@case()
async def other_content_types_stay(t: Rig) -> None:
    """`Message.content_type`, with parameters or none at all that we know."""
    for content_type in ("text/plain; charset=latin-1", "application/octet-stream", "application/xml", "x/y"):
        await _arrives(t, b"<caf\xe9/>", content_type=content_type)


@case()
async def all_attributes_arrive(t: Rig) -> None:
    """The envelope: every attribute of a message survives the way."""
    now = t.clock.now()
    await _arrives(
        t,
        b"{}",
        type="Order.Created",
        source="urn:shop:4?a=b#c",
        key="customer-7",
        headers={"x-tenant": "t1"},
        priority=9,
        expires_at=now + timedelta(days=1, microseconds=1),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        time=now - timedelta(microseconds=123456),
    )


@case()
async def what_was_not_set_is_not_set_when_it_arrives(t: Rig) -> None:
    """Defaults are defaults on the other side: no empty key, no invented expiry."""
    await _arrives(t, b"{}", type="", source="/", key=None, headers={}, expires_at=None, traceparent=None)


@case()
async def levelers_own_bookkeeping_arrives(t: Rig) -> None:
    """Generation, failure time, replays and the moment of its rebirth travel in the envelope."""
    now = t.clock.now()
    copied = {"generation": 3, "failed_at": now - timedelta(hours=1), "replays": 2, "ready_at": now - timedelta(days=1)}
    await _arrives(t, b"{}", **copied)


@case()
async def odd_ids_and_keys_arrive(t: Rig) -> None:
    """An id or a key is up to 128 printable ASCII characters."""
    odd = "".join(map(chr, range(0x21, 0x7F)))
    await _arrives(t, b"{}", id=odd, key=odd[::-1])
    await _arrives(t, b"{}", id="i" * 128, key="k" * 128)
    await _arrives(t, b"{}", id="%20+%2F", key="a/b?c=d&e#f")


@case()
async def odd_header_values_arrive(t: Rig) -> None:
    """A header's value is any text without control characters."""
    odd = ("", " ", " both ends ", "a,b;c=d", '"quoted"', "=?utf-8?q?x?=", "%41", "null", "0", "1e3", "<&>", "\\n")
    await _arrives(t, b"{}", headers={f"x-{place}": value for place, value in enumerate(odd)})


@case()
async def header_values_may_be_any_language(t: Rig) -> None:
    """A header's value is Unicode text, also what XML has no place for."""
    odd = ("grüße", "日本語", "\U0001f4a5", "e\u0301", "\u200f\u0627", "\ufeff", "\ufffe", "\u0085", "\u2028")
    await _arrives(t, b"{}", headers={f"x-{place}": value for place, value in enumerate(odd)})


@case()
async def header_names_that_the_envelope_uses_too_are_no_clash(t: Rig) -> None:
    """A sender's header may be called like an attribute, or like a broker's own property."""
    names = ("id", "type", "source", "time", "key", "subject", "data", "priority", "partitionkey", "message-id", "ttl")
    await _arrives(t, b"{}", headers={name: f"mine-{name}" for name in names})


@case()
async def odd_header_names_arrive(t: Rig) -> None:
    """A header's name: lower-case letters, digits, and ``-_.`` up to 64 characters."""
    names = ("x", "0", "a.b.c", "a_b", "a-b", "x--y", "trailing-", "aws.trace", "n" * 64)
    await _arrives(t, b"{}", headers=dict.fromkeys(names, "v"))


@case()
async def many_headers_arrive(t: Rig) -> None:
    """Far more headers than SQS has attributes."""
    await _arrives(t, b"{}", headers={f"x-header-{number:03}": f"value {number}" for number in range(200)})


@case()
async def the_largest_headers_arrive(t: Rig) -> None:
    """`MAX_HEADER_BYTES` of names and values, in many headers or in one."""
    fifteen = {f"x-{number:02}": "v" * 1020 for number in range(MAX_HEADER_BYTES // 1024)}
    await _arrives(t, b"{}", headers=fifteen)
    await _arrives(t, b"{}", headers={"x": "é" * ((MAX_HEADER_BYTES - 1) // 2)})


async def _arrives(t: Rig, body: bytes, **attributes: Any) -> None:
    sent = t.message(body, **attributes)
    await t.send(sent)
    receiver = t.receiver()
    [delivery] = await t.take(receiver)
    await receiver.complete([delivery])
    await receiver.close()
    came = delivery.message
    changed = {name for name in sent.__struct_fields__ if getattr(came, name) != getattr(sent, name)}
    assert not changed, {name: (getattr(sent, name), getattr(came, name)) for name in changed}
