"""Receipt: what SQS has to be told to settle a delivery."""

from __future__ import annotations

import msgspec


class Receipt(msgspec.Struct, eq=False, gc=False):  # nothing in it refers back
    """One delivery of one message."""

    #: What SQS knows it by.
    handle: str
    #: When it came. SQS keeps nothing from others for longer than 12 hours from then.
    received_at: float
    #: When its lease ends, on the monotonic clock.
    leased_until: float
    #: Whether the copy that stands in for it is sent, so that only this one has to go.
    is_replaced: bool = False
    #: Whether it was to be deleted and no answer came.
    is_doubtful: bool = False
