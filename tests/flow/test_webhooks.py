"""contrib/webhooks: any source that calls a URL, with the same handlers."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientSession

from leveler import Context, Leveler, QueueSettings, Reject, Retry, RetryPolicy, Settings
from leveler.adapter import DeadLetter, Delivery, QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.errors import ConfigError
from leveler.message import Death, Message
from leveler.settings import BrokerSettings
from tests.containers.port import free_ports

_FILE = Path(__file__).parents[2] / "contrib" / "webhooks" / "webhooks.py"
_SPEC = importlib.util.spec_from_file_location("webhooks", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
webhooks: Any = importlib.util.module_from_spec(_SPEC)
sys.modules["webhooks"] = webhooks
_SPEC.loader.exec_module(webhooks)

QUEUE = QueueSettings(
    lease_seconds=5.0, timeout_seconds=3.0, retry=RetryPolicy(max_attempts=3, initial_seconds=0.1, cap_seconds=0.2)
)


class Hook(NamedTuple):
    app: Leveler
    url: str
    seen: list[tuple[Any, int, str]]

    async def post(self, body: bytes, **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with ClientSession() as session, session.post(self.url, data=body, headers=named) as answer:
            return answer.status

    async def see(self, count: int) -> list[tuple[Any, int, str]]:
        async with asyncio.timeout(10):
            while len(self.seen) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return self.seen


@asynccontextmanager
async def hook(folder: Path, **options: Any) -> AsyncIterator[Hook]:
    store = find(f"sqlite:///{folder}/inbox.db", clock=SystemClock(), deadline_seconds=5.0)
    port = free_ports()
    adapter = webhooks.WebhookAdapter(store, f"127.0.0.1:{port}", **options)
    settings = Settings(brokers={"default": BrokerSettings(adapter=adapter)}, queues={"orders": QUEUE})
    app = Leveler(settings=settings)
    seen: list[tuple[Any, int, str]] = []

    @app.consumer("orders")
    async def handle(order: dict[str, Any], ctx: Context) -> None:
        seen.append((order, ctx.attempt, ctx.message.id))
        if order.get("do") == "fail once" and ctx.attempt == 1:
            raise Retry(after=0.1)
        if order.get("do") == "fail":
            raise ValueError("no")
        if order.get("do") == "reject":
            raise Reject("never")

    async with app.working():
        made = Hook(app, f"http://127.0.0.1:{port}/orders", seen)
        async with asyncio.timeout(5):
            while await _is_away(made):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield made


async def _is_away(made: Hook) -> bool:
    try:
        async with ClientSession() as session, session.get(made.url):
            return False
    except OSError:
        return True


def played(**options: Any) -> Callable[[Callable[[Hook], Awaitable[None]]], Callable[[Path], None]]:
    def made(play: Callable[[Hook], Awaitable[None]]) -> Callable[[Path], None]:
        async def main(folder: Path) -> None:
            async with hook(folder, **options) as h:
                await play(h)

        def test(tmp_path: Path) -> None:
            asyncio.run(main(tmp_path))

        return test

    return made


@played()
async def _plain(h: Hook) -> None:
    assert await h.post(b'{"a":1}', Content_Type="application/json", Webhook_Id="w-1") == 200
    assert h.seen == [({"a": 1}, 1, "w-1")]


test_a_plain_webhook_is_answered_when_it_has_been_handled = _plain


@played()
async def _events(h: Hook) -> None:
    binary = {"ce_specversion": "1.0", "ce_id": "e-1", "ce_source": "/s", "ce_type": "T"}
    assert await h.post(b'{"a":1}', Content_Type="application/json", **binary) == 200
    event = b'{"specversion":"1.0","id":"e-2","source":"/s","type":"T","data":{"a":2}}'
    assert await h.post(event, Content_Type="application/cloudevents+json; charset=utf-8") == 200
    assert h.seen == [({"a": 1}, 1, "e-1"), ({"a": 2}, 1, "e-2")]


test_cloudevents_are_read_in_both_modes = _events


@played()
async def _retried(h: Hook) -> None:
    """The source is told that we have it, and needs not come again."""
    assert await h.post(b'{"do":"fail once"}', Webhook_Id="w-1", Content_Type="application/json") == 200
    assert [(attempt, id) for _, attempt, id in await h.see(2)] == [(1, "w-1"), (2, "w-1")]


test_what_fails_is_retried_from_the_store = _retried


@pytest.mark.parametrize(("do", "starts", "reason"), [("fail", 3, "exhausted"), ("reject", 1, "rejected")])
def test_what_will_never_work_is_a_dead_letter_in_the_store(tmp_path: Path, do: str, starts: int, reason: str) -> None:
    @played()
    async def play(h: Hook) -> None:
        body = f'{{"do":"{do}"}}'.encode()
        assert await h.post(body, Webhook_Id="w-1", Content_Type="application/json") == 200
        async with asyncio.timeout(10):
            while not (await h.app.depth("orders")).dead:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert len(h.seen) == starts
        async with find(f"sqlite:///{tmp_path}/inbox.db", clock=SystemClock(), deadline_seconds=5.0) as store:
            [letter] = await store.peek((await h.app._started().queue("orders")).spec, 5, dead=True)
        assert letter.id == "w-1"
        assert letter.death is not None
        assert (letter.death.reason, letter.body) == (reason, body)

    play(tmp_path)


def test_what_comes_twice_at_once_and_will_never_work_is_buried_twice(tmp_path: Path) -> None:
    message = Message(id="w-1", body=b"{}", time=SystemClock().now())
    dead = DeadLetter(Delivery(message, 1, float("inf"), None), Death(reason="rejected"))
    queue = QueueSpec(name="orders", lease_seconds=5.0)

    async def play() -> None:
        store = find(f"sqlite:///{tmp_path}/inbox.db", clock=SystemClock(), deadline_seconds=5.0)
        async with webhooks.WebhookAdapter(store) as adapter, asyncio.timeout(10):
            await adapter.declare(queue)
            receiver = adapter.receiver(queue, capacity=10)
            await asyncio.gather(*(receiver.buried(dead) for _ in range(3)))
            assert (await adapter.depth(queue))[:4] == (0, 0, 0, 3)

    asyncio.run(play())


@played()
async def _pages(h: Hook) -> None:
    """The browser on this machine sends what any page tells it to."""
    assert await h.post(b"{}", Origin="https://evil.example", Content_Type="text/plain") == 403
    assert await h.post(b"{}", Origin="null") == 403
    assert h.seen == []


test_without_a_guard_no_web_page_is_let_in = _pages


@played(guard=webhooks.BearerGuard("s3cret"))
async def _strangers(h: Hook) -> None:
    assert await h.post(b"{}") == 401
    assert await h.post(b"{}", Authorization="Bearer s3cre") == 401
    assert await h.post(b"{}", Authorization="Bearer s3cret", Content_Type="application/json") == 200
    assert len(h.seen) == 1


test_a_stranger_is_refused = _strangers


def test_without_a_guard_it_listens_on_the_loopback_address_only() -> None:
    store = find("memory://", clock=SystemClock(), deadline_seconds=1.0)
    with pytest.raises(ConfigError, match="guard"):
        webhooks.WebhookAdapter(store, "0.0.0.0:8080")


@played()
async def _sent(h: Hook) -> None:
    """What is sent from inside goes through the store to the same handler."""
    await h.app.send("orders", {"a": 1})
    [(order, attempt, _)] = await h.see(1)
    assert (order, attempt) == ({"a": 1}, 1)


test_what_is_sent_from_inside_comes_to_the_same_handlers = _sent
