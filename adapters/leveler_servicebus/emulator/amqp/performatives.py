"""What a frame says: a name, its fields in order. What is left out at the end is null; what is null is its default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from leveler_servicebus.emulator.amqp.decoder import decode
from leveler_servicebus.emulator.amqp.encoder import encode, encode_list, section
from leveler_servicebus.emulator.amqp.values import DecodeError, Described, Symbol


class Open(NamedTuple):
    container_id: Any = None
    hostname: Any = None
    max_frame_size: Any = None
    channel_max: Any = None
    idle_time_out: Any = None
    outgoing_locales: Any = None
    incoming_locales: Any = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: Any = None


class Begin(NamedTuple):
    remote_channel: Any = None
    next_outgoing_id: Any = None
    incoming_window: Any = None
    outgoing_window: Any = None
    handle_max: Any = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: Any = None


class Attach(NamedTuple):
    name: Any = None
    handle: Any = None
    role: Any = None
    snd_settle_mode: Any = None
    rcv_settle_mode: Any = None
    source: Any = None
    target: Any = None
    unsettled: Any = None
    incomplete_unsettled: Any = None
    initial_delivery_count: Any = None
    max_message_size: Any = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: Any = None


class Flow(NamedTuple):
    next_incoming_id: Any = None
    incoming_window: Any = None
    next_outgoing_id: Any = None
    outgoing_window: Any = None
    handle: Any = None
    delivery_count: Any = None
    link_credit: Any = None
    available: Any = None
    drain: Any = None
    echo: Any = None
    properties: Any = None


class Transfer(NamedTuple):
    handle: Any = None
    delivery_id: Any = None
    delivery_tag: Any = None
    message_format: Any = None
    settled: Any = None
    more: Any = None
    rcv_settle_mode: Any = None
    state: Any = None
    resume: Any = None
    aborted: Any = None
    batchable: Any = None


class Disposition(NamedTuple):
    role: Any = None
    first: Any = None
    last: Any = None
    settled: Any = None
    state: Any = None
    batchable: Any = None


class Detach(NamedTuple):
    handle: Any = None
    closed: Any = None
    error: Any = None


class End(NamedTuple):
    error: Any = None


class Close(NamedTuple):
    error: Any = None


class SaslMechanisms(NamedTuple):
    mechanisms: Any = None


class SaslInit(NamedTuple):
    mechanism: Any = None
    initial_response: Any = None
    hostname: Any = None


class SaslOutcome(NamedTuple):
    code: Any = None
    additional_data: Any = None


Performative: TypeAlias = (
    Open
    | Begin
    | Attach
    | Flow
    | Transfer
    | Disposition
    | Detach
    | End
    | Close
    | SaslMechanisms
    | SaslInit
    | SaslOutcome
)

_CODES: Final[Mapping[type[Any], int]] = {
    Open: 0x10,
    Begin: 0x11,
    Attach: 0x12,
    Flow: 0x13,
    Transfer: 0x14,
    Disposition: 0x15,
    Detach: 0x16,
    End: 0x17,
    Close: 0x18,
    SaslMechanisms: 0x40,
    SaslInit: 0x41,
    SaslOutcome: 0x44,
}
_NAMES: Final[Mapping[str, int]] = {
    "amqp:open:list": 0x10,
    "amqp:begin:list": 0x11,
    "amqp:attach:list": 0x12,
    "amqp:flow:list": 0x13,
    "amqp:transfer:list": 0x14,
    "amqp:disposition:list": 0x15,
    "amqp:detach:list": 0x16,
    "amqp:end:list": 0x17,
    "amqp:close:list": 0x18,
    "amqp:sasl-mechanisms:list": 0x40,
    "amqp:sasl-init:list": 0x41,
    "amqp:sasl-outcome:list": 0x44,
}
_KINDS: Final[Mapping[int, Any]] = {code: kind for kind, code in _CODES.items()}


def encode_performative(performative: Performative) -> bytes:
    """Its bytes, with every field: a client that counts fields finds them."""
    return section(_CODES[type(performative)], encode_list(map(encode, performative)))


def decode_performative(body: bytes) -> tuple[Any, int]:
    """The performative at the start of `body`, and where its payload starts.

    Raises:
        DecodeError: it is none.
    """
    value, at = decode(body)
    if not isinstance(value, Described) or not isinstance(value.value, list):
        raise DecodeError("a frame must start with a performative")
    code = _NAMES.get(value.descriptor, -1) if isinstance(value.descriptor, Symbol) else value.descriptor
    kind = _KINDS.get(code)
    if kind is None or len(value.value) > len(kind._fields):
        raise DecodeError(f"there is no performative {value.descriptor!r} of {len(value.value)} fields")
    return kind(*value.value), at


class Outcome:
    """The descriptors of what can become of a delivery."""

    RECEIVED: ClassVar = 0x23
    ACCEPTED: ClassVar = 0x24
    REJECTED: ClassVar = 0x25
    RELEASED: ClassVar = 0x26
    MODIFIED: ClassVar = 0x27
