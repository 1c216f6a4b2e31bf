"""The same app as a Lambda function: recorded events in, the exact answer out."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from leveler_lambda import LambdaHandler, lambda_handler
from leveler_lambda.adapter import EventAdapter

from leveler import ConfigError, Context, Leveler, LimitSettings, QueueSettings, Reject, RetryPolicy
from leveler.adapter import QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.settings import ConsumerSettings
from tests.containers.keeper import Kept

EVENTS: Final = Path(__file__).parent / "events"


class Order(msgspec.Struct):
    id: str
    total: float
    fails: bool = False
    rejected: bool = False
    seconds: float = 0.0


class Invocation:
    """As much of Lambda's context as is looked at."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._ends_at - time.monotonic()) * 1000)


class Function:
    """A function that is warm from its first call on."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.app = Leveler(url, **settings)
        self.started: list[str] = []
        self.completed: list[str] = []
        self.running = self.most_running = 0
        self.app.consumer("orders")(self._handle)
        self.handler: LambdaHandler = lambda_handler(self.app)

    def __call__(self, event: dict[str, Any], seconds: float = 20.0) -> list[str]:
        """The numbers of the records that are to come again."""
        answer = self.handler(event, Invocation(seconds))
        assert list(answer) == ["batchItemFailures"]
        assert all(list(one) == ["itemIdentifier"] for one in answer["batchItemFailures"])
        return [one["itemIdentifier"].partition("-")[0].lstrip("0") for one in answer["batchItemFailures"]]

    async def _handle(self, order: Order, ctx: Context) -> None:
        self.started.append(order.id)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(order.seconds)
        finally:
            self.running -= 1
        if order.rejected:
            raise Reject("not like this")
        if order.fails:
            raise ConnectionError("not now")
        self.completed.append(order.id)


MakeFunction = Callable[..., Function]


@pytest.fixture
def function(sqs: Kept) -> Iterator[MakeFunction]:
    """Functions on queues of their own; the emulator knows the queues that they send dead letters to."""
    made: list[Function] = []
    specs = [QueueSpec(name="orders"), QueueSpec(name="orders", ordered=True)]

    async def each(verb: str) -> None:
        async with find(sqs.url, clock=SystemClock(), deadline_seconds=10.0) as adapter:
            for spec in specs:
                await getattr(adapter, verb)(spec)

    def make(**settings: Any) -> Function:
        made.append(Function(sqs.url, **settings))
        return made[-1]

    asyncio.run(each("declare"))
    try:
        yield make
    finally:
        for one in made:
            one.handler.close()
        asyncio.run(each("drop"))


def event(name: str) -> dict[str, Any]:
    """As it was recorded, but for its age: retries end with that."""
    found: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    for record in found["Records"]:
        record["attributes"]["SentTimestamp"] = str(int(time.time() * 1000))
    return found


def orders(*bodies: dict[str, Any], count: int = 1) -> dict[str, Any]:
    [first, *_] = event("standard")["Records"]
    attributes = {**first["attributes"], "ApproximateReceiveCount": str(count)}
    return {
        "Records": [
            {**first, "messageId": f"{n:08d}-x", "body": json.dumps({"total": 1, **body}), "attributes": attributes}
            for n, body in enumerate(bodies, 1)
        ]
    }


def dead(url: str) -> dict[str, str]:
    """Reasons of the dead letters, by their bodies."""

    async def look() -> dict[str, str]:
        async with find(url, clock=SystemClock(), deadline_seconds=10.0) as adapter:
            letters = await adapter.peek(QueueSpec(name="orders"), 10, dead=True)
        return {one.body.decode(): one.death.reason for one in letters if one.death}

    return asyncio.run(look())


def test_what_is_handled_does_not_come_again(function: MakeFunction) -> None:
    of_orders = function()
    assert of_orders(event("standard")) == []
    assert sorted(of_orders.completed) == ["1", "2", "3"]


def test_what_fails_comes_again_and_nothing_else(function: MakeFunction) -> None:
    of_orders = function()
    assert of_orders(event("mixed")) == ["2", "4"]
    assert sorted(of_orders.completed) == ["1", "3"]


def test_a_warm_function_takes_one_event_after_another(function: MakeFunction) -> None:
    of_orders = function()
    answers = [of_orders(event(name)) for name in ("mixed", "standard", "mixed")]
    assert answers == [["2", "4"], [], ["2", "4"]]


def test_what_cannot_be_read_or_is_rejected_is_a_dead_letter_and_done(function: MakeFunction, sqs: Kept) -> None:
    of_orders = function()
    assert of_orders(event("undecodable")) == []
    assert of_orders.completed == ["1"]
    assert sorted(dead(sqs.url).values()) == ["rejected", "undecodable"]


def test_the_last_attempt_ends_in_the_dead_letters(function: MakeFunction, sqs: Kept) -> None:
    of_orders = function(queues={"orders": QueueSettings(retry=RetryPolicy(max_attempts=3))})
    failing = {"id": "7", "fails": True}
    assert of_orders(orders(failing, count=2)) == ["1"]
    assert dead(sqs.url) == {}
    assert of_orders(orders(failing, count=3)) == []
    assert list(dead(sqs.url).values()) == ["exhausted"]


def test_a_group_stops_at_its_first_failure_and_others_go_on(function: MakeFunction) -> None:
    of_orders = function(queues={"orders": QueueSettings(ordered=True)})
    assert of_orders(event("fifo")) == ["3", "5", "6", "7"]
    assert sorted(of_orders.completed) == ["1", "2", "4", "8"]
    assert {"5", "6"}.isdisjoint(of_orders.started)


def test_limits_hold_within_an_event(function: MakeFunction) -> None:
    limits = ConsumerSettings(limits=LimitSettings(concurrency=2))
    of_orders = function(consumers={"orders": limits})
    assert of_orders(orders(*({"id": str(n), "seconds": 0.05} for n in range(6)))) == []
    assert of_orders.most_running == 2


def test_what_is_not_done_in_the_functions_time_comes_again(function: MakeFunction) -> None:
    of_orders = function()
    began = time.monotonic()
    assert of_orders(orders({"id": "1"}, {"id": "2", "seconds": 30}), seconds=3.0) == ["2"]
    assert time.monotonic() - began < 3.0
    assert of_orders.completed == ["1"]


def test_an_event_without_records_is_fine(function: MakeFunction) -> None:
    assert function()({"Records": []}) == []


def test_an_event_for_another_queue_fails_as_a_whole(function: MakeFunction) -> None:
    with pytest.raises(ConfigError, match=r"'orders\.fifo' has no handler here.*ordered"):
        function()(event("fifo"))


def test_an_event_of_another_service_fails_as_a_whole(function: MakeFunction) -> None:
    with pytest.raises(ConfigError, match="'aws:kinesis'"):
        function()({"Records": [{"eventSource": "aws:kinesis"}]})


def test_sending_from_a_handler_works_as_everywhere(function: MakeFunction, sqs: Kept) -> None:
    of_orders = function()

    @of_orders.app.consumer("orders", type="Note")
    async def note(value: dict[str, str]) -> None:
        await of_orders.app.send("orders", {"id": "9", "total": 2})

    body = json.dumps({"specversion": "1.0", "id": "n1", "type": "Note", "source": "/", "data": {"a": "b"}})
    [record, *_] = event("standard")["Records"]
    assert of_orders({"Records": [{**record, "body": body}]}) == []

    async def ready() -> int | None:
        async with find(sqs.url, clock=SystemClock(), deadline_seconds=10.0) as adapter:
            return (await adapter.depth(QueueSpec(name="orders"))).ready

    assert asyncio.run(ready()) == 1


def test_nothing_is_asked_of_sqs_while_all_goes_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cold start pays for no connection: there is no server, and no credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    of_orders = Function("sqs://us-east-1?endpoint_url=http://127.0.0.1:9")
    assert of_orders(event("standard")) == []
    assert all(isinstance(one, EventAdapter) for one in of_orders.handler._adapters)
    of_orders.handler.close()
