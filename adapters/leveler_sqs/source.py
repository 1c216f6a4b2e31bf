"""Source: what is asked about the messages of one queue, request by request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from leveler.adapter import Delivery
from leveler.clock import Clock
from leveler.errors import LeaseLost, LevelerError, QueueNotFound
from leveler_sqs.calls import Answer, Calls
from leveler_sqs.envelope import ATTRIBUTES, opened
from leveler_sqs.errors import of_entry
from leveler_sqs.gathering import Failures
from leveler_sqs.policy import visibility_seconds
from leveler_sqs.queues import Queues
from leveler_sqs.receipt import Receipt

_ATTRIBUTES: Final = list(ATTRIBUTES)
#: A poll whose time is over answers at once; a silent one is worth no longer than this.
_ANSWER_SECONDS: Final = 5.0
#: What a settlement gets at least, however short the lease.
_LEAST_SECONDS: Final = 1.5


class Change(NamedTuple):
    """From now on hidden for so long."""

    receipt: Receipt
    seconds: int


class Source:
    """
    Args:
        name: of the queue, as SQS knows it.
        calls: to SQS.
        queues: know where it is.
        clock: for leases.
        lease_seconds: of each delivery.
        dead: whether these are dead letters, whose attempts are not counted.
    """

    def __init__(
        self, name: str, calls: Calls, queues: Queues, clock: Clock, *, lease_seconds: float, dead: bool
    ) -> None:
        self.name = name
        self._calls = calls
        self._queues = queues
        self._clock = clock
        self.lease_seconds = lease_seconds
        self._dead = dead
        # So that there is time for a second try before the lease ends.
        self._settling_seconds = min(calls.deadline_seconds, max(_LEAST_SECONDS, lease_seconds / 2))

    async def receive(self, count: int, wait_seconds: int) -> list[Delivery]:
        """Up to ten."""
        answer = await self._ask(
            "receive_message",
            "receive from",
            within=wait_seconds + min(self._calls.deadline_seconds, _ANSWER_SECONDS),
            MaxNumberOfMessages=count,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=visibility_seconds(self.lease_seconds),
            MessageSystemAttributeNames=_ATTRIBUTES,
            MessageAttributeNames=["All"],
        )
        at, now = self._clock.monotonic(), self._clock.now()
        until = at + self.lease_seconds
        deliveries: list[Delivery] = []
        for raw in answer.get("Messages", ()):
            message, received = opened(raw, now)
            attempt = 1 if self._dead else message.attempts + received
            deliveries.append(Delivery(message, attempt, until, Receipt(raw["ReceiptHandle"], at, until)))
        return deliveries

    async def delete(self, receipts: Sequence[Receipt]) -> Failures:
        """Up to ten."""
        failed = await self._batch("delete_message_batch", "complete in", receipts, lambda receipt: {})
        for place, error in list(failed.items()):
            if isinstance(error, LeaseLost) and receipts[place].is_doubtful:
                del failed[place]  # its lease runs, so it was ours to delete, and we did
            elif not isinstance(error, LeaseLost):
                receipts[place].is_doubtful = True
        return failed

    async def change(self, changes: Sequence[Change]) -> Failures:
        """Up to ten."""
        receipts = [change.receipt for change in changes]
        seconds = {change.receipt: change.seconds for change in changes}
        return await self._batch(
            "change_message_visibility_batch",
            "keep or return in",
            receipts,
            lambda receipt: {"VisibilityTimeout": seconds[receipt]},
        )

    async def _batch(
        self, operation: str, doing: str, receipts: Sequence[Receipt], more: Callable[[Receipt], dict[str, Any]]
    ) -> Failures:
        entries = [
            {"Id": str(place), "ReceiptHandle": receipt.handle, **more(receipt)}
            for place, receipt in enumerate(receipts)
        ]
        try:
            answer = await self._ask(operation, doing, within=self._settling_seconds, Entries=entries)
        except LevelerError as error:
            return dict.fromkeys(range(len(receipts)), error)
        failed = answer.get("Failed", ())
        return {int(one["Id"]): of_entry(one, self._calls.place, f"{doing} queue {self.name!r}") for one in failed}

    async def _ask(self, operation: str, doing: str, *, within: float | None = None, **parameters: Any) -> Answer:
        url = await self._queues.url(self.name)
        try:
            return await self._calls.ask(
                operation, f"{doing} queue {self.name!r}", within=within, QueueUrl=url, **parameters
            )
        except QueueNotFound:
            self._queues.forget(self.name)
            raise
