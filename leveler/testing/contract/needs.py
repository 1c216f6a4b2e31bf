"""What a case may need. The names are those of `leveler.adapter.Capabilities`, as a report prints them."""

from __future__ import annotations

from typing import Final

from leveler.testing.contract.case import Need

EXTEND: Final = Need("extend", lambda t: t.can.extend)
ORDERING: Final = Need("ordering", lambda t: t.can.ordering)
DEDUP: Final = Need("dedup", lambda t: t.can.dedup_seconds > 0)
DELAY: Final = Need("delay", lambda t: t.can.max_delay_seconds >= t.delay)
ABANDON_DELAY: Final = Need("abandon delay", lambda t: t.can.max_abandon_seconds >= t.delay)
PRIORITY: Final = Need("priority", lambda t: t.can.priority_levels > 1)
PEEK: Final = Need("peek", lambda t: t.can.peek)
DEPTH: Final = Need("depth", lambda t: t.can.depth != "none")
UNCOUNTED: Final = Need("uncounted", lambda t: t.can.uncounted != "none")
MARKS: Final = Need("marks of starts alone", lambda t: t.can.solos == "marked")
CONCURRENT_VERBS: Final = Need("concurrent verbs", lambda t: t.can.concurrent_verbs)
BOUNDS_BYTES: Final = Need("bounds bytes", lambda t: t.can.bounds_bytes)
RATES: Final = Need("rates", lambda t: t.adapter.keeps_rates)
BATCHES: Final = Need("batches", lambda t: t.can.max_batch > 1)

#: The lease ends with time alone, whoever holds the connection.
TIMED_LEASE: Final = Need("timed lease", lambda t: t.can.lease == "timed")
#: The lease ends with the connection.
CONNECTION_LEASE: Final = Need("connection lease", lambda t: t.can.lease == "connection")

#: The broker can be reached by a second connection, as another process would.
SHARED: Final = Need("a second connection", lambda t: t.can.scope != "process")

#: A limit that a test can reach without filling this machine's memory.
REACHABLE_SIZE: Final = Need("a size limit up to 32 MiB", lambda t: t.can.max_message_bytes <= 32 * 1024 * 1024)

#: Minutes and hours pass at once.
VIRTUAL_TIME: Final = Need("virtual time", lambda t: t.pace.virtual)
