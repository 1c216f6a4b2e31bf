"""What the tests of the suite share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import leveler_memory.adapter
import pytest
from leveler_memory import MemoryAdapter, MemoryOptions
from leveler_memory.personality import PersonalityName
from leveler_memory.queue import MemoryQueue
from leveler_memory.receiver import MemoryReceiver
from leveler_memory.sender import MemorySender

from leveler.adapter import Adapter
from leveler.clock import Clock
from leveler.testing import VirtualClock
from leveler.testing.contract import Target, cases, run_case

#: What a planted bug does not raise: the adapter was changed and the mutant was not.
_SLIPS = (AttributeError, NameError, TypeError, KeyError)


class Mutated(Target):
    """The memory adapter with one class of it replaced."""

    lease_seconds = 20.0
    grace_seconds = 0.5
    cap_seconds = 10.0

    def __init__(self, broken: type, personality: PersonalityName) -> None:
        self.name = broken.__name__
        self.adapter_class = broken if issubclass(broken, MemoryAdapter) else MemoryAdapter
        self.options = MemoryOptions(personality=personality, max_message_bytes=256 * 1024)

    def clock(self) -> Clock:
        return VirtualClock()

    def adapter(self, clock: Clock) -> Adapter:
        adapter: Adapter = self.adapter_class("memory://", self.options, clock=clock, deadline_seconds=5.0)
        return adapter


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, type], tuple[str, str]]:
    """What the case of that id says to the memory adapter as it is ("healthy" unless it fails), and to a broken one.

    The broken class stands in for the adapter, the sender, the receiver or the queue that it is a subclass of. Its
    attribute `personality`, if it has one, says where.
    """

    def judged(case_id: str, broken: type) -> tuple[str, str]:
        [case] = [case for case in cases() if case.id == case_id]
        personality: PersonalityName = getattr(broken, "personality", "plain")
        unbroken = asyncio.run(run_case(case, Mutated(MemoryAdapter, personality)))
        for part in (MemoryReceiver, MemorySender, MemoryQueue):
            if issubclass(broken, part):
                monkeypatch.setattr(leveler_memory.adapter, part.__name__, broken)
        mutated = asyncio.run(run_case(case, Mutated(broken, personality)))
        assert not isinstance(mutated.error, _SLIPS), f"the mutant itself does not work: {mutated.why}"
        return unbroken.why if unbroken.verdict == "failed" else "healthy", mutated.verdict

    return judged
