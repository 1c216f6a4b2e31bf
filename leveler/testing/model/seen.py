"""Seen: which messages a queue that drops duplicates has been sent, and when."""

from __future__ import annotations

from leveler.message import Message
from leveler.testing.model.moment import Moment


class Seen:
    """Whether a window begins anew with each duplicate is the broker's own affair: nothing is known in between.

    Args:
        window_seconds: how long a dedup key is remembered; 0 = never.
    """

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._first: dict[str, Moment] = {}
        self._last: dict[str, Moment] = {}

    def remember(self, message: Message, at: Moment) -> None:
        key = message.dedup_key
        if not self.is_duplicate(message, at):
            self._first[key] = at
        self._last[key] = at

    def is_duplicate(self, message: Message, at: Moment) -> bool:
        """For sure."""
        first = self._first.get(message.dedup_key)
        return first is not None and at.is_before(first.earliest + self._window_seconds)

    def is_forgotten(self, message: Message, at: Moment) -> bool:
        """For sure."""
        last = self._last.get(message.dedup_key)
        return last is None or at.is_past(last.latest + self._window_seconds)
