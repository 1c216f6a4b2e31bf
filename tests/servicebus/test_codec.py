"""AMQP types and messages: there and back, and as the vendor's own codec has them."""

from __future__ import annotations

import math
import struct
from typing import Any
from uuid import UUID

import pytest
from azure.servicebus._pyamqp import _decode as theirs_decode
from azure.servicebus._pyamqp import _encode as theirs_encode
from azure.servicebus._pyamqp.message import Header, Message, Properties
from hypothesis import given, settings
from hypothesis import strategies as st
from leveler_servicebus.emulator.amqp import performatives
from leveler_servicebus.emulator.amqp.decoder import decode, skip
from leveler_servicebus.emulator.amqp.encoder import encode
from leveler_servicebus.emulator.amqp.frames import Frame, FrameReader, amqp_frame
from leveler_servicebus.emulator.amqp.message import Content, parse, split_batch, with_application
from leveler_servicebus.emulator.amqp.values import (
    Array,
    Char,
    DecodeError,
    Described,
    Int,
    Opaque,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)

few = settings(max_examples=50, deadline=None)

ascii_text = st.text(st.characters(max_codepoint=127), max_size=300)
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 255).map(UByte),
    st.integers(0, 2**16 - 1).map(UShort),
    st.integers(0, 2**32 - 1).map(UInt),
    st.integers(0, 2**64 - 1).map(ULong),
    st.integers(-(2**31), 2**31 - 1).map(Int),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Timestamp),
    st.floats(allow_nan=False),
    st.characters(exclude_categories=["Cs"]).map(Char),
    st.uuids(),
    st.binary(max_size=300),
    st.text(max_size=300),
    ascii_text.map(Symbol),
    st.binary(min_size=16, max_size=16).map(lambda content: Opaque(0x94, content)),
)
arrays = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1)).map(Array),
    st.lists(st.uuids()).map(Array),
    st.lists(ascii_text.map(Symbol)).map(Array),
    st.lists(st.text()).map(Array),
    st.lists(st.integers(0, 2**32 - 1).map(UInt)).map(Array),
    st.lists(st.integers(-(2**63), 2**63 - 1).map(Timestamp)).map(Array),
    st.lists(st.booleans()).map(Array),
)
keys = st.one_of(ascii_text.map(Symbol), st.text(max_size=10), st.integers(0, 2**64 - 1).map(ULong))
values = st.recursive(
    st.one_of(scalars, arrays),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(keys, inner, max_size=5),
        st.builds(Described, st.integers(0, 2**64 - 1).map(ULong), inner),
    ),
    max_leaves=20,
)


@few
@given(values)
def test_a_value_comes_back_as_it_went(value: Any) -> None:
    encoded = encode(value)

    assert decode(encoded) == (value, len(encoded))


@few
@given(values, st.binary(max_size=4))
def test_a_value_is_skipped_to_where_decoding_it_ends(value: Any, after: bytes) -> None:
    encoded = encode(value)

    assert skip(encoded + after) == decode(encoded + after)[1] == len(encoded)


@few
@given(values, st.data())
def test_a_value_that_is_cut_short_is_refused(value: Any, data: st.DataObject) -> None:
    encoded = encode(value)
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]

    with pytest.raises(DecodeError):
        decode(cut)


@few
@given(st.binary(max_size=200))
def test_nonsense_is_refused_and_nothing_worse(data: bytes) -> None:
    for read in (decode, skip, parse, split_batch):
        try:
            read(data)
        except DecodeError:
            continue


def test_a_character_that_there_is_not_is_refused() -> None:
    with pytest.raises(DecodeError, match="no AMQP value"):
        decode(b"\x73\xff\xff\xff\xff")


def test_nesting_has_an_end() -> None:
    with pytest.raises(DecodeError, match="deep"):
        decode(b"\x00" * 10_000 + b"\x40")
    with pytest.raises(DecodeError, match="deep"):
        skip(b"\x00" * 10_000 + b"\x40")


def test_a_count_alone_takes_no_memory() -> None:
    with pytest.raises(DecodeError, match="4294967295"):
        decode(struct.pack(">BIIB", 0xF0, 5, 2**32 - 1, 0x40))
    with pytest.raises(DecodeError, match="4294967295"):
        decode(struct.pack(">BII", 0xD0, 4, 2**32 - 1))


# ---- as the vendor has them


def to_theirs(value: Any) -> Any:
    """What the client makes of a value that we have written: it knows no symbols, and gives texts as bytes."""
    match value:
        case str():
            return value.encode()
        case list():
            return [to_theirs(item) for item in value]
        case dict():
            return {to_theirs(key): to_theirs(item) for key, item in value.items()}
        case _:
            return value


plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(0, 2**32 - 1).map(UInt),
        st.integers(0, 2**64 - 1).map(ULong),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(-(2**63), 2**63 - 1).map(Timestamp),
        st.floats(allow_nan=False),
        st.uuids(),
        st.binary(max_size=300),
        st.text(max_size=300),
        ascii_text.map(Symbol),
        arrays.filter(bool),  # of an empty one it leaves the constructor unread; the emulator sends none
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(ascii_text.map(Symbol), inner, max_size=5)),
    max_leaves=20,
)


