"""Timeline: the one time that all processes on the file agree on.

It runs with the host's monotonic clock, so that nobody who sets the wall clock ends or prolongs a lease. What it starts
from, the wall clock of the first process after a boot, stands in the file: delays go on where a reboot cut them off.
"""

from __future__ import annotations

from pathlib import Path
from sqlite3 import Connection
from typing import Final

from leveler.clock import Clock

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

#: A timer may fire this much early, and floating point may be wrong by as much: what is due by then is due.
TOLERANCE_SECONDS: Final = 1e-5


class Timeline:
    """`Clock.monotonic` moved by a constant.

    Args:
        clock: of this process.
        start: what the timeline showed when the monotonic clock showed 0.
    """

    def __init__(self, clock: Clock, start: float) -> None:
        self._clock = clock
        self._start = start

    def look(self) -> tuple[float, float]:
        """What it is now: on the monotonic clock, and on the timeline."""
        at = self._clock.monotonic()
        return at, at + self._start

    def wall(self) -> float:
        """The wall clock, as a Unix time: for people, never for a decision."""
        return self._clock.now().timestamp()

    def monotonic(self, moment: float) -> float:
        """A moment of the timeline on this process's monotonic clock."""
        return moment - self._start


def join(connection: Connection, clock: Clock) -> Timeline:
    """The timeline of the file, begun anew if the host has been booted since. In a write transaction."""
    boot = boot_id()
    row = connection.execute("SELECT boot, start FROM timeline").fetchone()
    if row is not None and row[0] == boot != "":
        return Timeline(clock, row[1])
    start = clock.now().timestamp() - clock.monotonic()
    connection.execute("DELETE FROM timeline")
    connection.execute("INSERT INTO timeline (boot, start) VALUES (?, ?)", (boot, start))
    if row is not None and boot:
        _end_leases(connection, start + clock.monotonic())
    return Timeline(clock, start)


def boot_id() -> str:
    """What differs from one boot to the next; empty where the system does not tell, and the wall clock has to do."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _end_leases(connection: Connection, now: float) -> None:
    """Whoever held one before the boot is gone."""
    connection.execute("UPDATE held SET due = ? WHERE token IS NOT NULL", (now - TOLERANCE_SECONDS,))
