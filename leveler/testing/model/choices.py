"""Choices: how steps are drawn. The first of each is the simplest: what fails is made as simple as it can be.

A step is drawn in few choices, since one with many can hardly be left out when a failing run is cut down.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any, Final

from hypothesis import strategies as st

from leveler.message import DEFAULT_PRIORITY, MAX_PRIORITY
from leveler.testing.model import steps
from leveler.testing.model.run import NAMES, Draft, Step


def _often(*choices: tuple[int, Any]) -> st.SearchStrategy[Any]:
    """One of them, each so many times as likely as one that has a 1."""
    return st.sampled_from([choice for times, choice in choices for _ in range(times)])


DRAFTS: Final = st.lists(
    st.builds(
        Draft,
        key=_often((1, None), (2, "k"), (1, "l")),
        delay=_often((5, "none"), (2, "short"), (1, "long"), (1, "past"), (1, "beyond")),
        priority=_often((2, DEFAULT_PRIORITY), (1, 0), (1, MAX_PRIORITY)),
        attempts=_often((4, 0), (1, 3)),
        binary=st.booleans(),
    ),
    min_size=1,
    max_size=4,
)

_BY: Final = st.sampled_from(NAMES)
_PICKS: Final = _often(*((12 // count, list(picks)) for count in (1, 2, 3) for picks in permutations(range(4), count)))
_RETURN: Final = st.builds(
    steps.Return, st.integers(0, 4), _often((2, "none"), (1, "short"), (1, "long")), st.sampled_from((True, False))
)
_RETURNS: Final = st.lists(_RETURN, min_size=1, max_size=3, unique_by=lambda item: item.pick)
_WAIT: Final = _often((2, "none"), (1, "short"), (1, "long"))
_CAPACITY: Final = _often((3, 10), (1, 1), (1, 3))
_PAUSE: Final = _often((2, "short"), (1, "before"), (3, "after"), (1, "part"), (1, "long"))
_VERB: Final = st.sampled_from(("complete", "give back", "bury", "extend"))

_STEPS: Final[Sequence[tuple[int, st.SearchStrategy[Step]]]] = (
    (5, st.builds(steps.Send, DRAFTS)),
    (2, st.builds(steps.SendAgain, back=st.integers(0, 15))),
    (9, st.builds(steps.Receive, _BY, credit=st.integers(1, 5), wait=_WAIT)),
    (4, st.builds(steps.Complete, _BY, _PICKS)),
    (5, st.builds(steps.GiveBack, _BY, _RETURNS)),
    (3, st.builds(steps.Bury, _BY, _PICKS)),
    (3, st.builds(steps.Extend, _BY, _PICKS)),
    (2, st.builds(steps.Replay)),
    (5, st.builds(steps.Elapse, _PAUSE)),
    (1, st.builds(steps.Peek, limit=_often((2, 10), (1, 1), (1, 3)), dead=st.booleans())),
    (1, st.builds(steps.HoldAtMost, _BY, limit=st.sampled_from((10, 0, 1, 3)))),
    (1, st.builds(steps.Close, _BY, _CAPACITY)),
    (1, st.builds(steps.Crash, _BY, _CAPACITY)),
    (1, st.builds(steps.SettleAfterClosing, _VERB)),
    (1, st.builds(steps.Purge, dead=st.booleans())),
)

#: Which kind comes first, then what it is about.
STEPS: Final[st.SearchStrategy[Step]] = _often(*_STEPS).flatmap(lambda chosen: chosen)
