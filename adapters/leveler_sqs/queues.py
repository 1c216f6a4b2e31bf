"""Queues: where they are, and making, checking and dropping them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from leveler.adapter import QueueSpec
from leveler.errors import AccessDenied, BrokerError, QueueNotFound
from leveler_sqs import policy
from leveler_sqs.calls import Calls
from leveler_sqs.options import SQSOptions

_READ: Final = ("QueueArn", "MessageRetentionPeriod", "MaximumMessageSize", "RedrivePolicy")
_DEPTHS: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class Queues:
    """
    Args:
        calls: to SQS.
        options: of the user.
    """

    def __init__(self, calls: Calls, options: SQSOptions) -> None:
        self._calls = calls
        self._prefix = options.prefix
        self._owner: dict[str, Any] = {"QueueOwnerAWSAccountId": options.account} if options.account else {}
        self._urls: dict[str, str] = {}
        self._most_bytes: dict[str, int] = {}
        #: Whose settings and counts we may not see.
        self.hidden: set[str] = set()

    def name(self, queue: QueueSpec, *, dead: bool = False) -> str:
        """As SQS knows it."""
        return f"{self._prefix}{queue.dead_name if dead else queue.name}{'.fifo' if policy.is_fifo(queue) else ''}"

    def most_bytes(self, queue: QueueSpec) -> int:
        """What the queue and its dead letters take as one message, as far as it has been seen yet."""
        return self._most_bytes.get(self.name(queue), policy.MOST_BYTES)

    async def url(self, name: str) -> str:
        """
        Raises:
            QueueNotFound: there is no such queue.
        """
        if (known := self._urls.get(name)) is not None:
            return known
        answer = await self._calls.ask("get_queue_url", f"find queue {name!r}", QueueName=name, **self._owner)
        url: str = answer["QueueUrl"]
        self._urls[name] = url
        return url

    def forget(self, name: str) -> None:
        """It may be gone."""
        self._urls.pop(name, None)

    async def declare(self, queue: QueueSpec) -> list[str]:
        """Make or check the queue and its dead letters. What is weaker about them, a line each.

        Raises:
            QueueNotFound: it is not there, and may not be made.
            ConfigError: its settings break promises.
        """
        name, dead = self.name(queue), self.name(queue, dead=True)
        if queue.declare == "skip":
            with suppress(QueueNotFound, AccessDenied):
                self._most_bytes[name] = policy.most_bytes(name, await self._read(name), await self._read(dead))
            return []
        for one in (dead, name) if queue.declare == "create" else (name, dead):
            await self._find(one, queue)
        try:
            settings, dead_settings = await self._read(name), await self._read(dead)
        except AccessDenied as error:
            self.hidden.add(name)
            return [f"the settings of queue {name!r} could not be verified: {error}"]
        policy.check_redrive(queue, name, settings)
        self._most_bytes[name] = policy.most_bytes(name, settings, dead_settings)
        if queue.declare == "create" and not policy.has_backstop(settings):
            settings = await self._with_backstop(name, queue, settings, dead_settings)
        return policy.weaknesses(name, dead, settings) + policy.short_retention(dead, dead_settings)

    async def drop(self, queue: QueueSpec) -> None:
        for name in (self.name(queue), self.name(queue, dead=True)):
            self.forget(name)
            with suppress(QueueNotFound):
                await self._calls.ask("delete_queue", f"delete queue {name!r}", QueueUrl=await self.url(name))
            self.forget(name)

    async def depths(self, name: str) -> tuple[int, int, int]:
        """Ready, leased, delayed."""
        found = await self._attributes(name, _DEPTHS)
        ready, leased, delayed = (int(found.get(one, 0)) for one in _DEPTHS)
        return ready, leased, delayed

    async def _find(self, name: str, queue: QueueSpec) -> None:
        self.forget(name)
        try:
            await self.url(name)
        except QueueNotFound:
            if queue.declare != "create":
                raise
            await self._create(name, policy.creation(queue))

    async def _create(self, name: str, attributes: Mapping[str, str]) -> None:
        doing = f"create queue {name!r}"
        try:
            answer = await self._calls.ask("create_queue", doing, QueueName=name, Attributes=attributes)
            self._urls[name] = answer["QueueUrl"]
        except BrokerError as error:
            if "QueueNameExists" not in str(error) and "QueueAlreadyExists" not in str(error):
                raise
            await self.url(name)  # somebody else has just made it, with another lease perhaps

    async def _read(self, name: str) -> dict[str, str]:
        return await self._attributes(name, _READ)

    async def _attributes(self, name: str, wanted: tuple[str, ...]) -> dict[str, str]:
        doing = f"read the settings of queue {name!r}"
        try:
            answer = await self._calls.ask(
                "get_queue_attributes", doing, QueueUrl=await self.url(name), AttributeNames=list(wanted)
            )
        except QueueNotFound:
            self.forget(name)
            raise
        found: dict[str, str] = answer.get("Attributes", {})
        return found

    async def _with_backstop(
        self, name: str, queue: QueueSpec, settings: dict[str, str], dead_settings: Mapping[str, str]
    ) -> dict[str, str]:
        """The settings with a redrive policy. Without, where we may not set one: then it is said to be missing."""
        wanted = policy.backstop(queue, dead_settings["QueueArn"])
        try:
            await self._calls.ask(
                "set_queue_attributes",
                f"set the redrive policy of queue {name!r}",
                QueueUrl=await self.url(name),
                Attributes=wanted,
            )
        except AccessDenied:
            return settings
        return {**settings, **wanted}
