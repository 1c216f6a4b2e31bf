"""The world: one run of a scenario, from the first message to the moment when nothing is left to happen."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from leveler_memory import MemoryAdapter, MemoryOptions

from leveler import BrokerUnavailable, SendUnknown
from leveler.testing import VirtualClock
from tests.simulation.loop import Restless, VirtualLoop
from tests.simulation.outcome import Outcome
from tests.simulation.scenario import DEADLINE_SECONDS, Scenario
from tests.simulation.sender import Sender
from tests.simulation.weather import Strike, blow
from tests.simulation.worker import Machine, Plant, Worker

#: How long a dead worker stays away.
_RESTART_SECONDS = 1.0
#: How long nothing may end, once nothing goes wrong any more, while something is still there. Longer than any one
#: message can take: leases of 30 s for as many deliveries as there may be, a timeout each, wall clocks that are wrong.
_PATIENCE_SECONDS = 600.0


#: Told of a worker, and of which life it is.
Aim = Callable[[Worker, int], object]


class World:
    """One run.

    Args:
        scenario: what is to happen.
        plant: a bug, for every worker.
        aim: told of every worker as it is started, and of which life in the world it is; it may spoil that.
    """

    def __init__(self, scenario: Scenario, plant: Plant | None = None, aim: Aim | None = None) -> None:
        self._scenario, self._aim = scenario, aim
        clock = self.clock = VirtualClock()
        loop = self._loop = VirtualLoop(clock)
        options = MemoryOptions(personality=scenario.personality)
        broker = MemoryAdapter("memory://", options, clock=clock, deadline_seconds=DEADLINE_SECONDS)
        self.machine = Machine(scenario, loop, clock, random.Random(scenario.seed), broker, plant)
        self.ledger = self.machine.ledger
        self._outcome = Outcome(scenario, self.machine.can, self.ledger)
        self._slots: dict[int, Worker] = {}
        self._lives = 0
        self._sender: Sender | None = None
        self._closing = False

    def run(self) -> Outcome:
        with _silence():
            try:
                self._loop.run(self._happen())
            except Restless as error:
                self._outcome.unheard.append(str(error))
        self._outcome.steps = self._loop.steps
        self._outcome.unheard += [str(context.get("exception") or context) for context in self._loop.unheard]
        return self._outcome

    def worker(self, slot: int) -> Worker:
        """The one that is there now, or was there last."""
        return self._slots[slot]

    async def _happen(self) -> None:
        for slot in range(self._scenario.workers):
            self._loop.create_task(self._supervise(slot))
        self._loop.create_task(self._keep_sending())
        for strike in sorted(self._scenario.strikes, key=lambda strike: strike.at):
            await self.clock.sleep(max(0.0, strike.at - self.clock.monotonic()))
            self._strike(strike)
        self._clear_up()
        await self._until_drained()
        await self._close()

    # Who is there

    async def _supervise(self, slot: int) -> None:
        """Keep a worker running, as an init system does."""
        while not self._closing:
            self._lives += 1
            worker = self._slots[slot] = Worker(f"worker-{slot}.{self._lives}", self.machine)
            self._outcome.workers.append(worker)
            if self._aim is not None:
                self._aim(worker, self._lives)
            await worker.over
            await self.clock.sleep(_RESTART_SECONDS)

    async def _keep_sending(self) -> None:
        lives, sent = 0, False
        while not sent:
            lives += 1
            orders = self.ledger.orders
            left = tuple(p for p in self._scenario.plans if p.id not in orders or not orders[p.id].acknowledged)
            self._sender = Sender(f"sender.{lives}", self.machine, left)
            sent = await self._sender.over

    # What goes wrong

    def _strike(self, strike: Strike) -> None:
        worker, sender = self._slots.get(strike.worker), self._sender
        if worker is None or not worker.alive or sender is None:
            return
        self._outcome.faults[strike.kind] += 1
        who = sender.name if strike.kind.startswith("send") else worker.name
        self.ledger.fault(who, strike.kind, verb=strike.verb, times=strike.times, seconds=strike.seconds)
        if not (blow(strike, worker.faults) or _hit(strike, worker) or self._shake(strike, worker)):
            _spoil(strike, sender)

    def _shake(self, strike: Strike, worker: Worker) -> bool:
        """Whether it was one that hits the store of the fleet's rate, or the way to it."""
        store = self.machine.store
        match strike.kind:
            case "store away":
                store.is_away = True
            case "store slow":
                store.before_seconds = strike.seconds / 3
            case "store late":
                store.after_seconds = strike.seconds / 3
            case "store answers twice":
                store.doubles = strike.times
                return True
            case "store cut off":
                is_done = bool(strike.steps % 2)
                worker.faults.fail("reserve", BrokerUnavailable("no way"), times=3 * strike.times, after=is_done)
                return True
            case _:
                return False
        self.clock.call_later(strike.seconds * strike.times, store.clear)
        return True

    def _clear_up(self) -> None:
        """Nothing new goes wrong from here on. Clocks stay as wrong as they are."""
        self.machine.store.clear()
        for worker in self._slots.values():
            worker.faults.clear()
            self.machine.make_distant(worker.faults)
        if self._sender is not None:
            self._sender.faults.clear()

    # How it ends

    async def _until_drained(self) -> None:
        ended, since = -1, self.clock.monotonic()
        while not self._drained() and self.clock.monotonic() < since + _PATIENCE_SECONDS:
            if (now := sum(len(order.ends) for order in self.ledger.orders.values())) != ended:
                ended, since = now, self.clock.monotonic()
            await self.clock.sleep(1.0)

    def _drained(self) -> bool:
        orders = self.ledger.orders
        if self._sender is None or self._sender.eye.sending:
            return False
        if len(orders) < len(self._scenario.plans) or not all(order.acknowledged for order in orders.values()):
            return False
        return all(len(order.ends) >= len(order.taken) or self._dropped(order.id) for order in orders.values())

    def _dropped(self, id: str) -> bool:
        """Sent twice, and taken for a duplicate."""
        return bool(self.machine.can.dedup_seconds and self.ledger.orders[id].ends)

    async def _close(self) -> None:
        self._closing = True
        for worker in list(self._slots.values()):
            worker.stop(60.0)
            if worker.alive:
                await worker.over
        await self.clock.sleep(self._scenario.lease_seconds + 5.0)  # whatever was left leased is not any more
        for spec in self.machine.specs:
            for letter in await self.machine.broker.peek(spec, 100_000, dead=True):
                self._outcome.dead.setdefault(letter.id, []).append(letter.death.reason if letter.death else "")
            self._outcome.stuck += await self.machine.broker.purge(spec) or 0


