"""Runs: messages with consecutive numbers that are in one state. A row of `ready` or `held` is one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby
from typing import NamedTuple


class Run(NamedTuple):
    first: int
    size: int
    #: Where they are if they are in a bundle; all in one.
    bundle: int | None

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.size)

    def parts(self, numbers: Collection[int]) -> Iterator[tuple[Run, bool]]:
        """It, cut wherever it goes from those in `numbers` to others, or back; and which part is which."""
        inside = [number in numbers for number in self.numbers]
        if all(inside):
            yield self, True
            return
        first = self.first
        for wanted, group in groupby(inside):
            part = Run(first, sum(1 for _ in group), self.bundle)
            first += part.size
            yield part, wanted
