"""Curves: what happened when, in columns, and drawn with blocks. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

_BLOCKS = " ▁▂▃▄▅▆▇█"


class Curves(NamedTuple):
    """The three curves, in columns of one width."""

    column_seconds: float
    #: Messages per second.
    arriving: Sequence[float]
    #: Messages in the queue.
    waiting: Sequence[float]
    #: Messages per second.
    completing: Sequence[float]


def rates(moments: Sequence[float], columns: int, column_seconds: float) -> list[float]:
    """How many of `moments`, which are in order, fall into each column, per second."""
    edges = [bisect_left(moments, column * column_seconds) for column in range(columns + 1)]
    return [(right - left) / column_seconds for left, right in pairwise(edges)]


def levels(samples: Sequence[tuple[float, int]], columns: int, column_seconds: float) -> list[float]:
    """The highest sample of each column; the one before where a column has none."""
    highest: list[float | None] = [None] * columns
    for at, value in samples:
        column = min(int(at / column_seconds), columns - 1)
        highest[column] = max(highest[column] or 0, value)
    end = int(samples[-1][0] / column_seconds) if samples else -1
    filled, last = list[float](), 0.0
    for column, value_or_none in enumerate(highest):
        last = last if value_or_none is None else value_or_none
        filled.append(last if column <= end else 0.0)
    return filled


def peak_per_second(moments: Sequence[float]) -> int:
    """The most of `moments`, which are in order, within any one second."""
    most, first = 0, 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def drawn(values: Sequence[float], top: float, rows: int) -> list[str]:
    """`values` as columns of blocks, the highest row first; `top` fills all rows."""
    eighths = [round(min(max(value / top, 0.0), 1.0) * rows * 8) if top else 0 for value in values]
    eighths = [max(1, height) if value > 0 else 0 for height, value in zip(eighths, values, strict=True)]
    return ["".join(_BLOCKS[min(max(height - row * 8, 0), 8)] for height in eighths) for row in reversed(range(rows))]
