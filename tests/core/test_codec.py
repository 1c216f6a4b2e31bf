"""What goes out comes in: every supported type; and what cannot come in is refused with a reason, never a crash."""

from __future__ import annotations

import dataclasses
import enum
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leveler.codec import Encoder, decoder_for, type_name
from leveler.errors import ConfigError, DecodeError, EncodeError
from leveler.message import Message

NOW = datetime(2030, 1, 1, tzinfo=UTC)
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"
T = TypeVar("T")

encode = Encoder()


class Order(msgspec.Struct):
    id: str
    total: float = 0.0
    placed_at: datetime | None = None


class Created(msgspec.Struct, tag=True):
    id: int


class Cancelled(msgspec.Struct, tag=True):
    id: int


class Node(msgspec.Struct):
    child: Node | None = None


@dataclasses.dataclass
class Line:
    sku: str
    quantity: int


@attrs.define
class Address:
    street: str


class Parcel(TypedDict):
    weight: float


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.StrEnum):
    RED = "red"


class Customer(pydantic.BaseModel):
    number: int = pydantic.Field(alias="customerNumber", gt=0)


class Company(pydantic.BaseModel):
    name: str


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


@pydantic.dataclasses.dataclass
class Payment:
    cents: int = pydantic.Field(alias="amount", gt=0)


@dataclasses.dataclass
class Invoice:
    to: Customer | Company


class Picky(msgspec.Struct):
    id: int

    def __post_init__(self) -> None:
        raise {1: ValueError("one is taken"), 2: KeyError("a bug")}[self.id]


Sku = NewType("Sku", str)
Short = Annotated[str, msgspec.Meta(max_length=3)]

ROUND_TRIPS: list[tuple[Any, Any]] = [
    (Order, Order("42", 9.5, NOW)),
    (Created | Cancelled, Cancelled(1)),
    (Line, Line("a-1", 2)),
    (Address, Address("1 Long Street")),
    (Parcel, {"weight": 1.5}),
    (Point, Point(1, 2)),
    (Colour, Colour.RED),
    (Customer, Customer(customerNumber=7)),
    (Customer | Company, Company(name="Acme")),
    (list[Customer], [Customer(customerNumber=7)]),
    (Page[int], Page[int](items=[1])),
    (Payment, Payment(amount=5)),
    (Invoice, Invoice(Company(name="Acme"))),
    (dict, {"a": [1, None, True]}),
    (list[int], [1, 2]),
    (int, 2**63),
    (float, 1.5),
    (bool, False),
    (None, None),
    (UUID, UUID(int=1)),
    (Decimal, Decimal("1.10")),
    (datetime, NOW),
    (str, "größer\x00"),
    (Sku, Sku("a-1")),
    (Short, "abc"),
    (Literal["a", "b"], "b"),
    (bytes, b"\x00\xff{"),
    (bytearray, bytearray(b"\x00\xff")),
    (memoryview, memoryview(b"\x00\xff")),
    (str | None, "x"),
    (str | None, None),
    (str | Order, "{not json"),
    (str | Order, Order("1")),
    (Company | str, "x"),
    (bytes | Order, b'{"id":"1"}'),
    (bytes | Order, Order("1")),
    (Any, "123"),
    (Any, b"123"),
    (Any, 123),
    (object, {"a": 1}),
]


@pytest.mark.parametrize(
    ("wanted", "value"), ROUND_TRIPS, ids=lambda case: getattr(case, "__name__", type(case).__name__)
)
def test_what_was_encoded_decodes_to_an_equal_value(wanted: Any, value: Any) -> None:
    encoded = encode(value)
    decoded = decoder_for(wanted)(encoded.body, encoded.content_type)
    assert decoded == value
    assert type(decoded) is type(value)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    )
)
def test_plain_values_of_any_shape_survive(value: Any) -> None:
    encoded = encode(value)
    assert decoder_for(Any)(encoded.body, encoded.content_type) == value


@given(st.binary())
def test_bytes_and_text_bodies_are_never_touched(body: bytes) -> None:
    assert encode(body).body == body
    assert decoder_for(bytes)(body, "text/plain") is body
    text = body.decode("latin-1")
    assert decoder_for(str)(encode(text).body, TEXT) == text


@pytest.mark.parametrize(
    ("value", "content_type", "name"),
    [
        (Order("1"), JSON, "Order"),
        (Customer(customerNumber=1), JSON, "Customer"),
        (Page[int](items=[]), JSON, "Page"),
        (Line("a", 1), JSON, "Line"),
        ({}, JSON, "dict"),
        ("", TEXT, "str"),
        (b"", OCTETS, "bytes"),
    ],
    ids=str,
)
def test_a_value_says_its_content_type_and_the_name_of_its_class(value: Any, content_type: str, name: str) -> None:
    encoded = encode(value)
    assert (encoded.content_type, encoded.type) == (content_type, name)
    assert type_name(type(value)) == name


