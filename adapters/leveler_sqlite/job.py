"""Job: what one verb wants done in the file, and how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from leveler.errors import BrokerError, BrokerUnavailable, LevelerError
from leveler_sqlite.transaction import Transaction

R = TypeVar("R")

Work = Callable[[Transaction], R]


class Job(Generic[R]):
    """It waits, is taken into a transaction, and is answered. Until it is taken it can be withdrawn.

    Args:
        act: does it, in a write transaction that it shares with others. May be called again after a rollback.
        look: answers without writing, where that is possible; None as an answer means that it is not.
        synced: whether it must be on the disk before it is answered.
        grows: whether it needs room that is not given back: refused first when the disk fills up.
        doubt: what to raise where nobody knows whether it was done.
        late: told the result if nobody waits for it any more.
    """

    __slots__ = ("_answer", "_error", "act", "doubt", "future", "grows", "late", "look", "since", "state", "synced")

    def __init__(
        self,
        act: Work[R],
        *,
        look: Work[R | None] | None = None,
        synced: bool = True,
        grows: bool = False,
        doubt: type[BrokerError] = BrokerUnavailable,
        late: Callable[[R], object] | None = None,
    ) -> None:
        self.act = act
        self.look = look
        self.synced = synced
        self.grows = grows
        self.doubt = doubt
        self.late = late
        self.state = WAITING
        self.since = 0.0
        self.future: asyncio.Future[R]
        self._answer: R
        self._error: Exception | None = None

    def run(self, transaction: Transaction) -> None:
        """Act, and keep the answer for later: it counts when the transaction is committed."""
        self._error = None
        try:
            self._answer = self.act(transaction)
        except LevelerError as error:
            self._error = error

    def answers_by_looking(self, transaction: Transaction) -> bool:
        """Whether a look was enough. The answer is kept."""
        assert self.look is not None
        try:
            answer = self.look(transaction)
        except LevelerError as error:
            self._error = error
            return True
        if answer is not None:
            self._answer = answer
        return answer is not None

    def fail(self, error: Exception) -> None:
        self._error = error

    def conclude(self) -> None:
        """Tell whoever waits. On the event loop."""
        if not self.future.done():
            if self._error is None:
                self.future.set_result(self._answer)
            else:
                self.future.set_exception(self._error)
        elif self._error is None and self.late is not None:
            self.late(self._answer)


#: States of a job.
WAITING: Final = "waiting"
TAKEN: Final = "taken"
WITHDRAWN: Final = "withdrawn"
