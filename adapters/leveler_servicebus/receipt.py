"""Receipt: what Service Bus has to be told to settle a delivery."""

from __future__ import annotations

from typing import Any

import msgspec


class Receipt(msgspec.Struct, eq=False):
    """One delivery of one message."""

    #: The lock token, as the client library has it.
    token: Any
    sequence: int
    #: When its lock ends, on the monotonic clock.
    leased_until: float
    #: Whether it may be settled already: the answer to that was lost.
    in_doubt: bool = False
    #: Whether the copy that stands in for it has been sent.
    has_copy: bool = False