def test_a_received_message_is_sent_on_as_it_is() -> None:
    message = Message(id="1", body=b"<a/>", type="Page", content_type="text/xml", time=NOW)
    encoded = encode(message)
    assert (encoded.body, encoded.content_type, encoded.type) == (b"<a/>", "text/xml", "Page")


def test_a_handler_that_wants_the_message_has_nothing_decoded() -> None:
    body = b"\xff not json"
    assert decoder_for(Message)(body, JSON) is body


@pytest.mark.parametrize(
    "content_type", ["", OCTETS, "text/plain", "application/x-www-form-urlencoded", JSON + "; x=y"]
)
def test_a_structured_type_is_read_from_json_whatever_the_producer_called_it(content_type: str) -> None:
    assert decoder_for(Order)(b'{"id":"1"}', content_type) == Order("1")
    assert decoder_for(Company)(b'{"name":"Acme"}', content_type) == Company(name="Acme")


@pytest.mark.parametrize(
    ("content_type", "value"),
    [
        (JSON, 1),
        ("application/vnd.acme+json", 1),
        ("", 1),
        ("Text/Plain", "1"),
        ("text/csv", "1"),
        (OCTETS, b"1"),
        ("image/png", b"1"),
    ],
)
def test_a_handler_of_anything_gets_what_the_content_type_says(content_type: str, value: object) -> None:
    decoded = decoder_for(Any)(b"1", content_type)
    assert decoded == value
    assert type(decoded) is type(value)


def test_pydantic_models_are_validated_by_pydantic_and_keep_their_aliases() -> None:
    assert encode(Customer(customerNumber=3)).body == b'{"customerNumber":3}'
    with pytest.raises(DecodeError, match=r"greater than 0 - at `\$\.customerNumber`"):
        decoder_for(Customer)(b'{"customerNumber":-3}', JSON)
    with pytest.raises(DecodeError, match="greater than 0"):
        decoder_for(Payment)(b'{"amount":0}', JSON)
    with pytest.raises(DecodeError, match="at most 3"):
        decoder_for(Annotated[str, pydantic.Field(max_length=3)])(b"four", TEXT)


def test_constraints_on_text_hold() -> None:
    with pytest.raises(DecodeError, match="length <= 3"):
        decoder_for(Short)(b"four", TEXT)


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "truncated": b'{"id":',
    "not UTF-8": b'{"id":"\xff"}',
    "UTF-16": '{"id":"1"}'.encode("utf-16"),
    "NUL": b"\x00",
    "NUL after": b'{"id":"1"}\x00',
    "control in a string": b'{"id":"\x00"}',
    "lone surrogate": b'{"id":"\\ud800"}',
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"child":' * 100_000 + b"null" + b"}" * 100_000,
    "deep in an unknown field": b'{"zz":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "huge integer": b'{"id":"1","total":' + b"9" * 100_000 + b"}",
    "huge exponent": b'{"id":"1","total":1e999999}',
    "NaN": b'{"id":"1","total":NaN}',
    "wrong type": b'{"id":1}',
    "two documents": b'{"id":"1"}{"id":"2"}',
    "pickle": b"\x80\x04\x95\x00.",
}


@pytest.mark.parametrize(
    "wanted", [Order, Node, Created | Cancelled, Line, Customer, dict[str, int], Any, int], ids=str
)
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_body_is_a_decode_error_or_a_value_and_never_anything_else(wanted: Any, body: bytes) -> None:
    decode = decoder_for(wanted)
    said = ""
    try:
        decode(body, "")
    except DecodeError as error:
        said = str(error)
    assert len(said) < 400


@pytest.mark.parametrize("body", [body for name, body in HOSTILE.items() if name not in ("deep objects",)])
def test_no_hostile_body_becomes_an_order(body: bytes) -> None:
    with pytest.raises(DecodeError, match="into Order: "):
        decoder_for(Order)(body, JSON)


@given(st.binary())
def test_whatever_bytes_arrive_a_decoder_raises_only_decode_errors(body: bytes) -> None:
    for wanted in (Order, Customer, str, Any, str | Order):
        for content_type in ("", TEXT, OCTETS):
            try:
                _DECODERS[wanted](body, content_type)
            except DecodeError:
                continue


