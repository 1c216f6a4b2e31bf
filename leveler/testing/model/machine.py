"""Machine: runs as Hypothesis chooses them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, ClassVar

from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from leveler.testing.contract.target import Target
from leveler.testing.model import choices, steps
from leveler.testing.model.run import Draft, Run, Step


class Machine(RuleBasedStateMachine):
    """Subclassed with a `target`. Each run has a connection, a queue and a clock of its own, and ends with a drain.

    There is one rule, because Hypothesis leaves out some of many rules in each run, and one without any receive shows
    nothing.
    """

    target: ClassVar[Target]

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._broken = False
        self._run = Run(self.target, note)
        try:
            self._do(self._run.start())
        except BaseException:
            self._loop.run_until_complete(self._run.bench.rig.stop())
            self._loop.close()
            raise

    @initialize(drafts=choices.DRAFTS)
    def begin(self, drafts: list[Draft]) -> None:
        self._do(self._run.play(steps.Send(drafts)))

    @rule(step=choices.STEPS)
    def then(self, step: Step) -> None:
        self._do(self._run.play(step))

    def teardown(self) -> None:
        try:
            if not self._broken:
                self._do(self._run.drain())
        finally:
            self._loop.run_until_complete(self._run.bench.stop())
            self._loop.close()

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        try:
            self._loop.run_until_complete(asyncio.wait_for(what, self.target.cap_seconds))
        except BaseException:
            self._broken = True
            raise
