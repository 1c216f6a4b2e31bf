"""Endpoint: the figures over HTTP. It answers from threads of its own, so that a slow reader costs the engine nothing;
only to look at the figures does it come into the engine's loop, and whether it gets in there is whether the loop lives.

    /figures    JSON, every field of `leveler.monitor.figures`
    /metrics    Prometheus text
    /livez      200 while the event loop answers
    /readyz     200 while every consumer is consuming and no stop is under way
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from leveler.errors import ConfigError
from leveler.events import log
from leveler.monitor.address import Address
from leveler.monitor.figures import AppFigures
from leveler.monitor.guard import Guard
from leveler.monitor.prometheus import MissingClient, metrics
from leveler.monitor.server import TEXT, Answer, Server

T = TypeVar("T")

#: A loop that has not come round by then is stuck: heartbeats and renewals wait in it, too.
_LOOP_SECONDS: Final = 5.0
#: The brokers are asked for depths, each within its own deadline.
_LOOK_SECONDS: Final = 30.0

_JSON: Final = "application/json"
_PATHS: Final = "/figures /metrics /livez /readyz"


class Endpoint:
    """``async with Endpoint(...)``: listens inside.

    Args:
        address: where; port 0 = any that is free.
        token: who shows it may read figures; None where everybody on this host may.
        figures: looks at the app; called in the loop that enters.
        ready: whether the app does what it is there for; called in the same loop.
    """

    def __init__(
        self,
        address: Address,
        token: str | None,
        *,
        figures: Callable[[], Awaitable[AppFigures]],
        ready: Callable[[], bool],
    ) -> None:
        self._address = address
        self._guard = Guard(address, token)
        self._figures = figures
        self._ready = ready

    async def __aenter__(self) -> Self:
        """
        Raises:
            ConfigError: nobody can listen there.
        """
        self._loop = asyncio.get_running_loop()
        try:
            self._server = Server(self._address, self._answer)
        except OSError as error:
            raise ConfigError(
                f"listen is {self._address}: {error.strerror or error}; give every worker of a host a port of its own, "
                "or port 0 for any that is free"
            ) from error
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="leveler-endpoint", daemon=True).start()
        log.info("figures at %s/figures", self.url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it really listens."""
        return f"http://{self._address._replace(port=self._server.server_address[1])}"

    def _answer(self, path: str, headers: Any) -> Answer:
        """What a request gets; called in its thread."""
        path = path.partition("?")[0]
        if refusal := self._guard.refuses(path, headers["Host"], headers["Authorization"]):
            return _text(refusal.status, refusal.text)
        try:
            match path:
                case "/figures":
                    return Answer(HTTPStatus.OK, _JSON, msgspec.json.encode(self._look()))
                case "/metrics":
                    content_type, body = metrics(self._look(), headers["Accept"] or "")
                    return Answer(HTTPStatus.OK, content_type, body)
                case "/livez":
                    self._in_loop(_nothing(), _LOOP_SECONDS)
                    return _text(HTTPStatus.OK, "alive")
                case "/readyz":
                    ready = self._in_loop(_call(self._ready), _LOOP_SECONDS)
                    return (
                        _text(HTTPStatus.OK, "ready") if ready else _text(HTTPStatus.SERVICE_UNAVAILABLE, "not ready")
                    )
        except MissingClient as error:
            return _text(HTTPStatus.NOT_IMPLEMENTED, str(error))
        except TimeoutError:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "the event loop does not answer")
        return _text(HTTPStatus.NOT_FOUND, f"there is nothing here: {_PATHS}")

    def _look(self) -> AppFigures:
        return self._in_loop(self._figures(), _LOOK_SECONDS)

    def _in_loop(self, work: Awaitable[T], seconds: float) -> T:
        """What `work` gives, done in the engine's loop."""
        future = asyncio.run_coroutine_threadsafe(_await(work), self._loop)
        try:
            return future.result(seconds)
        finally:
            future.cancel()


async def _await(work: Awaitable[T]) -> T:
    return await work


async def _call(asked: Callable[[], T]) -> T:
    return asked()


async def _nothing() -> None:
    """To come round is enough."""


def _text(status: HTTPStatus, text: str) -> Answer:
    return Answer(status, TEXT, f"{text}\n".encode())
