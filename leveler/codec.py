"""Typed value <-> bytes. What a type needs is found out once, when its decoder is made, never per message.

    bytes, bytearray, memoryview      the body as it is         application/octet-stream
    str                               the body as UTF-8         text/plain; charset=utf-8
    Message                           nothing is decoded        its own
    pydantic models                   JSON, by pydantic         application/json
    everything else                   JSON, by msgspec          application/json
    Any, and unions with str, bytes   text as str, JSON as JSON, any other content type as bytes

Foreign producers often state no content type, or a wrong one. So it decides only where the type leaves a choice:
a handler that wants an `Order` gets one if the body is JSON of an `Order`, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    NewType,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from leveler.errors import ConfigError, DecodeError, EncodeError
from leveler.message import JSON_TYPE, Message, cut
from leveler.wording import printable

TEXT_TYPE: Final = "text/plain; charset=utf-8"
OCTET_TYPE: Final = "application/octet-stream"

#: Body and content type in, the handler's value out.
Decoder: TypeAlias = Callable[[bytes, str], Any]

_OCTETS: Final = (bytes, bytearray, memoryview)

_SUPPORTED: Final = (
    "use a msgspec Struct, dataclass, attrs class, TypedDict, NamedTuple, pydantic model, dict, list, str, bytes, "
    "number, date, enum, Any, Message, or a union of them (of classes: pydantic models, or Structs with tag=True)"
)

# Errors quote the data, which is somebody else's: enough of it to understand, too little to fill a log.
_MAX_QUOTE_BYTES: Final = 200


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """A value as a message carries it."""

    body: bytes
    content_type: str
    #: The name of the value's class, ``dict`` included: what the message's type is unless its sender chooses another.
    type: str


class Encoder:
    """Encodes values. What a class needs is found out when the first of it comes."""

    def __init__(self) -> None:
        self._kinds: dict[type, _Kind] = {}

    def __call__(self, value: object) -> Encoded:
        """`value` as bytes. A `Message` gives its own body, content type and type, to be sent on.

        Raises:
            EncodeError: it cannot be encoded; names its class and what is supported.
        """
        if isinstance(value, Message):
            return Encoded(value.body, value.content_type, value.type)
        kind = type(value)
        to_bytes, content_type, name = self._kinds.get(kind) or self._learn(kind)
        try:
            return Encoded(to_bytes(value), content_type, name)
        except MemoryError:
            raise
        except Exception as error:
            raise EncodeError(f"cannot encode a value of {_called(kind)}: {_reason(error)}; {_SUPPORTED}") from error

    def _learn(self, kind: type) -> _Kind:
        if kind is str:
            known = _Kind(str.encode, TEXT_TYPE, type_name(kind))
        elif kind in _OCTETS:
            known = _Kind(bytes, OCTET_TYPE, type_name(kind))
        elif "__pydantic_serializer__" in kind.__dict__:
            known = _Kind(lambda value: bytes(_model_to_json(value)), JSON_TYPE, type_name(kind))
        else:
            known = _Kind(msgspec.json.Encoder(enc_hook=_model_to_json).encode, JSON_TYPE, type_name(kind))
        self._kinds[kind] = known
        return known


class _Kind(NamedTuple):
    """How values of one class become messages."""

    to_bytes: Callable[[Any], bytes]
    content_type: str
    type: str


def type_name(kind: type) -> str:
    """What messages of this class are called by default: its name, without type parameters."""
    return kind.__name__.partition("[")[0]


def decoder_for(wanted: Any) -> Decoder:
    """The decoder for a handler that asks for `wanted`, compiled. It raises nothing but `DecodeError`.

    The one for `Message` gives the body back: who wants the envelope is handed that.

    Raises:
        ConfigError: no message can become this type; says why and what is supported.
    """
    if wanted is Message:
        return lambda body, content_type: body
    wanted = Any if wanted is object else wanted
    try:
        from_json, from_value = _pydantic(wanted) if _holds_a_model(wanted) else _msgspec(wanted)
    except Exception as error:
        raise ConfigError(f"cannot decode messages into {_called(wanted)}: {_reason(error)}; {_SUPPORTED}") from error
    members = list(_members(wanted))
    json = _guarded(wanted, from_json)
    text = _guarded(wanted, lambda body: from_value(body.decode())) if {Any, str} & {*members} else None
    octets = _guarded(wanted, from_value) if {Any, *_OCTETS} & {*members} else None
    if len(members) == 1 and wanted is not Any:
        return text or octets or json
    return _by_content_type(text, octets, json) if text or octets else json


def _guarded(wanted: Any, convert: Callable[[bytes], Any]) -> Decoder:
    def decode(body: bytes, content_type: str) -> Any:
        try:
            return convert(body)
        except MemoryError:  # this process is at fault, not the message
            raise
        except Exception as error:
            # A fault in the user's validator keeps its traceback. A finding says no more than our text does, but
            # may quote the whole body.
            cause = None if isinstance(error, ValueError) else error
            raise _undecodable(wanted, body, content_type, error) from cause

    return decode


def _by_content_type(text: Decoder | None, octets: Decoder | None, json: Decoder) -> Decoder:
    def decode(body: bytes, content_type: str) -> Any:
        media_type = content_type.partition(";")[0].strip().lower()
        if text and media_type.startswith("text/"):
            return text(body, content_type)
        if octets and media_type and not media_type.endswith("json"):
            return octets(body, content_type)
        return json(body, content_type)

    return decode


def _msgspec(wanted: Any) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    decode = msgspec.json.Decoder(wanted).decode
    for part in _walk(msgspec.inspect.type_info(wanted), _fields):
        if isinstance(part, msgspec.inspect.CustomType):
            raise TypeError(f"no way is known to read {_called(part.cls)}")
    return decode, partial(msgspec.convert, type=wanted)


def _pydantic(wanted: Any) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    from pydantic import TypeAdapter  # whoever has a model has it

    adapter = TypeAdapter(wanted)
    return adapter.validate_json, adapter.validate_python


def _holds_a_model(wanted: Any) -> bool:
    return any(_is_pydantic(part) for part in _walk(wanted, _hints))


def _is_pydantic(part: Any) -> bool:
    package = str(getattr(part, "__module__", "")).partition(".")[0]
    return hasattr(part, "__pydantic_validator__") or package == "pydantic"


def _members(wanted: Any) -> Iterator[Any]:
    """What stands at the top of `wanted`: the members of a union; aliases, constraints and literals resolved."""
    origin = get_origin(wanted)
    if origin in (Union, UnionType):
        for member in get_args(wanted):
            yield from _members(member)
    elif origin is Annotated:
        yield from _members(get_args(wanted)[0])
    elif origin is Literal:
        yield from (type(value) for value in get_args(wanted))
    elif isinstance(wanted, NewType):
        yield from _members(wanted.__supertype__)
    else:
        yield wanted


def _hints(part: Any) -> Iterable[Any]:
    yield get_origin(part)
    yield from get_args(part)
    if isinstance(part, type):
        try:
            yield from get_type_hints(part, include_extras=True).values()
        except (NameError, TypeError):  # whoever compiles the type will say it better
            return


def _fields(part: Any) -> Iterable[Any]:
    if isinstance(part, tuple):
        return part
    return msgspec.structs.astuple(part) if isinstance(part, msgspec.Struct) else ()


def _walk(root: Any, parts: Callable[[Any], Iterable[Any]]) -> Iterator[Any]:
    """`root` and all its parts, each once: types may hold themselves."""
    seen, todo = {}, [root]
    while todo:
        part = todo.pop()
        if id(part) not in seen:
            seen[id(part)] = part
            yield part
            todo.extend(parts(part))


def _model_to_json(value: Any) -> msgspec.Raw:
    """pydantic models write themselves, alone and inside of what msgspec writes."""
    serializer = getattr(type(value), "__pydantic_serializer__", None)
    if serializer is None:
        raise TypeError(f"no way is known to write {_called(type(value))} here")
    return msgspec.Raw(serializer.to_json(value, by_alias=True))  # by the names that it is read by


def _undecodable(wanted: Any, body: bytes, content_type: str, error: Exception) -> DecodeError:
    reason = _reason(error) if body else "the body is empty"
    kind = _quoted(content_type[:40]) or "no content type"
    return DecodeError(f"cannot decode the body ({len(body)} bytes, {kind}) into {_called(wanted)}: {reason}")


def _reason(error: Any) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if hasattr(error, "error_count"):  # pydantic
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(("$", *map(str, first["loc"])))
        return _quoted(f"{first['msg']} - at `{place}`, the first of {error.error_count()} errors")
    expected = isinstance(error, (ValueError, TypeError))
    return _quoted(str(error) if expected else f"{type(error).__name__}: {error}")


def _quoted(text: str) -> str:
    return cut(printable(text[:_MAX_QUOTE_BYTES]), _MAX_QUOTE_BYTES)


def _called(wanted: Any) -> str:
    return wanted.__qualname__ if isinstance(wanted, type) else str(wanted).replace("typing.", "")
