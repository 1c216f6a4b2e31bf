"""The sender: a careful process that sends again, with the same id, whatever was not accepted."""

from __future__ import annotations

from typing import Any

from leveler import BrokerError, Leveler, SendUnknown, Settings
from leveler.producer import SendWords
from leveler.settings import BrokerSettings
from leveler.testing import FaultPlan
from tests.simulation.ledger import Order
from tests.simulation.load import Work
from tests.simulation.process import Process
from tests.simulation.scenario import Plan
from tests.simulation.worker import Machine

_AGAIN_SECONDS = 0.4


class Sender:
    """One life of it.

    Args:
        name: for the ledger.
        on: where it runs.
        plans: what is still to be sent.
    """

    def __init__(self, name: str, on: Machine, plans: tuple[Plan, ...]) -> None:
        self.name = name
        self.process = Process(name, on.loop, on.clock)
        self.faults = FaultPlan()
        self.over = on.loop.create_future()
        self._on, self._plans = on, plans
        _, adapter, self.eye = on.network(name, self.process.clock, self.faults)
        settings = Settings(
            brokers={"default": BrokerSettings(adapter=adapter)},
            queues=dict.fromkeys(on.scenario.queues, on.scenario.queue_settings()),
        )
        self._app = Leveler(settings=settings)
        self.process.on_death(self._die)
        self.process.start(self._live())

    def _die(self) -> None:
        if not self.over.done():
            self.over.set_result(False)

    async def _live(self) -> None:
        await self._app._start(self._app._settings, self.process.clock, self._on.chance)
        for task in [self.process.start(self._send(plan)) for plan in self._plans]:
            await task
        self.over.set_result(True)

    async def _send(self, plan: Plan) -> None:
        clock, ledger = self.process.clock, self._on.ledger
        await clock.sleep(max(0.0, plan.at - clock.monotonic()))
        order = ledger.orders.get(plan.id) or Order(plan.queue, plan.id, plan.kind, plan.key)
        ledger.intend(order)
        while not order.acknowledged:
            try:
                await self._app.send(plan.queue, _value(plan), **_words(plan))
                order.acknowledged = True
            except SendUnknown:
                ledger.note(self.name, f"does not know about {plan.id}")
                await clock.sleep(_AGAIN_SECONDS)
            except BrokerError as error:
                ledger.note(self.name, f"may not send {plan.id}: {type(error).__name__}")
                await clock.sleep(_AGAIN_SECONDS)


def _value(plan: Plan) -> Any:
    return b"\xff\x00 not json" if plan.kind == "undecodable" else Work(plan.kind, plan.seconds)


def _words(plan: Plan) -> SendWords:
    words: SendWords = {"id": plan.id, "key": plan.key, "type": "Nobody" if plan.kind == "unknown" else "Work"}
    if plan.delay_seconds is not None:
        words["delay"] = plan.delay_seconds
    if plan.expires_in is not None:
        words["expires_in"] = plan.expires_in
    return words
