"""Subject: a broker under test, running, and what can happen to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from tests.containers.find import Wish
from tests.faults.doubt import NO_DOUBT, Doubt


class Notes(Protocol):
    """What a fault tells while it happens."""

    def strike(self, where: Literal["broker", "wire"] = "broker") -> None:
        """Now: the broker is hit, or an operation on its way to it or from it."""
        ...

    def back(self) -> None:
        """Nothing is in the way any more: from now on there is no reason not to go on."""
        ...

    def deaf(self) -> None:
        """A client still waits for an answer that will never come, after all the time that it was given."""
        ...


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    name: str
    #: Makes it happen, and returns when it is over. One that finds no opportunity tells nothing.
    make: Callable[[Notes], None]
    #: About how long it takes.
    seconds: float = 1.0
    #: Whether accepted messages are gone with it, so that leveler can only say so. Such a fault must be asked for.
    loses: bool = False


@dataclass(frozen=True)
class Place:
    """Where a subject may be."""

    folder: Path
    #: How a server shall run.
    wish: Wish = "any"


@dataclass(frozen=True)
class Subject:
    """One broker."""

    name: str
    #: With its version, for reports.
    title: str
    #: For the processes under test.
    url: str
    #: For those who look on: past whatever stands in the way of the others.
    direct_url: str
    faults: Sequence[Fault] = field(default_factory=list[Fault])
    #: How long it runs in peace before the first fault.
    calm_seconds: float = 0.0
    #: Which settlements a fault may undo.
    doubt: Doubt = NO_DOUBT
    #: Of the queue; and how long a run may take, which is less where no lease can be extended.
    lease_seconds: float = 2.0
    timeout_seconds: float = 30.0
