"""Giving back: which way a delivery goes. Pure."""

from __future__ import annotations

import math
from datetime import datetime

from leveler.adapter import Abandon, Delivery
from leveler.errors import Unsupported
from leveler.message import Message
from leveler_sqs.policy import LONGEST_LEASE_SECONDS

#: Seconds for which it is hidden from now on, or the copy that stands in for it.
Way = int | Message


def way_back(item: Abandon, now: datetime, *, held_seconds: float, fifo: bool, dead: bool) -> Way:
    """
    Args:
        item: what is to go back.
        now: on the wall clock.
        held_seconds: how long ago it was received.
        fifo: a copy would go to the end of its group.
        dead: attempts are not counted.

    Raises:
        Unsupported: there is none.
    """
    if not item.counted and not dead:
        if fifo:
            raise Unsupported(
                f"{item.delivery}: a FIFO queue of SQS cannot give back without counting; keep it or count it"
            )
        return item.copy(now)
    seconds = math.ceil(item.delay_seconds)
    most = math.floor(LONGEST_LEASE_SECONDS - held_seconds)
    if seconds <= most or fifo or dead:  # earlier than asked is better than an error that comes again and again
        return max(0, min(seconds, most))
    return item.copy(now)


def unseen(delivery: Delivery) -> Message:
    """The copy of what was fetched and not handed out: its count and its delay are what they were."""
    message = delivery.message
    return message.copy(attempts=delivery.attempt - 1, not_before=message.not_before, failed_at=message.failed_at)
