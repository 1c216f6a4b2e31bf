"""The ledger: append-only lines, written by each process to a file of its own before it goes on.

One ``write`` a line to a file opened for appending: what was written survives the death of the process (not of the
machine). Leveler's own counters are not in it, nor do they write it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

INTENT: Final = "intent"
ACKED: Final = "acked"
#: Not accepted, as far as the sender was told; the detail says why.
REFUSED: Final = "refused"
#: ... and that it may be queued all the same.
UNKNOWN: Final = "SendUnknown"
START: Final = "start"
EFFECT: Final = "effect"
#: The broker took the completion, as the worker was told.
COMPLETED: Final = "completed"
#: Another settlement begins: where it is made of a copy, the copy may be there before the worker is told.
SETTLING: Final = "settling"
#: The broker took another settlement, as the worker was told; the detail says which.
SETTLED: Final = "settled"
#: The worker was told that the broker did not take it, or that nobody knows.
UNSETTLED: Final = "unsettled"
#: The worker was told that the lease is lost.
GONE: Final = "gone"
#: The worker consumes.
READY: Final = "ready"
SIGNAL: Final = "signal"
DEAD: Final = "dead"
#: A fault strikes; its id is the process that it hits, or "broker", or "wire" for an operation on its way.
FAULT: Final = "fault"
#: After a fault of the broker's, or of the way to it, nothing is in the way any more.
BACK: Final = "back"
#: ... and nobody waits for an answer that will never come.
OVER: Final = "over"
#: ... but a client does, after all the time that it was given.
DEAF: Final = "deaf"
#: The worker said it loudly: an error in its log.
LOG: Final = "log"

#: The store of the fleet's rate has answered the worker; the detail says after how many seconds.
ANSWER: Final = "answer"
#: The worker keeps to its share of the fleet's rate from now on, and no longer.
ALONE: Final = "alone"
TOGETHER: Final = "together"


class Entry(NamedTuple):
    """One line."""

    at: float
    kind: str
    id: str
    detail: str
    process: str


class Ledger:
    """One process's part of it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = os.open(folder / f"{name}-{os.getpid()}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def write(self, kind: str, id: str, detail: str = "") -> None:
        os.write(self._file, f"{time.monotonic():.6f} {kind} {id} {detail}\n".encode())

    def write_many(self, kind: str, ids: list[str]) -> None:
        now = f"{time.monotonic():.6f}"
        os.write(self._file, "".join(f"{now} {kind} {id} \n" for id in ids).encode())


def read(folder: Path) -> list[Entry]:
    """All entries of all processes, in the order of their times (one machine, one monotonic clock)."""
    return sorted(_entries(folder), key=lambda entry: entry.at)


def _entries(folder: Path) -> Iterator[Entry]:
    for path in sorted(folder.glob("*.log")):
        for line in path.read_bytes().split(b"\n"):
            parts = line.decode().split(" ", 3)
            if len(parts) == 4:  # the last line of a killed process may be torn
                yield Entry(float(parts[0]), parts[1], parts[2], parts[3], path.stem)
