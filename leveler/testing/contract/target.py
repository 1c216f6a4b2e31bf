"""Target: all that the suite must know about an adapter to try it. Its author writes about ten lines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from leveler.adapter import Adapter, redact
from leveler.clock import Clock, SystemClock


class Target(ABC):
    """An adapter under test, on a broker that runs already.

    Every case gets connections and queues of its own, and drops the queues behind it, so cases may run side by side.
    """

    #: How reports call it.
    name: str
    #: The shortest lease that makes sense: a few seconds where time is real.
    lease_seconds: float = 2.0
    #: How much later than promised a healthy broker may be.
    grace_seconds: float = 1.0
    #: In real time. A case that takes longer has failed: nothing may hang.
    cap_seconds: float = 60.0
    #: Fields of `leveler.adapter.QueueSpec` that every queue needs here.
    spec: Mapping[str, Any] = {}

    def clock(self) -> Clock:
        """A new clock for one case; a `leveler.testing.VirtualClock` where nothing outside keeps the time."""
        return SystemClock()

    @abstractmethod
    def adapter(self, clock: Clock) -> Adapter:
        """One more connection to the broker, not yet entered."""


class UrlTarget(Target):
    """Whatever `leveler.discovery` finds for a URL, in real time."""

    def __init__(
        self, url: str, *, lease_seconds: float = 2.0, grace_seconds: float = 1.0, deadline_seconds: float = 10.0
    ) -> None:
        self.url = url
        self.name = redact(url)
        self.lease_seconds = lease_seconds
        self.grace_seconds = grace_seconds
        self.deadline_seconds = deadline_seconds

    def adapter(self, clock: Clock) -> Adapter:
        from leveler.discovery import find  # who brings a target of their own needs no installed adapter

        return find(self.url, clock=clock, deadline_seconds=self.deadline_seconds)
