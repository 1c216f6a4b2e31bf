"""The cases, one module for each topic, in the order of a message's way."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from leveler.testing.contract.case import Case
from leveler.testing.contract.cases import (
    attempts,
    batch,
    claims,
    close,
    concurrency,
    content,
    copies,
    deadletter,
    delay,
    depth,
    flow,
    lease,
    ordering,
    peek,
    priority,
    queues,
    rates,
    receive,
    send,
    solos,
)

TOPICS: Final[tuple[ModuleType, ...]] = (
    queues,
    claims,
    send,
    content,
    receive,
    lease,
    attempts,
    solos,
    delay,
    ordering,
    priority,
    flow,
    batch,
    deadletter,
    copies,
    concurrency,
    depth,
    peek,
    rates,
    close,
)


def cases(only: str = "") -> list[Case]:
    """Every case, or those whose id (``topic-name``) contains `only`."""
    found = [value for topic in TOPICS for value in vars(topic).values() if isinstance(value, Case)]
    return [case for case in found if only in case.id]
