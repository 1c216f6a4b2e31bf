"""Board: the demo's downstream, a status board that bears so many calls a second and not one more.

It stands for the database or the API of a user: nothing of leveler is in it. What it took and what it refused it
writes into a book of its own, and by that book the demo is judged.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter, deque
from pathlib import Path
from typing import Self, TextIO

#: One call takes about so long.
CALL_SECONDS = (0.005, 0.025)
#: This part of the calls fails.
FAILING = 0.2


class Busy(Exception):
    """More calls than the board bears: 503 Service Unavailable, with Retry-After."""

    def __init__(self, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"503: come back in {retry_after_seconds:g} s")


class BoardError(Exception):
    """The call failed: 500."""


class Board:
    """The same `id` twice is announced once, so that a repeated call does no harm.

    Args:
        book: where every call is written down.
        per_second: the calls that it bears.
        seed: of the failures: the same calls fail in every run.
    """

    def __init__(self, book: Path, *, per_second: float, seed: int = 2013) -> None:
        self._path = book
        self._per_second = per_second
        self._seed = seed
        self._recent: deque[float] = deque()
        self._calls: Counter[str] = Counter()

    @classmethod
    def from_environment(cls) -> Self:
        return cls(Path(os.environ["BOARD_BOOK"]), per_second=float(os.environ["BOARD_PER_SECOND"]))

    def __enter__(self) -> Self:
        self._book: TextIO = self._path.open("a", encoding="utf-8", buffering=1)
        return self

    def __exit__(self, *exc: object) -> None:
        self._book.close()

    async def announce(self, id: str, text: str) -> None:
        """Show `text`.

        Raises:
            Busy: too many calls in the last second.
            BoardError: this call failed.
        """
        if not self._bears(time.monotonic()):
            self._note(id, "refused")
            raise Busy(1.0)
        self._calls[id] += 1
        chance = random.Random(f"{self._seed} {id} {self._calls[id]}")
        await asyncio.sleep(chance.uniform(*CALL_SECONDS))
        if chance.random() < FAILING:
            self._note(id, "failed")
            raise BoardError(f"500: the board could not show {text!r}")
        self._note(id, "shown")

    def _bears(self, now: float) -> bool:
        while self._recent and self._recent[0] <= now - 1.0:
            self._recent.popleft()
        if len(self._recent) >= self._per_second:
            return False
        self._recent.append(now)
        return True

    def _note(self, id: str, what: str) -> None:
        self._book.write(json.dumps({"at": time.time(), "id": id, "what": what}) + "\n")
