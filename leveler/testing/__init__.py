"""For tests: a clock that moves when told, a bad network, and the contract suite for adapters."""

from leveler.testing.clock import VirtualClock as VirtualClock
from leveler.testing.faults import FaultPlan as FaultPlan
from leveler.testing.faults import FaultyAdapter as FaultyAdapter

__all__ = ["FaultPlan", "FaultyAdapter", "VirtualClock"]
