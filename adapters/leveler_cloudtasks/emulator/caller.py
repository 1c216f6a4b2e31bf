"""The dispatcher's way out: one task, one HTTP request, with the headers of the real service."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import aiohttp
import grpc

from leveler.clock import Clock
from leveler_cloudtasks.emulator.entry import Entry
from leveler_cloudtasks.emulator.identity import Identity
from leveler_cloudtasks.emulator.protos import METHODS

#: Where an HTTP code has one of its own among gRPC's.
_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_MAX_REDIRECTS: Final = 5


class Answer(NamedTuple):
    """How one try ended."""

    #: The HTTP code; 0 where there was no response.
    status: int
    code: grpc.StatusCode
    text: str
    #: What the response asked to wait for before the next try.
    retry_after_seconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


class Caller:
    """Calls the workers.

    Args:
        identity: signs tokens.
        clock: the emulator's.
    """

    def __init__(self, identity: Identity, clock: Clock) -> None:
        self._identity = identity
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, queue: str, entry: Entry) -> Answer:
        """Never raises for what the worker, or the way to it, does."""
        expired = False
        request = asyncio.ensure_future(self._request(queue, entry))

        def expire() -> None:
            nonlocal expired
            expired = request.cancel()

        timer = self._clock.call_later(entry.deadline_seconds, expire)
        try:
            return await request
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(0, grpc.StatusCode.UNAVAILABLE, f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:
            if not expired:
                raise
            return Answer(0, grpc.StatusCode.DEADLINE_EXCEEDED, "the worker did not respond by the deadline")
        finally:
            timer.cancel()
            request.cancel()

    async def _request(self, queue: str, entry: Entry) -> Answer:
        request = entry.proto.http_request
        async with self._opened().request(
            METHODS[request.http_method],
            request.url,
            data=request.body or None,
            headers=self._headers(queue, entry),
            max_redirects=_MAX_REDIRECTS,
            skip_auto_headers=("Content-Type", "Accept", "Accept-Encoding"),
        ) as response:
            await response.read()
            asked = _retry_after_seconds(response.headers.get("Retry-After", ""), self._clock)
            code = grpc.StatusCode.OK if response.ok else _CODES.get(response.status, grpc.StatusCode.UNKNOWN)
            return Answer(response.status, code, f"HTTP status code {response.status}", asked)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Idle connections are closed before the workers do it: a request that meets a closing one is a lost try.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2.0, ttl_dns_cache=60)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        return self._session

    def _headers(self, queue: str, entry: Entry) -> dict[str, str]:
        task, facts = entry.proto, entry.facts
        headers = {name: value for name, value in task.http_request.headers.items() if not _is_ours(name.lower())}
        headers["User-Agent"] = "Google-Cloud-Tasks"
        headers["X-CloudTasks-QueueName"] = queue.rpartition("/")[2]
        headers["X-CloudTasks-TaskName"] = entry.name.rpartition("/")[2]
        headers["X-CloudTasks-TaskRetryCount"] = str(entry.tries - 1)
        headers["X-CloudTasks-TaskExecutionCount"] = str(facts.executions)
        headers["X-CloudTasks-TaskETA"] = f"{facts.due_at:.6f}"
        if facts.previous:
            headers["X-CloudTasks-TaskPreviousResponse"] = str(facts.previous)
        if facts.reason:
            headers["X-CloudTasks-TaskRetryReason"] = facts.reason
        if (token := self._token(task.http_request)) is not None:
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _token(self, request: Any) -> str | None:
        if request.HasField("oidc_token"):
            oidc = request.oidc_token
            return self._identity.token(oidc.service_account_email, oidc.audience or request.url)
        if request.HasField("oauth_token"):
            return f"emulated.{request.oauth_token.service_account_email}"
        return None


def _is_ours(name: str) -> bool:
    """Headers of a task that the service ignores or replaces."""
    return name in ("host", "content-length", "user-agent", "transfer-encoding", "connection") or name.startswith(
        ("x-google-", "x-appengine-", "x-cloudtasks-")
    )


def _retry_after_seconds(text: str, clock: Clock) -> float:
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - clock.now()).total_seconds())
    except (ValueError, TypeError):
        return 0.0
