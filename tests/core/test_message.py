"""The envelope survives every way of carrying it, byte for byte, and believes nothing that it should not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leveler.checks import is_token
from leveler.message import (
    MAX_DETAIL_BYTES,
    Death,
    Message,
    cut,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)

text = st.text(st.characters(codec="utf-8"), max_size=20)
some_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
tokens = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128)
moments = st.datetimes(
    datetime(1000, 1, 3), datetime(9999, 12, 29), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11))])
)
counts = st.integers(0, 1_000_000)
deaths = st.builds(
    Death,
    reason=text,
    error_type=text,
    detail=st.text(st.characters(codec="utf-8"), max_size=MAX_DETAIL_BYTES // 4),
    attempts=counts,
    queue=text,
    first_failed_at=st.none() | moments,
    last_failed_at=st.none() | moments,
)
messages = st.builds(
    Message,
    id=tokens,
    body=st.binary()
    | st.sampled_from([b"null", b"1,2", b"1],[2", b'1,"a":2', b'{"a": 1}', b" {}", b"{}\n", b'"\\ud800"']),
    type=text,
    source=some_text,
    time=moments,
    content_type=st.sampled_from(["application/json", "text/plain; charset=utf-8", "image/png", "application/x+json"]),
    key=st.none() | tokens,
    headers=st.dictionaries(some_text, text),
    priority=st.integers(0, 9),
    not_before=st.none() | moments,
    expires_at=st.none() | moments,
    traceparent=st.none() | tokens,
    generation=st.integers(0, 999_999),
    attempts=counts,
    ready_at=st.none() | moments,
    failed_at=st.none() | moments,
    replays=counts,
    death=st.none() | deaths,
)


def message(**values: Any) -> Message:
    plain: dict[str, Any] = {"id": "42", "body": b"{}", "time": NOW}
    return Message(**plain | values)


def from_event(**event: Any) -> Message:
    event = {"specversion": "1.0", "id": "42"} | event
    return Message.from_json(json.dumps(event).encode(), received_at=NOW)


def from_attributes(body: bytes = b"{}", native_id: str = "", **attributes: str) -> Message:
    return Message.from_attributes(attributes, body, {}, received_at=NOW, native_id=native_id)


# ---- what leveler wrote it reads


@given(messages)
def test_a_message_survives_attributes_and_headers(sent: Message) -> None:
    assert Message.from_attributes(sent.attributes(), sent.body, sent.headers, received_at=NOW) == sent


@given(messages)
def test_a_message_survives_the_structured_mode(sent: Message) -> None:
    assert Message.from_json(sent.to_json(), received_at=NOW) == sent


@given(st.binary())
@example(b"")
@example(b"null")
@example(b"1,2")
@example(b"],[")
@example(b" {}")
@example(b"{}\n")
@example(b'{"a":1,"a":2}')
@example(b"1.0000000000000000000001")
@example(b"-0")
@example(b"[" * 300 + b"],[" * 300 + b"]" * 300)
def test_the_structured_mode_keeps_every_body_byte_for_byte(body: bytes) -> None:
    for content_type in ("application/json", "text/plain", "application/octet-stream"):
        document = message(body=body, content_type=content_type).to_json()
        assert json.loads(document)["specversion"] == "1.0"
        assert Message.from_json(document, received_at=NOW).body == body


@given(
    st.recursive(
        st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
        lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    )
)
def test_a_json_body_stands_readable_in_the_structured_mode(value: Any) -> None:
    body = json.dumps(value, separators=(",", ":")).encode()
    event = json.loads(message(body=body).to_json())
    assert json.dumps(event.get("data"), separators=(",", ":")).encode() == body or "data_base64" in event
    assert Message.from_json(message(body=body).to_json(), received_at=NOW).body == body


@pytest.mark.parametrize("depth", [10, 240, 400, 700, 900, 5000])
def test_a_deep_body_survives_a_reader_that_stands_deeper_than_its_writer(depth: int) -> None:
    sent = message(body=b"[" * depth + b"]" * depth)
    document = sent.to_json()

    def read(frames: int) -> Message:
        return read(frames - 1) if frames else Message.from_json(document, received_at=NOW)

    assert read(200) == sent


def test_headers_of_any_mapping_can_be_sent() -> None:
    sent = message(headers=MappingProxyType({"x-shop": "7"}))
    assert Message.from_json(sent.to_json(), received_at=NOW).headers == {"x-shop": "7"}


def test_a_foreign_message_that_named_no_content_type_is_not_called_json_after_a_copy() -> None:
    received = from_attributes(b"<a/>")
    copy = received.copy(attempts=1, not_before=None, failed_at=NOW)
    assert Message.from_json(copy.to_json(), received_at=NOW).content_type == ""
    assert Message.from_attributes(copy.attributes(), b"<a/>", {}, received_at=NOW).content_type == ""


def test_defaults_are_not_carried() -> None:
    names = {"specversion", "id", "source", "type", "time", "datacontenttype"}
    assert message().attributes().keys() == names


# ---- copies


def test_a_copy_keeps_the_id_and_has_a_dedup_key_of_its_own() -> None:
    first = message(id="42", key="k", headers={"a": "b"}, body=b"x")
    second = first.copy(attempts=2, not_before=NOW, failed_at=NOW)
    third = second.copy(attempts=3, not_before=None, failed_at=NOW)
    assert (second.id, second.key, second.headers, second.body) == ("42", "k", {"a": "b"}, b"x")
    assert (second.attempts, second.not_before, third.generation) == (2, NOW, 2)
    assert len({first.dedup_key, second.dedup_key, third.dedup_key}) == 3
    assert first.dedup_key == "42"


def test_a_copy_is_never_taken_for_the_next_message_of_its_sender() -> None:
    copy = message(id="42").copy(attempts=1, not_before=None, failed_at=None)
    assert copy.dedup_key != message(id="42.1").dedup_key


@given(tokens, counts)
@example("x" * 128, 1_000_000)
def test_every_broker_can_carry_every_dedup_key(id: str, generation: int) -> None:
    key = message(id=id, generation=generation).dedup_key
    assert is_token(key)
    assert message(id=id, generation=generation).dedup_key == key


@given(tokens, st.integers(1, 1_000_000), st.integers(1, 1_000_000))
def test_two_copies_share_a_dedup_key_only_if_they_are_the_same_copy(id: str, one: int, other: int) -> None:
    longer = (id * 128)[:127] + "x"
    other_id = longer[:127] + "y"
    keys = [message(id=longer, generation=one).dedup_key, message(id=longer, generation=other).dedup_key]
    assert (keys[0] == keys[1]) == (one == other)
    assert message(id=other_id, generation=one).dedup_key != keys[0]


def test_a_dead_letter_keeps_the_message_and_a_replay_starts_anew() -> None:
    sent = message(attempts=5, not_before=NOW, expires_at=NOW, failed_at=NOW, headers={"a": "b"})
    dead = sent.dead(Death(reason="exhausted", attempts=5))
    assert (dead.id, dead.body, dead.headers, dead.attempts, dead.not_before) == ("42", b"{}", {"a": "b"}, 5, None)
    again = dead.replayed(NOW + timedelta(days=1))
    assert (again.id, again.attempts, again.death, again.expires_at, again.failed_at) == ("42", 0, None, None, None)
    assert (again.replays, again.generation) == (1, 2)
    assert again.age_seconds(NOW + timedelta(days=1, seconds=5)) == 5


def test_age_and_delay_are_never_negative() -> None:
    later = NOW + timedelta(seconds=60)
    assert message(time=later).age_seconds(NOW) == 0
    assert message().age_seconds(later) == 60
    assert message(ready_at=later).age_seconds(later) == 0
    assert message(not_before=later).delay_seconds(NOW) == 60
    assert message(not_before=NOW).delay_seconds(later) == 0
    assert message().delay_seconds(NOW) == 0


# ---- what anybody else wrote


def test_a_foreign_message_has_defaults_and_an_id_that_is_the_same_at_every_delivery() -> None:
    first, again = from_attributes(b"hello"), from_attributes(b"hello")
    assert first == again
    assert first.id != from_attributes(b"other").id
    assert (first.content_type, first.type, first.source, first.key, first.time) == ("", "", "/", None, NOW)
    assert (first.priority, first.generation, first.attempts, first.death) == (4, 0, 0, None)


def test_the_brokers_own_id_stands_in_for_a_missing_one() -> None:
    assert from_attributes(native_id="1526919030474-55").id == "1526919030474-55"
    assert from_attributes(native_id="1526919030474-55", id="mine").id == "mine"


@pytest.mark.parametrize("id", ["two words", "x" * 129, "größe", "a\r\nHost: evil", "\udcff", " "])
def test_an_id_that_no_copy_could_carry_is_replaced_by_the_same_digest_every_time(id: str) -> None:
    received = from_attributes(b"1", id=id)
    assert is_token(received.id)
    assert received.id == from_attributes(b"2", id=id).id
    assert received.id != from_attributes(b"1", id=id + "!").id
    assert from_attributes(native_id=id).id == received.id


@pytest.mark.parametrize(
    "time",
    ["", "yesterday", "2030-13-01", "9999999999", "0001-01-01T00:00:00+23:59", "٢٠٣٠-01-01", "\ud800", "9" * 5000],
)
def test_a_malformed_time_is_a_missing_time(time: str) -> None:
    received = from_attributes(time=time, expirytime=time, levelernotbefore=time, levelerreadyat=time)
    assert received.time == NOW
    assert (received.expires_at, received.not_before, received.ready_at) == (None, None, None)


@pytest.mark.parametrize(
    ("time", "meant"),
    [
        ("2029-12-31T23:00:00Z", datetime(2029, 12, 31, 23, tzinfo=UTC)),
        ("2029-12-31T23:00:00-01:00", NOW),
        ("2029-12-31T23:00:00.123456789Z", datetime(2029, 12, 31, 23, 0, 0, 123456, tzinfo=UTC)),
        ("2029-12-31T23:00:00", datetime(2029, 12, 31, 23, tzinfo=UTC)),
    ],
)
def test_times_of_other_producers_are_read_as_utc(time: str, meant: datetime) -> None:
    assert from_attributes(time=time).time == meant
    assert from_attributes(time=time).time.tzinfo is UTC


@pytest.mark.parametrize(
    ("count", "believed"),
    [
        ("3", 3),
        ("-1", 0),
        ("1e3", 0),
        ("", 0),
        ("٣", 0),
        ("1000001", 1_000_000),
        ("9" * 5000, 1_000_000),
    ],
)
def test_received_counts_are_believed_only_inside_their_bounds(count: str, believed: int) -> None:
    received = from_attributes(levelerattempts=count, levelergeneration=count, levelerreplays=count)
    assert (received.attempts, received.generation, received.replays) == (believed, believed % 1_000_000, believed)


@pytest.mark.parametrize("forged", ["999999", "1000000", "9" * 5000])
def test_copies_of_a_message_with_a_forged_generation_are_no_duplicates_of_each_other(forged: str) -> None:
    """A broker that drops duplicates would lose the message: the copy is dropped, and its source completed."""
    received = from_attributes(id="7", levelergeneration=forged)
    keys = [received.dedup_key]
    for _ in range(3):
        sent = received.copy(attempts=1, not_before=None, failed_at=None)
        received = Message.from_attributes(sent.attributes(), sent.body, {}, received_at=NOW)
        keys.append(received.dedup_key)
    assert len(set(keys)) == 4


@pytest.mark.parametrize(
    ("priority", "believed"), [("9", 9), ("0", 0), ("10", 9), ("9" * 99, 9), ("-1", 4), ("high", 4)]
)
def test_a_received_priority_is_one_of_the_ten(priority: str, believed: int) -> None:
    assert from_attributes(levelerpriority=priority).priority == believed


def test_empty_attributes_are_missing_ones() -> None:
    received = from_attributes(id="", source="", partitionkey="", traceparent="", specversion="1.0")
    assert (received.source, received.key, received.traceparent) == ("/", None, None)
    assert received.content_type == "application/json"
    assert received.id


@pytest.mark.parametrize(
    "death",
    [
        "",
        "null",
        "[]",
        "{",
        '{"reason":1}',
        '{"reason":"x","attempts":"many"}',
        '{"reason":"' + "x" * 100_000 + '"}',
        "\ud800",
    ],
    ids=lambda death: death[:20],
)
def test_an_unreadable_death_is_still_a_death(death: str) -> None:
    received = from_attributes(levelerdeath=death).death
    assert received is not None
    assert received.reason == "unreadable"
    assert len(received.detail.encode()) <= MAX_DETAIL_BYTES


def test_a_deeply_nested_death_is_a_death_readable_or_not() -> None:
    received = from_attributes(levelerdeath='{"reason":"x","zz":' + "[" * 8000 + "]" * 8000 + "}").death
    assert received is not None
    assert received.reason in ("x", "unreadable")  # how deep a decoder can go depends on the interpreter


def test_a_received_death_is_kept_in_bounds() -> None:
    received = from_attributes(
        levelerdeath='{"reason":"x","attempts":-5,"last_failed_at":"2030-01-01T00:00:00","first_failed_at":"0001-01-01T00:00:00+23:59"}'
    ).death
    assert received == Death(reason="x", attempts=0, last_failed_at=NOW)
    assert received.last_failed_at is not None
    assert received.last_failed_at.tzinfo is UTC


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\x00",
        b"\xff\xfe",
        b"hello",
        b"[1,2]",
        b'"text"',
        b'{"specversion":"1.0"}',
        b'{"id":"42","data":1}',
        b'{"specversion":"1.0","id":"42","data":',
        b'{"specversion":"1.0","id":"42","data_base64":"!"}',
        b'{"specversion":"1.0","id":"42","datacontenttype":"text/plain","data":"\\ud800"}',
        b'{"specversion":"1.0","id":"42","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000,
    ],
    ids=lambda document: str(document[:50]),
)
def test_what_is_no_readable_event_is_a_foreign_message_with_the_whole_document_as_its_body(document: bytes) -> None:
    received = Message.from_json(document, received_at=NOW, native_id="n-1")
    assert (received.body, received.id, received.content_type) == (document, "n-1", "")


@given(st.binary())
def test_whatever_bytes_arrive_become_a_message(document: bytes) -> None:
    assert Message.from_json(document, received_at=NOW).id


ATTRIBUTES = (
    *("specversion", "id", "source", "type", "time", "datacontenttype", "partitionkey", "expirytime", "traceparent"),
    *("levelerpriority", "levelergeneration", "levelerattempts", "levelerreplays", "levelerheaders", "levelerdeath"),
    *("levelernotbefore", "levelerreadyat", "levelerfailedat", "data", "data_base64"),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
)


@given(st.dictionaries(st.sampled_from(ATTRIBUTES), anything))
def test_attributes_of_any_json_type_become_a_message(event: dict[str, Any]) -> None:
    received = from_event(**event)
    assert 0 <= received.attempts <= 1_000_000
    again = Message.from_json(received.to_json(), received_at=NOW)
    assert again == received


@given(st.dictionaries(text, st.text(), max_size=5), st.binary())
def test_attributes_of_any_text_become_a_message(attributes: dict[str, str], body: bytes) -> None:
    received = Message.from_attributes(attributes, body, {}, received_at=NOW)
    assert received.body == body
    assert is_token(received.id)


def test_attributes_that_are_no_text_are_read_as_they_are_written_or_not_at_all() -> None:
    received = from_event(id=7, levelerattempts=3, partitionkey=None, type={"a": 1}, source=["x"], traceparent=None)
    assert (received.id, received.attempts, received.key, received.type, received.source) == ("7", 3, None, "", "/")
    assert received.traceparent is None


@pytest.mark.parametrize("headers", ["zz", "[]", '{"a":1}', "[[[", 5, None, {"a": "b"}])
def test_unreadable_headers_do_not_cost_the_body(headers: Any) -> None:
    received = from_event(levelerheaders=headers, data={"a": 1})
    assert (received.id, received.body, received.headers) == ("42", b'{"a": 1}', {})


@pytest.mark.parametrize(
    ("event", "body"),
    [
        ({"data": {"a": [1.0]}}, b'{"a": [1.0]}'),
        ({"data": None}, b"null"),
        ({"data": "text"}, b'"text"'),
        ({"data": "text", "datacontenttype": "text/plain"}, b"text"),
        ({"data": "text", "datacontenttype": "Application/JSON; x=y"}, b'"text"'),
        ({"data": {"a": 1}, "datacontenttype": "text/plain"}, b'{"a": 1}'),
        ({"data_base64": "AP8="}, b"\x00\xff"),
        ({"data_base64": None, "data": 1}, b"1"),
        ({}, b""),
    ],
)
def test_the_data_of_another_producers_event_is_the_body(event: dict[str, Any], body: bytes) -> None:
    assert from_event(**event).body == body


def test_an_event_without_a_content_type_is_json_and_a_foreign_message_says_nothing() -> None:
    assert from_event(data=1).content_type == "application/json"
    assert Message.from_json(b"{}", received_at=NOW).content_type == ""


# ---- as a value


@given(st.text(), st.integers(3, 50))
def test_cut_text_fits_and_is_whole_characters(long: str, limit: int) -> None:
    short = cut(long, limit)
    assert len(short.encode()) <= limit
    if len(long.encode(errors="replace")) <= limit:
        assert short == long.encode(errors="replace").decode()
    else:
        assert short.endswith("…")


def test_messages_are_values_that_cannot_be_changed() -> None:
    sent = message()
    with pytest.raises(AttributeError):
        sent.body = b"other"  # type: ignore[misc]
    assert sent == msgspec.structs.replace(sent)