def _hit(strike: Strike, worker: Worker) -> bool:
    """Whether it was one that hits a process."""
    process = worker.process
    match strike.kind:
        case "crash":
            process.die()
        case "crash soon":
            process.at_step(process.steps + 1 + strike.steps, process.die)
        case "cut":
            process.at_step(process.steps + 1 + strike.steps, worker.cut)
        case "frozen":
            worker.freeze(strike.seconds * 10)
        case "stop":
            worker.stop(strike.seconds * 8 * (strike.steps % 2))
        case "stop at once":
            worker.stop(30.0)
            process.at_step(process.steps + 1 + strike.steps, lambda: worker.stop(0.0))
        case "clock":
            process.clock.jump(strike.seconds * (10 if strike.steps % 2 else -10))
        case _:
            return False
    return True


def _spoil(strike: Strike, sender: Sender) -> None:
    match strike.kind:
        case "sender crash":
            sender.process.at_step(sender.process.steps + 1 + strike.steps, sender.process.die)
        case "send unknown":
            sender.faults.fail("send", SendUnknown("no answer"), times=strike.times, after=strike.steps % 3 > 0)
        case "send refused":
            sender.faults.fail("send", BrokerUnavailable("gone"), times=strike.times)
        case "send slow":  # longer than send_timeout
            sender.faults.delay("send", 12.0, times=strike.times, after=strike.steps % 2 > 0)


@contextmanager
def _silence() -> Iterator[None]:
    """What leveler logs about faults is not what a run is about."""
    log = logging.getLogger("leveler")
    disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = disabled
