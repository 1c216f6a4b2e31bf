"""For tests: an app on a broker in memory, a clock that moves when told, bad networks, the contract of adapters."""

from leveler.testing.app import TestApp as TestApp
from leveler.testing.clock import VirtualClock as VirtualClock
from leveler.testing.faults import FaultPlan as FaultPlan
from leveler.testing.faults import FaultyAdapter as FaultyAdapter

__all__ = ["FaultPlan", "FaultyAdapter", "TestApp", "VirtualClock"]
