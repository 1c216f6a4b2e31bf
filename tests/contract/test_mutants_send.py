"""Planted bugs in sending: each is caught by the cases that are named for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from leveler_memory.sender import MemorySender
from msgspec.structs import replace

from leveler.errors import BatchError, LevelerError, MessageTooLarge, QueueNotFound
from leveler.message import Message


class SendsOnlyTheFirst(MemorySender):
    async def send(self, messages: Sequence[Message]) -> None:
        await super().send(messages[:1])


class CutsLargeBatches(MemorySender):
    async def send(self, messages: Sequence[Message]) -> None:
        await super().send(messages[:50])


class KeepsTheLastOneInItsHands(MemorySender):
    kept: Sequence[Message] = ()

    async def send(self, messages: Sequence[Message]) -> None:
        messages = [*self.kept, *messages]
        self.kept = messages[-1:]
        await super().send(messages[:-1])


class SendsTwice(MemorySender):
    async def send(self, messages: Sequence[Message]) -> None:
        await super().send(messages)
        await super().send(messages)


class SendsSomethingForNothing(MemorySender):
    async def send(self, messages: Sequence[Message]) -> None:
        await super().send(messages or [Message(id="0", body=b"", time=self._clock.now())])


class ServesOneTaskAtATime(MemorySender):
    busy = False

    async def send(self, messages: Sequence[Message]) -> None:
        if self.busy:
            return
        self.busy = True
        await asyncio.sleep(0)
        await super().send(messages)
        self.busy = False


class SizesTheBodyAlone(MemorySender):
    def size(self, message: Message) -> int:
        return len(message.body)


class TakesAnySize(MemorySender):
    def _too_large(self, messages: Sequence[Message]) -> dict[int, LevelerError]:
        return {}


class DropsWhatIsTooLarge(MemorySender):
    async def send(self, messages: Sequence[Message]) -> None:
        with suppress(MessageTooLarge, BatchError):
            await super().send(messages)


class RefusesTheLargest(MemorySender):
    async def send(self, messages: Sequence[Message]) -> None:
        if any(self.size(message) >= self._limit_bytes for message in messages):
            raise MessageTooLarge("too large")
        await super().send(messages)


class RefusesNearlyTheLargest(MemorySender):
    async def send(self, messages: Sequence[Message]) -> None:
        if any(self.size(message) >= self._limit_bytes - 100 for message in messages):
            raise MessageTooLarge("too large")
        await super().send(messages)


class SizesBeforeItEncodes(MemorySender):
    async def send(self, messages: Sequence[Message]) -> None:
        if any(len(message.to_json()) > self._limit_bytes for message in messages):
            raise MessageTooLarge("too large")
        await super().send(messages)


class RefusesTheWholeBatch(MemorySender):
    async def send(self, messages: Sequence[Message]) -> None:
        if self._too_large(messages):
            raise MessageTooLarge("one of them")
        await super().send(messages)


class IgnoresNotBefore(MemorySender):
    async def send(self, messages: Sequence[Message]) -> None:
        await super().send([replace(message, not_before=None) for message in messages])


class ParksForEver(MemorySender):
    """As a delay that nobody wakes up from."""

    async def send(self, messages: Sequence[Message]) -> None:
        await super().send([message for message in messages if message.delay_seconds(self._clock.now()) == 0])


class TakesThePastForAReasonToWait(MemorySender):
    async def send(self, messages: Sequence[Message]) -> None:
        late = self._clock.now() + timedelta(seconds=10)
        await super().send([one if one.not_before is None else replace(one, not_before=late) for one in messages])


class DelaysInOneLine(MemorySender):
    """As one queue with a time to live per message: nothing leaves before what came before it."""

    latest: datetime | None = None

    async def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if self.latest is not None:
                message = replace(message, not_before=max(self.latest, message.not_before or self.latest))
            self.latest = message.not_before
            await super().send([message])


class CreatesWhatIsMissingSomewhereElse(MemorySender):
    async def send(self, messages: Sequence[Message]) -> None:
        with suppress(QueueNotFound):
            await super().send(messages)


#: What is broken, and the cases that must notice.
MUTANTS: Mapping[type, Sequence[str]] = {
    SendsOnlyTheFirst: ["send-a_whole_batch_arrives"],
    CutsLargeBatches: ["send-a_whole_batch_arrives"],
    KeepsTheLastOneInItsHands: [
        "send-a_sent_message_is_there_for_another_connection",
        "queues-skipping_the_declaration_still_tells_what_is_true",
        "send-a_sent_message_arrives",
    ],
    SendsTwice: ["receive-a_backlog_comes_out_whole"],
    SendsSomethingForNothing: ["send-an_empty_batch_sends_nothing"],
    ServesOneTaskAtATime: ["send-many_tasks_send_at_once"],
    SizesTheBodyAlone: ["send-the_size_counts_body_and_headers"],
    TakesAnySize: [
        "send-a_message_above_the_largest_size_is_refused",
        "send-one_message_that_is_too_large_fails_alone",
    ],
    DropsWhatIsTooLarge: ["send-a_message_above_the_largest_size_is_refused"],
    RefusesTheLargest: ["send-a_message_of_the_largest_size_arrives"],
    RefusesNearlyTheLargest: ["send-a_message_just_below_the_largest_size_arrives"],
    SizesBeforeItEncodes: ["send-a_large_message_may_be_any_bytes"],
    RefusesTheWholeBatch: ["send-one_message_that_is_too_large_fails_alone"],
    IgnoresNotBefore: ["delay-a_delayed_message_comes_when_its_time_has_come"],
    ParksForEver: ["delay-a_delayed_message_comes_when_its_time_has_come"],
    TakesThePastForAReasonToWait: ["delay-a_moment_in_the_past_is_no_delay"],
    DelaysInOneLine: ["delay-a_long_delay_does_not_hold_up_what_comes_behind_it"],
    CreatesWhatIsMissingSomewhereElse: ["queues-sending_to_a_queue_that_is_not_there_is_never_silence"],
}


@pytest.mark.parametrize(("broken", "case_id"), [(broken, case) for broken, found in MUTANTS.items() for case in found])
def test_it_is_caught(broken: type, case_id: str, judge: Callable[[str, type], tuple[str, str]]) -> None:
    assert judge(case_id, broken) == ("healthy", "failed")
