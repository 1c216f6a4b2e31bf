"""Reference: one queue and its dead letters as they must be, whoever implements them.

Plain data and decisions: no clock, no I/O, and nothing of an adapter but what it declared. It is told what was done,
when, and what came of it, and raises `Violation` for what may not be. Where the contract leaves freedom it expects
nothing in particular, and takes over what it is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from leveler.adapter import Abandon, Capabilities, DeadLetter, Delivery, QueueSpec
from leveler.errors import LeaseLost, LevelerError, ReceiverLost, Unsupported
from leveler.message import Message
from leveler.testing.model.item import Hands, Hold, Item
from leveler.testing.model.moment import TOLERANCE_SECONDS, Moment
from leveler.testing.model.seen import Seen
from leveler.testing.model.terms import Terms
from leveler.testing.model.violation import Violation, check


class Reference:
    """
    Args:
        queue: as it was declared.
        can: what the adapter said about it.
        grace_seconds: how late a healthy broker may be; 0 = not at all, and nothing is fetched ahead.
    """

    def __init__(self, queue: QueueSpec, can: Capabilities, grace_seconds: float) -> None:
        self.terms = Terms(queue, can, grace_seconds)
        self.can = can
        #: Every message that is there, the dead letters included.
        self.items: list[Item] = []
        self._sent = 0
        self._seen = Seen(can.dedup_seconds)
        self._gone: dict[bytes, str] = {}
        self._copied: set[str] = set()

    # -- in

    def sent(self, message: Message, delay_seconds: float, at: Moment) -> None:
        """It was accepted: kept, or dropped if it is a duplicate."""
        if self._seen.is_duplicate(message, at):
            self._gone.setdefault(message.body, "was dropped as a duplicate")
        else:
            self._sent += 1
            due = self.terms.delayed(min(delay_seconds, self.can.max_delay_seconds), at)
            self.items.append(Item(message, self._sent, at, due, message.attempts + 1))
        self._seen.remember(message, at)

    def is_certain(self, message: Message, at: Moment) -> bool:
        """Whether one can say what becomes of `message`, which was sent before, if it is sent again.

        While its key is remembered, yes; and when that is forgotten, if there never was a copy of the first: those of
        the second would have the same keys, and some of those may be remembered still.
        """
        if not self.can.dedup_seconds or self._seen.is_duplicate(message, at):
            return True
        left = any(item.message.id == message.id for item in self.items)
        return self._seen.is_forgotten(message, at) and not left and message.id not in self._copied

    # -- out

    def delivered(self, hands: Hands, deliveries: Sequence[Delivery], at: Moment, limit: int) -> list[Hold]:
        """These came, in this order, to a receiver that may hold `limit`."""
        self.catch_up(at)
        room = max(0, limit - sum(hold.item.is_held(at) for hold in hands.unsettled()))
        check(len(deliveries) <= room, f"too many: {len(deliveries)} came to {hands}, which has room for {room}")
        came: list[Item] = []
        for delivery in deliveries:
            item = self._identify(hands, delivery, at)
            if item.hold is not None:
                self._lapse(item)
            self.terms.check_delivery(item, delivery, at)
            self.terms.check_order(item, self._others_of_key(item), came, at)
            self._hand_over(item, hands, delivery, at)
            came.append(item)
        return [item.hold for item in came if item.hold is not None]

    def available(self, hands: Hands, at: Moment) -> Item | None:
        """A message that must come if `hands` asks for one; None if none must."""
        self.catch_up(at)
        if not hands.open or len(hands.unsettled()) >= hands.limit:
            return None
        return next((item for item in self.items if item.dead == hands.dead and self._must_come(item, at)), None)

    def next_due(self, now: float) -> float | None:
        """When something will happen by itself: a lease ends, or a delay."""
        moments = [item.hold.until if item.hold else item.due.latest for item in self.items]
        return min((moment for moment in moments if now < moment < math.inf), default=None)

    def is_undecided(self, at: Moment) -> bool:
        """Whether something is about to happen by itself, or has just happened."""
        due = self.next_due(at.earliest)
        return due is not None and due <= at.latest

    # -- settlements: each is told what the adapter said about its item, None where that was nothing

    def completed(self, hold: Hold, error: LevelerError | None, at: Moment) -> None:
        if self._took(hold, error, at):
            hold.settled = True
            self._remove(hold.item, f"was completed by {hold.hands}")

    def abandoned(self, hold: Hold, given: Abandon, error: LevelerError | None, at: Moment) -> None:
        must_count = self.can.uncounted == "none" and not hold.item.dead
        if must_count and not given.counted and isinstance(error, Unsupported):
            return
        if self._took(hold, error, at):
            due = self.terms.delayed(given.delay_seconds, at)
            hold.item.put_back(due, counted=given.counted or must_count)
            hold.settled = True
            self._copy(hold.item)

    def dead_lettered(self, hold: Hold, given: DeadLetter, error: LevelerError | None, at: Moment) -> None:
        if hold.item.dead:
            self._died_again(hold, error, at)
        elif self._took(hold, error, at):
            hold.settled = True
            self._bury(hold.item, given, at)

    def extended(self, hold: Hold, error: LevelerError | None, at: Moment) -> None:
        if not self.can.extend:
            right = isinstance(error, Unsupported | ReceiverLost | (Unsupported if hold.current else LeaseLost))
            check(right, f"extend is not claimed, and {hold}: {error!r} where Unsupported is due")
        elif self._took(hold, error, at):
            hold.until = self.terms.lease_end(hold.delivery, at)

    def closed(self, hands: Hands, at: Moment) -> None:
        """What it held comes back as after a crash: counted, and if the lease was the connection's, at once."""
        self.catch_up(at)
        if self.can.lease == "timed":
            return
        for hold in hands.unsettled():
            due = self.terms.at_once(at)
            if self.can.lease == "request":
                due = Moment(due.earliest, max(due.latest, hold.until + self.terms.grace_seconds))
            hold.item.put_back(due, counted=True)

    # -- the rest

    def purged(self, dead: bool, count: int | None, at: Moment) -> None:
        """What waited is gone, but for what a receiver may have fetched ahead."""
        self.catch_up(at)
        waiting = [item for item in self.items if item.dead == dead and not item.is_held(at)]
        surely = sum(item.hold is None and not item.doubtful for item in waiting)
        if count is not None and self.terms.strict:
            check(surely <= count <= len(waiting), f"purged: {count} of {surely} to {len(waiting)} that waited")
        for item in waiting:
            if self.terms.strict and item.hold is None:
                self._remove(item, "was purged")
            else:
                item.doubtful = True

    def lost(self) -> list[Item]:
        """What must be there. After a complete drain: nothing."""
        return [item for item in self.items if not item.doubtful]

    def catch_up(self, at: Moment) -> None:
        """Leases that are over by now have ended."""
        for item in self.items:
            if item.hold is not None and at.is_past(item.hold.until):
                self._lapse(item)

    def is_blocked(self, item: Item) -> bool:
        """Whether another of its key comes first, or is in somebody's hands."""
        return any(other.place < item.place or other.hold is not None for other in self._others_of_key(item))

    # -- inside

    def _identify(self, hands: Hands, delivery: Delivery, at: Moment) -> Item:
        """Which item came. No two have the same body, but for a replay whose dead letter is there still."""
        message = delivery.message
        same = [item for item in self.items if item.message.body == message.body and item.message.id == message.id]
        here = [item for item in same if item.dead == hands.dead]
        if not here:
            fate = "is in the other queue" if same else self._gone.get(message.body, "was never sent")
            raise Violation(f"phantom: {message.id} {message.body!r} came to {hands}, and it {fate}")
        free = [item for item in here if not item.is_held(at)]
        if not free:
            raise Violation(f"held twice: {here[0]} came to {hands} by {at.latest:.3f}, and {here[0].hold} is held")
        fitting = [item for item in free if item.attempt is not None and item.attempt <= delivery.attempt]
        return max(fitting or free, key=lambda item: item.attempt or 0)

    def _hand_over(self, item: Item, hands: Hands, delivery: Delivery, at: Moment) -> None:
        item.message = delivery.message
        item.attempt = delivery.attempt
        item.copied = item.doubtful = False
        item.hold = Hold(item, hands, delivery, self.terms.lease_end(delivery, at), at)
        hands.holds.append(item.hold)

    def _took(self, hold: Hold, error: LevelerError | None, at: Moment) -> bool:
        """Whether a settlement was done."""
        self.catch_up(at)
        effect = self.terms.effect(hold, error, at)
        if effect == "over":
            self._lapse(hold.item)
        return effect == "done"

    def _died_again(self, hold: Hold, error: LevelerError | None, at: Moment) -> None:
        """Refused, or left where it is: held as before, or back at once."""
        if error is None and self._took(hold, error, at):
            hold.settled = True
            hold.item.put_back(Moment(at.earliest, hold.until + self.terms.grace_seconds), counted=False)

    def _lapse(self, item: Item) -> None:
        """Its lease has ended by itself."""
        assert item.hold is not None
        until = item.hold.until
        item.put_back(Moment(until - TOLERANCE_SECONDS, until + self.terms.grace_seconds), counted=True)

    def _bury(self, item: Item, given: DeadLetter, at: Moment) -> None:
        """It is a dead letter, perhaps a copy of what it was."""
        generation = item.message.generation
        item.message = msgspec.structs.replace(item.message.dead(given.death), generation=generation)
        self._copy(item)
        item.dead = True
        item.hold = item.attempt = None
        item.due = self.terms.at_once(at)

    def _copy(self, item: Item) -> None:
        """From now on a copy of it may stand in its place."""
        item.copied = True
        self._copied.add(item.message.id)

    def _remove(self, item: Item, fate: str) -> None:
        item.hold = None
        self.items.remove(item)
        self._gone[item.message.body] = fate

    def _must_come(self, item: Item, at: Moment) -> bool:
        waits = item.hold is None and not item.doubtful
        return waits and at.is_past(item.due.latest) and not self.is_blocked(item)

    def _others_of_key(self, item: Item) -> list[Item]:
        if not self.terms.is_in_line(item):
            return []
        return [
            other
            for other in self.items
            if other.message.key == item.message.key and not (other is item or other.dead or other.doubtful)
        ]