_DECODERS: dict[Any, Callable[[bytes, str], Any]] = {
    wanted: decoder_for(wanted) for wanted in (Order, Customer, str, Any, str | Order)
}


@pytest.mark.parametrize(
    ("wanted", "body", "said"),
    [
        (Order, b"", r"^cannot decode the body \(0 bytes, application/json\) into Order: the body is empty$"),
        (Order, b'{"id":1}', r"Expected `str`, got `int` - at `\$\.id`"),
        (Node, b'{"child":' * 100_000, "nested too deeply"),
        (int, b"9" * 5000, "into int: Integer value out of range"),
        (Created | Cancelled, b'{"type":"Moved"}', r"Created \| .*Cancelled: Invalid value 'Moved'"),
        (str, b"\xff", "into str: 'utf-8' codec can't decode byte 0xff"),
        (Company, b"{}", r"Field required - at `\$\.name`, the first of 1 errors"),
        (Picky, b'{"id":1}', "into .*Picky: one is taken"),
        (Picky, b'{"id":2}', "into .*Picky: KeyError: 'a bug'"),
    ],
)
def test_a_decode_error_names_the_type_and_the_reason(wanted: Any, body: bytes, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        decoder_for(wanted)(body, JSON)


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    id: int = 0


class StrictModel(pydantic.BaseModel, extra="forbid"):
    pass


@pytest.mark.parametrize("wanted", [Strict, StrictModel, Literal["a", "b"], Colour, Created | Cancelled])
def test_a_decode_error_quotes_little_of_the_data_and_no_control_characters(wanted: Any) -> None:
    long = "\\u0007\\n" + "k" * 5000
    bodies = [f'{{"{long}":1}}', f'{{"type":"{long}","id":1}}', f'"{long}"']
    for body in bodies:
        with pytest.raises(DecodeError) as caught:
            decoder_for(wanted)(body.encode(), "\r\n" + "z" * 5000)
        text = str(caught.value)
        assert text.isprintable()
        assert text.count("k") + text.count("z") < 300
        assert caught.value.__cause__ is None, "a traceback would show the whole body"


def test_a_fault_in_a_validator_of_the_users_keeps_its_traceback() -> None:
    with pytest.raises(DecodeError) as caught:
        decoder_for(Picky)(b'{"id":2}', JSON)
    assert isinstance(caught.value.__cause__, KeyError)


def test_running_out_of_memory_is_not_the_messages_fault() -> None:
    class Greedy(msgspec.Struct):
        def __post_init__(self) -> None:
            raise MemoryError

    with pytest.raises(MemoryError):
        decoder_for(Greedy)(b"{}", JSON)


class Opaque:
    """Nobody knows how to write or read one."""


class Holder(msgspec.Struct):
    part: list[Opaque]


class Mixed(msgspec.Struct):
    customer: Customer


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Opaque, "into Opaque: no way is known to read Opaque"),
        (Holder, "into Holder: no way is known to read Opaque"),
        (Mixed, "into Mixed: .*pydantic"),
        (complex, "complex"),
        (Callable[[int], int], "Callable"),
        (Order | Node, "tag"),
        (Order | Line, "dict-like"),
        ("Order", "'Order'"),
        (5, "5"),
    ],
)
def test_a_type_that_no_message_can_become_is_refused_when_its_decoder_is_made(wanted: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        decoder_for(wanted)
    assert "use a msgspec Struct, dataclass" in str(caught.value)


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Opaque(), "a value of Opaque: no way is known to write Opaque"),
        ({"a": Opaque()}, "a value of dict: no way is known to write Opaque"),
        (Order, "a value of .*Meta"),
        ({(1, 2): 3}, "to write tuple here"),
        ("\ud800", "a value of str: .*surrogates"),
        (CYCLE, "a value of list: it is nested too deeply"),
        (Company.model_construct(name=Opaque()), "Company: .*Opaque"),
    ],
)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_an_encode_error_names_the_type_and_what_is_supported(value: object, said: str) -> None:
    with pytest.raises(EncodeError, match=said) as caught:
        encode(value)
    assert "use a msgspec Struct, dataclass" in str(caught.value)


def test_a_decoder_costs_one_python_call_per_message() -> None:
    decode, body, calls = decoder_for(Order), b'{"id":"1"}', 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        decode(body, JSON)
    finally:
        sys.setprofile(None)
    assert calls == 1


def test_pydantic_is_not_imported_for_whoever_does_not_use_it() -> None:
    program = """
import sys, msgspec
from leveler.codec import Encoder, decoder_for
class Order(msgspec.Struct):
    id: str
assert decoder_for(Order)(Encoder()(Order("1")).body, "") == Order("1")
assert "pydantic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
