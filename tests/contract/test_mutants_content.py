"""Planted bugs in what a message carries: each is caught by the cases that are named for it."""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote

import pytest
from leveler_memory.sender import MemorySender
from msgspec.structs import replace

from leveler.message import Message


def altering(name: str, change: Callable[[Message], Message]) -> type[MemorySender]:
    """A sender that does this to each message on its way."""

    async def send(self: MemorySender, messages: Sequence[Message]) -> None:
        await MemorySender.send(self, [change(message) for message in messages])

    return type(name, (MemorySender,), {"send": send})


def body(change: Callable[[bytes], bytes]) -> Callable[[Message], Message]:
    return lambda message: replace(message, body=change(message.body))


def headers(change: Callable[[str, str], tuple[str, str] | None]) -> Callable[[Message], Message]:
    def changed(message: Message) -> Message:
        pairs = [change(name, value) for name, value in message.headers.items()]
        return replace(message, headers=dict(pair for pair in pairs if pair is not None))

    return changed


def decoded(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except ValueError:
        return data


def json_again(data: bytes) -> bytes:
    try:
        return json.dumps(json.loads(data)).encode()
    except ValueError:
        return data


def latin_1(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")


def composed(data: bytes) -> bytes:
    try:
        return unicodedata.normalize("NFC", data.decode()).encode()
    except ValueError:
        return data


def unwrapped(message: Message) -> Message:
    inner = Message.from_json(message.body, received_at=message.time)
    return replace(message, body=inner.body) if b'"specversion"' in message.body else message


#: What is broken, and the cases that must notice.
MUTANTS: Mapping[type, Sequence[str]] = {
    altering("DecodesBodies", body(lambda data: data.decode(errors="replace").encode())): [
        "content-what_is_not_utf_8_stays",
        "content-every_byte_stays",
    ],
    altering("NormalisesText", body(composed)): ["content-text_that_is_not_normalised_stays"],
    altering("DecodesBase64", body(decoded)): [
        "content-what_looks_like_base64_is_not_decoded",
        "copies-it_is_the_dedup_key_that_counts",
    ],
    altering("RewritesJson", body(json_again)): ["content-json_keeps_its_form"],
    altering("EndsAtNul", body(lambda data: data.split(b"\0")[0])): ["content-zero_bytes_stay"],
    altering("FillsEmptyBodies", body(lambda data: data or b" ")): ["content-an_empty_body_stays_empty"],
    altering("DropsWhatXmlCannotCarry", body(lambda data: data.replace(b"\x01", b"").replace(b"\x0b", b""))): [
        "content-what_xml_cannot_carry_stays"
    ],
    altering("StripsBodies", body(bytes.strip)): ["content-json_keeps_its_form"],
    altering("UnwrapsEvents", unwrapped): ["content-an_event_inside_a_message_is_only_a_body"],
    altering("TakesOffQuotes", body(lambda data: data.strip(b'"') or data)): [
        "content-text_that_claims_to_be_json_stays"
    ],
    altering("TakesNullForNothing", body(lambda data: b"" if data == b"null" else data)): [
        "content-text_that_claims_to_be_json_stays"
    ],
    altering("KnowsOneContentType", lambda message: replace(message, content_type="application/json")): [
        "content-other_content_types_stay",
        "delay-a_delayed_message_is_whole",
    ],
    altering("ForgetsTheType", lambda message: replace(message, type="")): ["send-a_sent_message_arrives"],
    altering("InventsAType", lambda message: replace(message, type=message.type or "unknown")): [
        "content-what_was_not_set_is_not_set_when_it_arrives"
    ],
    altering("RoundsTimes", lambda message: replace(message, time=message.time.replace(microsecond=0))): [
        "content-all_attributes_arrive"
    ],
    altering("ForgetsGenerations", lambda message: replace(message, generation=0)): [
        "content-levelers_own_bookkeeping_arrives"
    ],
    altering("ForgetsAttempts", lambda message: replace(message, attempts=0)): [
        "attempts-the_count_goes_on_from_the_envelope"
    ],
    altering("LowersIds", lambda message: replace(message, id=message.id.lower())): ["content-odd_ids_and_keys_arrive"],
    altering("UnquotesIds", lambda message: replace(message, id=unquote(message.id))): [
        "content-odd_ids_and_keys_arrive"
    ],
    altering("ForgetsKeys", lambda message: replace(message, key=None)): ["content-all_attributes_arrive"],
    altering("ForgetsPriorities", lambda message: replace(message, priority=4)): [
        "priority-a_priority_is_part_of_the_message"
    ],
    altering("ForgetsTraces", lambda message: replace(message, traceparent=None)): ["content-all_attributes_arrive"],
    altering("StripsHeaders", headers(lambda name, value: (name, value.strip()))): ["content-odd_header_values_arrive"],
    altering("DropsEmptyHeaders", headers(lambda name, value: (name, value) if value else None)): [
        "content-odd_header_values_arrive"
    ],
    altering("WritesHeadersInLatin1", headers(lambda name, value: (name, latin_1(value)))): [
        "content-header_values_may_be_any_language"
    ],
    altering("KeepsTenHeaders", lambda message: replace(message, headers=dict(list(message.headers.items())[:10]))): [
        "content-many_headers_arrive"
    ],
    altering("TakesHeadersForAttributes", headers(lambda name, value: None if name == "id" else (name, value))): [
        "content-header_names_that_the_envelope_uses_too_are_no_clash"
    ],
    altering("RenamesHeaders", headers(lambda name, value: (name.replace(".", "_"), value))): [
        "content-odd_header_names_arrive"
    ],
    altering("CutsHeaders", headers(lambda name, value: (name, value[:1000]))): ["content-the_largest_headers_arrive"],
    altering("DropsHeaders", headers(lambda name, value: None)): ["content-all_attributes_arrive"],
}


@pytest.mark.parametrize(("broken", "case_id"), [(broken, case) for broken, found in MUTANTS.items() for case in found])
def test_it_is_caught(broken: type, case_id: str, judge: Callable[[str, type], tuple[str, str]]) -> None:
    assert judge(case_id, broken) == ("healthy", "failed")
