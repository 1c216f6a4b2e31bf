"""Topology: the queue of a `QueueSpec` and its dead letters, as leveler makes them, and what of others it can use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from leveler.adapter import QueueSpec
from leveler.errors import ConfigError
from leveler_rabbitmq.errors import PRECONDITION_FAILED, ChannelClosed

Arguments = dict[str, str | int | bool]

#: "Never" in every version: without a limit RabbitMQ 4 ends a message after 20 deliveries, and -1, which means never
#: there, means "at once" below 4.0.
UNLIMITED: Final = 1_000_000_000
_DEFAULT_LIMIT: Final = 20

#: One argument after the other may differ.
MOST_DIFFERENCES: Final = 20

_VALUE: Final = r"(?:none|(?:the value )?'(?P<{0}>.*?)'(?: of type '(?P<{0}_type>\w+)')?)"
_INEQUIVALENT: Final = re.compile(
    r"inequivalent arg '(?P<name>[^']+)' for .*: received " + _VALUE.format("wanted") + r" but current is "
    + _VALUE.format("current") + r"\s*$", re.DOTALL
)  # fmt: skip

#: What would take messages away, or keep them from us, and how.
_HARMFUL: Final = {
    "x-message-ttl": "it throws away what has waited so many milliseconds",
    "x-expires": "it deletes the queue when nobody has used it for so many milliseconds",
    "x-single-active-consumer": "it lets one consumer of one worker have messages at a time",
    "x-max-length": "it bounds the queue",
    "x-max-length-bytes": "it bounds the queue",
    "x-overflow": "it says what happens at the bound",
    "durable": "only a durable queue survives the end of the broker",
    "auto_delete": "it would go with its last consumer",
    "exclusive": "it belongs to one connection",
}


class Difference(NamedTuple):
    """A setting that a queue has and is not as we would have made it."""

    name: str
    wanted: str | None
    current: str | None
    #: As a value for the declaration of a queue; None = not set.
    value: str | int | bool | None


def arguments_of(queue: QueueSpec, *, dead: bool = False) -> Arguments:
    found: Arguments = {"x-queue-type": "quorum", "x-delivery-limit": UNLIMITED}
    if queue.max_depth is not None and not dead:
        found |= {"x-max-length": queue.max_depth, "x-overflow": "reject-publish"}
    return found


def difference_of(error: ChannelClosed) -> Difference | None:
    """What the broker has found different; None where it complains about something else."""
    found = _INEQUIVALENT.search(error.text) if error.code == PRECONDITION_FAILED else None
    if found is None:
        return None
    current = found["current"]
    return Difference(found["name"], found["wanted"], current, _typed(current, found["current_type"] or ""))


def reconcile(queue: QueueSpec, name: str, found: Difference, version: tuple[int, ...]) -> None:
    """Return if leveler can do with that difference.

    Raises:
        ConfigError: it cannot; names the setting and both values.
    """
    current = "not set" if found.current is None else found.current
    if found.name == "x-queue-type":
        kind = "classic" if found.current is None else found.current
        raise ConfigError(
            f"queue {name!r} is a {kind} queue, and leveler needs a quorum queue (x-queue-type): it is the only kind "
            "that counts deliveries; drain and delete it, or choose another name"
        )
    if found.name == "x-delivery-limit":
        _check_limit(queue, name, found, version)
    elif found.name in _HARMFUL:
        wanted = "not set" if found.wanted is None else found.wanted
        raise ConfigError(
            f"queue {name!r}: {found.name} is {current} and should be {wanted}: {_HARMFUL[found.name]}; drain and "
            "delete the queue and let it be created again, or correct the configuration"
        )


def version_of(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _check_limit(queue: QueueSpec, name: str, found: Difference, version: tuple[int, ...]) -> None:
    limit = _limit(found.current, version)
    dead = name == queue.dead_name
    least = UNLIMITED if dead else queue.max_deliveries
    if limit is not None and limit < least:
        why = "each look at a dead letter counts" if dead else f"max_deliveries is {queue.max_deliveries}"
        told = f"{limit}, the server's default" if found.current is None else f"{limit}"
        raise ConfigError(
            f"queue {name!r}: x-delivery-limit is {told}, after which the broker drops the message, but {why}: drain "
            "and delete the queue and let it be created again" + ("" if dead else ", or lower max_deliveries")
        )


def _limit(current: str | None, version: tuple[int, ...]) -> int | None:
    """None = there is none."""
    if current is None:
        return _DEFAULT_LIMIT if version >= (4,) else None
    limit = int(current)
    return None if limit < 0 and version >= (4,) else max(limit, 0)


def _typed(text: str | None, kind: str) -> str | int | bool | None:
    if text is None:
        return None
    if kind == "bool" or text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"-?\d+", text) and kind != "longstr" else text


def adopt(arguments: Mapping[str, str | int | bool], found: Difference) -> Arguments:
    """The arguments with that one as the queue has it, to see whether there are more differences."""
    adopted = {name: value for name, value in arguments.items() if name != found.name}
    return adopted if found.value is None else {**adopted, found.name: found.value}
