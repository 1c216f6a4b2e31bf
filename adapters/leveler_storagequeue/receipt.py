"""Receipt: what Storage Queue has to be told to settle a delivery."""

from __future__ import annotations

import msgspec

from leveler_storagequeue.letter import Returned


class Receipt(msgspec.Struct, eq=False):
    """One delivery of one message."""

    #: The service's id of it.
    id: str
    #: Shows that the lease is ours; every update brings another.
    pop_receipt: str
    #: How often it has been handed out, this time included.
    dequeue_count: int
    returned: Returned
    #: When its lease ends, on the monotonic clock: a little earlier than at the service.
    leased_until: float
    #: Whether it may be deleted already: the answer to that was lost.
    perhaps_gone: bool = False
    #: Whether its dead letter is there already.
    has_copy: bool = False
