"""What a link connects: addresses, filters, errors and outcomes as they stand in performatives."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from leveler_servicebus.emulator.amqp.encoder import encode
from leveler_servicebus.emulator.amqp.performatives import Outcome
from leveler_servicebus.emulator.amqp.values import Described, Encoded, Symbol, UInt, ULong
from leveler_servicebus.emulator.signature import path_of

SESSION_FILTER: Final = Symbol("com.microsoft:session-filter")
LOCKED_UNTIL: Final = Symbol("com.microsoft:locked-until-utc")
#: How much fits into a batch; without it, clients take 256 KiB for granted.
MOST_BATCH_BYTES: Final = Symbol("com.microsoft:max-message-batch-size")
OPERATION_TIMEOUT: Final = Symbol("com.microsoft:timeout")
DEAD_LETTER: Final = Symbol("com.microsoft:dead-letter")

CBS: Final = "$cbs"
MANAGEMENT: Final = "/$management"

_SOURCE, _TARGET, _ERROR = ULong(0x28), ULong(0x29), ULong(0x1D)
_COORDINATOR: Final = 0x30
_FILTER_FIELD: Final = 7


class Address(NamedTuple):
    """Where a link leads: a node, and whether that is the management of an entity."""

    entity: str
    management: bool

    @classmethod
    def of(cls, text: str) -> Address:
        path = path_of(text)
        if path.endswith(MANAGEMENT):
            return cls(path.removesuffix(MANAGEMENT), True)
        return cls(path, False)


def address(terminus: Any) -> str:
    """The address of a source or target; empty if it has none."""
    fields = terminus.value if isinstance(terminus, Described) else terminus
    found = fields[0] if fields else None
    return found if isinstance(found, str) else ""


def is_coordinator(target: Any) -> bool:
    """Whether the client wants to speak about transactions."""
    return isinstance(target, Described) and target.descriptor in (_COORDINATOR, "amqp:coordinator:list")


def wanted_session(source: Any) -> tuple[bool, str | None]:
    """Whether a session is asked for, and which; None: the next one that is free."""
    fields = source.value if isinstance(source, Described) else []
    filters = fields[_FILTER_FIELD] if len(fields) > _FILTER_FIELD else None
    if not isinstance(filters, dict) or SESSION_FILTER not in filters:
        return False, None
    wanted = filters[SESSION_FILTER]
    value = wanted.value if isinstance(wanted, Described) else wanted
    return True, value


def source(node: str, filters: dict[Any, Any] | None = None) -> Described:
    """A source with all its fields: clients count them."""
    return Described(_SOURCE, [node, UInt(0), None, UInt(0), False, None, None, filters, None, None, None])


def target(node: str | None) -> Described:
    return Described(_TARGET, [node, UInt(0), None, UInt(0), False, None, None])


def error(condition: str, description: str) -> Described:
    """With an info map that is not empty: the client's callback dies on an error of two fields."""
    info = {Symbol("source"): "leveler emulate servicebus"}
    return Described(_ERROR, [Symbol(condition), description, info])


ACCEPTED: Final = Encoded(encode(Described(ULong(Outcome.ACCEPTED), [])))
RELEASED: Final = Encoded(encode(Described(ULong(Outcome.RELEASED), [])))
REJECTED: Final = Encoded(encode(Described(ULong(Outcome.REJECTED), [])))


def rejected(condition: str, description: str) -> Encoded:
    return Encoded(encode(Described(ULong(Outcome.REJECTED), [error(condition, description)])))


def modified(*, failed: bool, undeliverable_here: bool) -> Encoded:
    return Encoded(encode(Described(ULong(Outcome.MODIFIED), [failed, undeliverable_here])))
