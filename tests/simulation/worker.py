"""A worker: one process that runs an app as a user writes it, from its start to its exit."""

from __future__ import annotations

import random
from collections.abc import Callable

from leveler_memory import MemoryAdapter

from leveler import Context, Leveler, LevelerError, LimitSettings, QueueSettings, Settings
from leveler.adapter import Adapter, Capabilities
from leveler.clock import Clock
from leveler.consumer.report import Tally
from leveler.runtime import Runtime
from leveler.settings import BrokerSettings
from leveler.testing import FaultPlan, FaultyAdapter, VirtualClock
from tests.simulation import load
from tests.simulation.eyes import BrokerEye, WorkerEye
from tests.simulation.ledger import Ledger
from tests.simulation.load import Work
from tests.simulation.loop import VirtualLoop, at_once
from tests.simulation.process import Process
from tests.simulation.scenario import DOWNSTREAM, Scenario
from tests.simulation.store import AtStore, Store
from tests.simulation.weather import VERBS
from tests.simulation.witness import Witness

#: How long after its drain a worker may take to end: a receive that nobody answers, a settlement, a close, and a
#: machine that stands still for a while.
_PATIENCE_SECONDS = 100.0

#: Puts something between the worker and the network: a planted bug.
Plant = Callable[[Adapter], Adapter]


class Machine:
    """What every process finds itself on: the loop, the time, the chance, the broker somewhere out there.

    Args:
        scenario: what is to happen.
        broker: shared by all.
        plant: between each worker and its network; nothing by default.
    """

    def __init__(
        self,
        scenario: Scenario,
        loop: VirtualLoop,
        clock: VirtualClock,
        chance: random.Random,
        broker: MemoryAdapter,
        plant: Plant | None = None,
    ) -> None:
        self.scenario, self.loop, self.clock, self.chance, self.broker = scenario, loop, clock, chance, broker
        self.ledger = Ledger(clock)
        #: Of the fleet's rate.
        self.store = Store()
        self._plant = plant
        self.specs = [scenario.queue_settings().spec(name) for name in scenario.queues]
        #: What is true of every queue.
        self.can: Capabilities = [at_once(broker.declare(spec)) for spec in self.specs][-1]

    def count_fetched(self) -> None:
        """What a client library had fetched and nobody has seen: it was delivered once more with a lost connection."""
        for spec in self.specs:
            self.broker.miss(spec, self.chance.choice([0, 3, 100]))

    def make_distant(self, faults: FaultPlan) -> None:
        """Every verb takes its time, there and back."""
        for verb in ("send", "reserve", *VERBS):
            faults.delay(verb, self.scenario.latency_seconds, times=None)
            faults.delay(verb, self.scenario.latency_seconds, times=None, after=True)

    def network(self, name: str, clock: Clock, faults: FaultPlan) -> tuple[FaultyAdapter, Adapter, WorkerEye]:
        """A way to the broker: the part that can be cut, what a process gets, and who watches it."""
        self.make_distant(faults)
        eye = WorkerEye(name, self.ledger, self.clock, concurrent=self.can.concurrent_verbs)
        broker = self.broker.beside(clock)
        at_store = AtStore(Witness(broker, BrokerEye(name, self.ledger, clock)), self.store)
        faulty = FaultyAdapter(at_store, faults)
        seen: Adapter = Witness(faulty, eye)
        return faulty, seen if self._plant is None else self._plant(seen), eye


