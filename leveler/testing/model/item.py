"""Item, Hands and Hold: which messages there are, who receives them, and who has which."""

from __future__ import annotations

from dataclasses import dataclass, field

from leveler.adapter import Delivery
from leveler.message import Message
from leveler.testing.model.moment import Moment


@dataclass(eq=False)
class Item:
    """One accepted message, until it is done with. Where no duplicate is dropped, an id that was sent twice is two."""

    #: As it was last seen.
    message: Message
    #: Its place in the order in which messages were sent.
    place: int
    #: When it was sent.
    sent: Moment
    #: It may be delivered from `due.earliest` on, and from `due.latest` on it must be there.
    due: Moment
    #: What the next delivery says; where attempts are approximate, at least that. A dead letter has whichever number
    #: its first delivery says, for ever: None until then.
    attempt: int | None
    #: Whether it is one of the dead letters.
    dead: bool = False
    #: Whether the next delivery may be of a copy.
    copied: bool = False
    #: Whether it may be gone: it was purged while a receiver may have fetched it ahead.
    doubtful: bool = False
    #: Who has it; None while it waits.
    hold: Hold | None = None

    def is_held(self, at: Moment) -> bool:
        """For sure."""
        return self.hold is not None and at.is_before(self.hold.until)

    def put_back(self, due: Moment, *, counted: bool) -> None:
        """It waits again. A dead letter is never counted."""
        self.hold = None
        self.due = due
        if counted and not self.dead and self.attempt is not None:
            self.attempt += 1

    def __str__(self) -> str:
        return f"{self.message.id} {self.message.body!r}"


@dataclass(eq=False)
class Hands:
    """One receiver, as the model sees it."""

    name: str
    #: Whether it receives the dead letters.
    dead: bool
    capacity: int
    #: As `hold` said last.
    limit: int
    #: False from its `close` on.
    open: bool = True
    #: Every delivery that it got, the latest last.
    holds: list[Hold] = field(default_factory=list["Hold"])

    def unsettled(self) -> list[Hold]:
        """What it has, as far as the model knows."""
        return [hold for hold in self.holds if hold.current]

    def __str__(self) -> str:
        return self.name


@dataclass(eq=False)
class Hold:
    """One delivery in somebody's hands."""

    item: Item
    hands: Hands
    delivery: Delivery
    #: When its lease ends.
    until: float
    #: When it began.
    since: Moment
    #: Whether a verb of its own has ended it.
    settled: bool = False

    @property
    def current(self) -> bool:
        """Whether it still has the item: neither settled nor over."""
        return self.item.hold is self

    def __str__(self) -> str:
        return f"{self.item.message.id}#{self.delivery.attempt} in {self.hands}"
