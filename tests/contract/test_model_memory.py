"""The memory adapter does what the reference model does, in every personality and whatever is done to it."""

from __future__ import annotations

from typing import Any

from leveler_memory import MemoryAdapter, MemoryOptions
from leveler_memory.personality import PersonalityName

from leveler.adapter import Adapter
from leveler.clock import Clock
from leveler.testing import VirtualClock
from leveler.testing.contract import Target
from leveler.testing.model import model_test


class Memory(Target):
    """Nothing is late: time is virtual."""

    lease_seconds = 20.0
    grace_seconds = 0.0

    def __init__(self, personality: PersonalityName, **spec: Any) -> None:
        self.name = " ".join([f"memory/{personality}", *spec])
        self.options = MemoryOptions(personality=personality)
        self.spec = spec

    def clock(self) -> Clock:
        return VirtualClock()

    def adapter(self, clock: Clock) -> Adapter:
        return MemoryAdapter("memory://", self.options, clock=clock, deadline_seconds=5.0)


TestPlain = model_test(Memory("plain"))
TestPlainOrdered = model_test(Memory("plain", ordered=True))
TestPlainDedup = model_test(Memory("plain", dedup_seconds=5.0))
TestSqs = model_test(Memory("sqs"))
TestFifo = model_test(Memory("fifo", ordered=True))
TestRabbitmq = model_test(Memory("rabbitmq"))
TestServicebus = model_test(Memory("servicebus"))
TestServicebusSessions = model_test(Memory("servicebus", ordered=True))
TestPush = model_test(Memory("push"))
