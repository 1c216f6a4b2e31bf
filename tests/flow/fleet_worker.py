"""A worker with a backlog of its own and a rate that it shares with others; it writes down whatever happens, and when.

python -m tests.flow.fleet_worker STORE_URL FILE PER_SECOND
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from leveler import BrokerSettings, ConsumerSettings, Leveler, LimitSettings, Settings
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.events import Event, RateScopeChanged
from leveler.schedule import Ask, Stretch
from leveler.testing.faults import FaultPlan, FaultyAdapter

#: A timer that is so late says that this machine has no time for the process.
_STALL_SECONDS = 0.05


class Timed(FaultyAdapter):
    """The store, and how long its answers took."""

    def __init__(self, url: str, diary: Diary) -> None:
        super().__init__(find(url, clock=SystemClock(), deadline_seconds=2.0), FaultPlan())
        self._diary = diary

    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        asked = time.monotonic()
        stretch = await super().reserve(rate, ask)
        self._diary.note("answer", time.monotonic() - asked)
        return stretch


class Diary:
    """One line for each thing. Several processes write it, each line at once."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, what: str, value: float) -> None:
        os.write(self._file, f"{what} {os.getpid()} {value!r}\n".encode())

    def see(self, event: Event) -> None:
        if isinstance(event, RateScopeChanged):
            self.note("back" if event.is_fleet else "away", time.monotonic())


async def work(url: str, path: str, per_second: float) -> None:
    diary = Diary(path)
    shared = LimitSettings(concurrency=8, rate_per_second=per_second, rate_scope="fleet")
    settings = Settings(store="store", brokers={"store": BrokerSettings(adapter=Timed(url, diary))})
    app = Leveler(
        "memory://",
        settings=settings,
        consumers={"orders": ConsumerSettings(downstream="billing")},
        downstreams={"billing": shared},
        observers=[diary.see],
    )

    @app.consumer("orders")
    async def handle(number: int) -> None:
        diary.note("start", time.monotonic())
        await asyncio.sleep(0.01)

    async def watch() -> None:
        """Note whenever the machine makes everybody wait."""
        while True:
            due = time.monotonic() + 0.02
            await asyncio.sleep(0.02)
            if (late := time.monotonic() - due) > _STALL_SECONDS:
                diary.note("stall", late)

    watching = asyncio.create_task(watch())
    async with app.working():
        await app.send_many("orders", range(2000))
        await watching


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], float(sys.argv[3])))