@few
@given(plain)
def test_the_client_reads_what_we_write(value: Any) -> None:
    encoded = memoryview(encode(value))

    rest, read = theirs_decode._DECODE_BY_CONSTRUCTOR[encoded[0]](encoded[1:])

    assert not rest
    assert read == to_theirs(value)


@few
@given(st.integers(-(2**31), 2**31 - 1), st.text(max_size=300), st.binary(max_size=300), st.uuids(), st.booleans())
def test_we_read_what_the_client_writes(number: int, text: str, content: bytes, token: UUID, flag: bool) -> None:
    for value in (number, text, content, token, flag, None, 1.5, [number, text], {text: content}):
        output = bytearray()
        theirs_encode.encode_value(output, value)

        assert decode(bytes(output)) == (value, len(output))


@few
@given(
    st.binary(max_size=600),
    st.text(max_size=40),
    st.one_of(st.none(), st.text(min_size=1, max_size=40)),
    st.dictionaries(st.text(max_size=20), st.one_of(st.text(max_size=20), st.integers(0, 1000)), max_size=5),
    st.one_of(st.none(), st.integers(0, 2**31)),
)
def test_a_message_passes_through_and_is_read_again_by_the_client(
    body: bytes, message_id: str, session_id: str | None, application: dict[str, Any], ttl_ms: int | None
) -> None:
    output = bytearray()
    sent = Message(
        data=[body],
        header=Header(ttl=ttl_ms, durable=True),
        properties=Properties(message_id=message_id, group_id=session_id),
        application_properties=dict(application.items()),
        message_annotations={"x-opt-partition-key": "p"},
    )
    theirs_encode.encode_payload(output, sent)

    content = parse(bytes(output))
    again = theirs_decode.decode_payload(memoryview(content.properties + content.application + content.body))

    assert (content.ttl_ms, content.durable, content.session_id) == (ttl_ms, True, session_id)
    assert content.annotation_values == 2
    assert again.data == [body]
    assert again.properties is not None
    assert again.properties.message_id == message_id.encode()
    assert (again.application_properties or {}) == to_theirs(application)


@few
@given(st.dictionaries(st.text(max_size=20), st.one_of(st.text(max_size=20), st.booleans()), max_size=5))
def test_reasons_join_the_application_properties_and_spoil_none(application: dict[str, Any]) -> None:
    section = parse(b"\x00\x53\x74" + encode(application)).application

    once = with_application(section, {"DeadLetterReason": "first", "same": "first"})
    twice = with_application(once, {"DeadLetterReason": "again", "same": "again"})

    value, _ = decode(twice)
    assert value.value == {**application, "DeadLetterReason": "again", "same": "again"}


@few
@given(st.lists(st.binary(max_size=400), max_size=10))
def test_a_batch_is_its_data_sections(messages: list[bytes]) -> None:
    sections = b"".join(b"\x00\x53\x75" + encode(message) for message in messages)
    envelope = b"\x00\x53\x73" + encode(["the first one's id"])

    assert split_batch(envelope + sections) == messages


# ---- performatives and frames


@pytest.mark.parametrize("kind", performatives._CODES)
def test_every_performative_comes_back_and_the_client_counts_its_fields(kind: Any) -> None:
    sent = kind(*range(len(kind._fields)))

    encoded = performatives.encode_performative(sent)

    assert performatives.decode_performative(encoded) == (sent, len(encoded))
    code, fields = theirs_decode.decode_frame(memoryview(encoded))
    assert code == encoded[2]
    assert fields[: len(sent)] == list(sent)


@few
@given(st.binary(max_size=500), st.lists(st.integers(1, 40), max_size=40))
def test_frames_come_whole_however_the_bytes_arrive(payload: bytes, cuts: list[int]) -> None:
    sent = [Frame(number, performatives.Transfer(number), payload) for number in range(3)]
    stream = b"".join(amqp_frame(frame.channel, frame.performative, frame.payload) for frame in sent)
    reader, received = FrameReader(65536), []

    pieces, at = [], 0
    for cut in cuts:
        pieces.append(stream[at : at + cut])
        at += cut
    for piece in [*pieces, stream[at:]]:
        reader.feed(piece)
        while (frame := reader.frame()) is not None:
            received.append(frame)

    assert received == sent


@pytest.mark.parametrize("head", ["00000007 02000000", "00020000 02000000", "00000010 01000000", "00000010 05000000"])
def test_a_frame_that_cannot_be_is_refused(head: str) -> None:
    reader = FrameReader(65536)
    reader.feed(bytes.fromhex(head) + bytes(8))

    with pytest.raises(DecodeError, match="frame"):
        reader.frame()


def test_numbers_have_the_encodings_of_the_standard() -> None:
    assert encode(UInt(0)) == b"\x43"
    assert encode(ULong(0x10)) == b"\x53\x10"
    assert encode(UInt(256)) == b"\x70\x00\x00\x01\x00"
    assert encode(-1) == b"\x55\xff"
    assert encode(Int(-129)) == b"\x71\xff\xff\xff\x7f"
    assert encode(True) == b"\x41"
    assert encode(math.pi) == b"\x82" + struct.pack(">d", math.pi)
    assert encode([]) == b"\x45"
    assert encode(Timestamp(1)) == b"\x83" + bytes(7) + b"\x01"


def test_what_has_no_place_in_amqp_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        encode({1})


def test_a_message_without_a_body_is_one() -> None:
    assert parse(b"") == Content()
