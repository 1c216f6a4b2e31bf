"""Terms: what one queue has promised, and whether a single delivery or answer keeps to it. Nothing here changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from leveler.adapter import Capabilities, Delivery, QueueSpec
from leveler.errors import LeaseLost, LevelerError, ReceiverLost
from leveler.message import Message
from leveler.testing.model.item import Hold, Item
from leveler.testing.model.moment import Moment
from leveler.testing.model.violation import Violation, check

#: What a settlement did: what it was asked to; nothing; or nothing, and the lease turned out to be over.
Effect = Literal["done", "nothing", "over"]

#: What no broker may change, whichever way a message takes.
_KEPT: Final = (
    *("id", "body", "type", "source", "time", "content_type", "key", "headers", "priority"),
    *("expires_at", "traceparent", "replays", "death"),
)


@dataclass(frozen=True)
class Terms:
    queue: QueueSpec
    can: Capabilities
    #: How late a healthy broker may be. 0 = not at all, and nothing is fetched ahead.
    grace_seconds: float

    @property
    def strict(self) -> bool:
        return not self.grace_seconds

    @property
    def copies_unseen(self) -> bool:
        """What was fetched ahead and not handed out goes back uncounted: as a copy, where that is the only way."""
        return not self.strict and self.can.uncounted == "copy"

    # -- moments

    def at_once(self, at: Moment) -> Moment:
        """Whoever looks after the verb has answered finds it, as late as the broker may be."""
        return Moment(at.earliest, at.earliest + self.grace_seconds)

    def delayed(self, seconds: float, at: Moment) -> Moment:
        return at.after(seconds, late_seconds=self.grace_seconds) if seconds > 0 else self.at_once(at)

    def lease_end(self, delivery: Delivery, at: Moment) -> float:
        """What the delivery says, if that is the queue's full length from now."""
        due, until = at.after(self.queue.lease_seconds, late_seconds=self.grace_seconds), delivery.leased_until
        short = due.earliest - self.grace_seconds
        check(
            until >= short, f"too short: the lease of {delivery} ends at {until:.3f}, and not before {short:.3f} is due"
        )
        if self.can.lease == "timed":
            check(
                until <= due.latest, f"too long: the lease of {delivery} ends at {until:.3f}, not by {due.latest:.3f}"
            )
        return until

    # -- deliveries

    def check_delivery(self, item: Item, delivery: Delivery, at: Moment) -> None:
        """`item` may come now, and like this."""
        early = at.is_before(item.due.earliest)
        check(not early, f"too early: {item} came by {at.latest:.3f}, and is due at {item.due.earliest:.3f}")
        self._check_attempt(item, delivery)
        self.check_message(item, delivery.message)

    def check_message(self, item: Item, message: Message) -> None:
        """`message` is `item`, whole; a copy of it if it may be one."""
        changed = sorted(name for name in _KEPT if getattr(message, name) != getattr(item.message, name))
        check(not changed, f"changed: {', '.join(changed)} of {item}: {message}")
        more = message.generation - item.message.generation
        right = more >= 0 if self.copies_unseen else 0 <= more <= item.copied
        check(right, f"generation: {more} more than before of {item}: {message}")

    def _check_attempt(self, item: Item, delivery: Delivery) -> None:
        if item.attempt is None:
            return
        exact = self.can.attempts == "exact" or item.dead
        right = delivery.attempt == item.attempt if exact else delivery.attempt >= item.attempt
        least = "" if exact else "at least "
        check(right, f"attempt {delivery.attempt} of {item} came where {least}{item.attempt} is due")

    def is_in_line(self, item: Item) -> bool:
        """Whether it has to wait for others of its key."""
        return self.queue.ordered and item.message.key is not None and not item.dead

    def check_order(self, item: Item, others: Iterable[Item], came: Sequence[Item], at: Moment) -> None:
        """`item` may follow those that `came` in the same list; `others` are of its key."""
        for other in others:
            if other in came:
                check(other.place < item.place, f"order: {item} came behind {other}, which was sent later")
            else:
                check(other.place > item.place, f"order: {item} came before {other}, which was sent earlier")
                check(not other.is_held(at), f"order: {item} came while {other.hold} of the same key is held")

    # -- answers

    def effect(self, hold: Hold, error: LevelerError | None, at: Moment) -> Effect:
        """What a settlement did, from what it answered.

        Raises:
            Violation: it may not answer like that.
        """
        answer = f"{hold}, leased until {hold.until:.3f}, at {at.latest:.3f}: {error!r}"
        if not hold.hands.open:
            check(isinstance(error, ReceiverLost), f"a closed receiver: {answer} where ReceiverLost is due")
            return "nothing"
        if hold.settled:
            check(error is None or isinstance(error, LeaseLost), f"settled before: {answer}")
            return "nothing"
        if not hold.current:
            check(isinstance(error, LeaseLost), f"a stale holder: {answer} where LeaseLost is due")
            return "nothing"
        if isinstance(error, LeaseLost) and not hold.item.is_held(at):
            return "over"
        if error is not None:
            raise Violation(f"refused: {answer} where nothing stands against it")
        return "done"
