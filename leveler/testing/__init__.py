"""For tests: a clock that moves when told, and the contract suite for adapters."""

from leveler.testing.clock import VirtualClock as VirtualClock

__all__ = ["VirtualClock"]
