"""The memory adapter keeps the contract, in every personality."""

from __future__ import annotations

from leveler_memory import MemoryAdapter, MemoryOptions
from leveler_memory.personality import PersonalityName

from leveler.adapter import Adapter
from leveler.clock import Clock
from leveler.testing import VirtualClock
from leveler.testing.contract import Target
from leveler.testing.contract.pytest_suite import ContractSuite


class Memory(Target):
    """Time is virtual, so leases may be long and nothing is late."""

    lease_seconds = 20.0
    grace_seconds = 0.5

    def __init__(self, personality: PersonalityName) -> None:
        self.name = f"memory/{personality}"
        self.options = MemoryOptions(personality=personality)

    def clock(self) -> Clock:
        return VirtualClock()

    def adapter(self, clock: Clock) -> Adapter:
        return MemoryAdapter("memory://", self.options, clock=clock, deadline_seconds=5.0)


class TestPlain(ContractSuite):
    target = Memory("plain")


class TestSqs(ContractSuite):
    target = Memory("sqs")


class TestFifo(ContractSuite):
    target = Memory("fifo")


class TestRabbitmq(ContractSuite):
    target = Memory("rabbitmq")


class TestServicebus(ContractSuite):
    target = Memory("servicebus")


class TestPush(ContractSuite):
    target = Memory("push")