class Worker:
    """One life of one worker.

    Args:
        name: for the ledger; no two lives share one.
        on: where it runs.
    """

    def __init__(self, name: str, on: Machine) -> None:
        self.name = name
        self.process = Process(name, on.loop, on.clock)
        self.faults = FaultPlan()
        #: What it ended with: deliveries left, or None while it lives and where it was killed.
        self.left: int | None = None
        #: Why it ended by itself.
        self.error: BaseException | None = None
        #: It did not end when it was told to.
        self.overdue = False
        self.tally: dict[str, Tally] = {}
        self._on = on
        self._ledger = on.ledger
        self._network, self._adapter, self.eye = on.network(name, self.process.clock, self.faults)
        self._app = self._make_app()
        self._runtime: Runtime | None = None
        self._stopping = on.loop.create_future()
        self._drain_seconds = 0.0
        self.over = on.loop.create_future()
        self.process.on_death(self._die)
        on.ledger.note(name, "is started")
        self.process.start(self._live())

    @property
    def alive(self) -> bool:
        return not self.over.done()

    def stop(self, drain_seconds: float) -> None:
        """SIGTERM; the second one ends the drain that is under way."""
        if not self.alive:
            return
        if self._stopping.done():
            if self._runtime is not None:
                self._runtime.hurry()
            return
        self._ledger.fault(self.name, "stop", drain=drain_seconds)
        self._drain_seconds = drain_seconds
        self._on.clock.call_later(drain_seconds + _PATIENCE_SECONDS, self._overdue)
        self._stopping.set_result(None)

    def stop_in(self, seconds: float, drain_seconds: float) -> None:
        """SIGTERM, later."""
        self._on.clock.call_later(seconds, lambda: self.stop(drain_seconds))

    def _overdue(self) -> None:
        if self.alive:
            self.overdue = True
            self._ledger.note(self.name, f"has not ended {_PATIENCE_SECONDS:g} s after its drain should have")
            self.process.die()

    def cut(self) -> None:
        """Cut its connections: whatever it has received is lost."""
        self._ledger.touch(self._ledger.held(self.name), "connection cut")
        self._disconnect()

    def freeze(self, seconds: float) -> None:
        """Let time pass without it. What it holds now, or is about to get, may be lost when it goes on."""
        self.process.freeze(seconds)
        now = self._on.clock.monotonic()
        self._ledger.frozen.setdefault(self.name, []).append((now, now + seconds))

        def touch() -> None:
            self._ledger.touch(self._ledger.held(self.name), "frozen")

        touch()
        self._on.clock.call_later(seconds, touch)

    def _die(self) -> None:
        self._ledger.fault(self.name, f"killed at step {self.process.steps}")
        self._ledger.touch(self._ledger.held(self.name), "killed")
        # The broker notices when the connection ends, which takes a moment.
        self._on.clock.call_later(self._on.chance.choice([0.0, 0.05, 2.0]), self._disconnect)
        self._exit()

    def _exit(self) -> None:
        self._ledger.exits[self.name] = self._ledger.moment()
        if self.alive:
            self.over.set_result(None)

    def _disconnect(self) -> None:
        at_once(self._network.lose_receivers())
        if self._on.can.solos == "marked":
            self._on.count_fetched()

    async def _live(self) -> None:
        try:
            runtime = self._runtime = await self._app._start(self._app._settings, self.process.clock, self._on.chance)
            await runtime.consume(None, None)
            await self._stopping
            self._ledger.stops[self.name] = self._ledger.note(self.name, "is told to stop")
            self.tally = {name: consumer.report.tally for name, consumer in runtime.consumers.items()}
            self.left = await runtime.drain(self._drain_seconds)
            await self._app._end()
        except Exception as error:
            self.error = error
            if not isinstance(error, LevelerError):
                self._ledger.breach(self.name, f"broke down: {error!r}")
        self._ledger.note(self.name, f"exits, left {self.left}, error {type(self.error).__name__}")
        self._disconnect()  # the kernel closes what the process did not
        self._exit()

    def _make_app(self) -> Leveler:
        scenario, here = self._on.scenario, load.Worker(self.process, self._ledger)
        queues: dict[str, QueueSettings] = dict.fromkeys(scenario.queues, scenario.queue_settings())
        shared = LimitSettings(
            concurrency=scenario.shared_concurrency,
            rate_per_second=scenario.fleet_rate_per_second,
            rate_scope="fleet" if scenario.fleet_rate_per_second else "process",
        )
        settings = Settings(
            brokers={"default": BrokerSettings(adapter=self._adapter)},
            queues=queues,
            consumers=dict.fromkeys(scenario.queues, scenario.consumer_settings()),
            downstreams={DOWNSTREAM: shared} if scenario.shares else {},
        )
        app = Leveler(settings=settings)

        async def handle(work: Work, ctx: Context) -> None:
            await load.handle(work, ctx, here)

        for queue in scenario.queues:
            app.consumer(queue, type="Work")(handle)
        return app
