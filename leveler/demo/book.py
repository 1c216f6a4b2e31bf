"""The board's book, read as it grows: the ledger that the demo is judged by. The board wrote it, not leveler."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec


class Entry(msgspec.Struct):
    """One call of the board."""

    at: float
    id: str
    #: ``shown``, ``failed`` or ``refused``.
    what: str


class Book:
    """What the board has been called for so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0
        #: When each departure was called for first.
        self.called_at: dict[str, float] = {}
        #: When each departure was shown; once, however often it was called for.
        self.shown_at: dict[str, float] = {}
        #: How often each departure was tried: calls that were refused did not happen.
        self.calls: Counter[str] = Counter()
        #: Calls that the board failed.
        self.failed = 0
        #: Calls beyond what the board bears.
        self.refused = 0

    def read(self) -> None:
        """Read on, up to the last whole line."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            whole, _, _ = file.read().rpartition(b"\n")
        if whole:
            self._read_bytes += len(whole) + 1
            for line in whole.splitlines():
                self._enter(_ENTRY(line))

    def _enter(self, entry: Entry) -> None:
        if entry.what == "refused":
            self.refused += 1
            return
        self.calls[entry.id] += 1
        self.called_at.setdefault(entry.id, entry.at)
        if entry.what == "failed":
            self.failed += 1
        else:
            self.shown_at.setdefault(entry.id, entry.at)


_ENTRY = msgspec.json.Decoder(Entry).decode
