"""What moves is waited for, and what does not is not; neither for ever."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from tests.faults.patience import Patience


def waited(seconds: float, reached: Any) -> int:
    """For how many seconds, when each second it is asked with the next number of `reached`."""
    now = 0
    patience = Patience(seconds, lambda: now)
    while not patience.is_over(next(reached)):
        now += 1
    return now - 1


@pytest.mark.parametrize(
    ("reached", "seconds"),
    [
        (iter([7.0] * 99), 10),
        (iter([7.0] * 5 + [6.0] * 99), 15),
        (count(), 30),
    ],
    ids=["nothing moves", "it moves once", "it never ends"],
)
def test_patience_lasts_as_long_as_something_moves_and_not_for_ever(reached: Any, seconds: int) -> None:
    assert waited(10, reached) == seconds
