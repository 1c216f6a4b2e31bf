"""Spared: what is known to be wrong in leveler and waits for its repair. Seeds keep off it, so that they see the rest.

Each has its test in ``test_found.py``, which fails. When it passes, its name goes from here, and all seeds look at it.
"""

from __future__ import annotations

from typing import Final

#: A rate's token is taken, then the run waits at another gate: tokens gather, and their runs start at once.
GATHERED_TOKENS: Final = "gathered tokens"
#: Where leases cannot be extended, what has waited in the buffer starts with less lease than its timeout needs.
SHORT_LEASE: Final = "short lease"
#: A run may start on a lease that is over, if no sweep has noticed yet: after the process stood still.
ENDED_LEASE: Final = "ended lease"
#: Who waits for a limit when a stop or a quarantine begins may be let in until the flow has been stopped.
LATE_WAITER: Final = "late waiter"
#: A suspect that was parked before it was isolated starts like any other.
PARKED_SUSPECT: Final = "parked suspect"
#: A suspect that ends in the instant in which a stop gives up waiting for it breaks the stop, which never ends.
ENDLESS_STOP: Final = "endless stop"

ALL: Final = frozenset({GATHERED_TOKENS, SHORT_LEASE, ENDED_LEASE, LATE_WAITER, PARKED_SUSPECT, ENDLESS_STOP})
