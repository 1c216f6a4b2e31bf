"""Admin: queues made, checked, counted and removed, through the service's own admin API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.transport import AioHttpTransport
from azure.servicebus.aio.management import ServiceBusAdministrationClient
from azure.servicebus.management import QueueProperties, QueueRuntimeProperties

from leveler.adapter import QueueSpec
from leveler.errors import ConfigError
from leveler_servicebus.errors import translate
from leveler_servicebus.place import Place

_T = TypeVar("_T")

#: The service's own limit is a backstop: it counts what leveler counts, and must not come first.
_MORE_DELIVERIES: Final = 10
_MOST_DELIVERIES: Final = 2000
#: A time to live above this is none.
_FOR_EVER: Final = timedelta(days=3650)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is true of a queue on the server."""

    lock_seconds: float
    sessions: bool = False
    dedup_seconds: float = 0.0
    degraded: tuple[str, ...] = ()


class Admin:
    """
    Args:
        place: the namespace.
        credential: where Entra ID says who we are.
        deadline_seconds: of one call.
    """

    def __init__(self, place: Place, credential: Any, deadline_seconds: float) -> None:
        self._place = place
        self._credential = credential
        self._deadline = deadline_seconds
        self._life = AsyncExitStack()

    async def open(self) -> None:
        options: dict[str, Any] = {"retry_total": 0}
        if self._place.admin_url:
            options["transport"] = _Elsewhere(self._place.admin_url)
        if self._place.connection_string:
            client = ServiceBusAdministrationClient.from_connection_string(self._place.connection_string, **options)
        else:
            client = ServiceBusAdministrationClient(self._place.host, self._credential, **options)
        self._client = await self._life.enter_async_context(client)

    async def close(self) -> None:
        await self._life.aclose()

    async def look(self) -> None:
        """A look that shows whether anybody answers, and knows us.

        Raises:
            AccessDenied: or may not look.
        """
        await self._ask(self._client.get_namespace_properties(), str(self._place))

    async def ensure(self, spec: QueueSpec) -> Facts:
        """Make or check the queue, as `spec` says.

        Raises:
            QueueNotFound: it is not there and may not be created.
            ConfigError: it cannot keep the promises.
            AccessDenied: nobody may look.
        """
        if spec.declare == "create":
            await self._ask(self._created(spec), spec.name)
        return facts_of(spec, await self._ask(self._client.get_queue(spec.name), spec.name))

    async def drop(self, name: str) -> None:
        await self._ask(self._dropped(name), name)

    async def counts(self, name: str) -> QueueRuntimeProperties:
        return await self._ask(self._client.get_queue_runtime_properties(name), name)

    async def _created(self, spec: QueueSpec) -> None:
        window = timedelta(seconds=spec.dedup_seconds) if spec.dedup_seconds else None
        try:
            await self._client.create_queue(
                spec.name,
                lock_duration=timedelta(seconds=spec.lease_seconds),
                max_delivery_count=min(spec.max_deliveries + _MORE_DELIVERIES, _MOST_DELIVERIES),
                requires_session=spec.ordered,
                requires_duplicate_detection=window is not None,
                duplicate_detection_history_time_window=window,
                dead_lettering_on_message_expiration=True,
            )
        except ResourceExistsError:
            return

    async def _dropped(self, name: str) -> None:
        try:
            await self._client.delete_queue(name)
        except ResourceNotFoundError:
            return

    async def _ask(self, request: Awaitable[_T], place: str) -> _T:
        try:
            async with asyncio.timeout(self._deadline):
                return await request
        except Exception as error:
            raise translate(error, place) from error


def facts_of(spec: QueueSpec, found: QueueProperties) -> Facts:
    """What is true of the queue.

    Raises:
        ConfigError: it cannot keep the promises; names the setting and both values.
    """
    lock = _seconds(found.lock_duration)
    window = _seconds(found.duplicate_detection_history_time_window) if found.requires_duplicate_detection else 0.0
    deliveries = found.max_delivery_count or 0
    wrong = {
        "LockDuration": (lock < spec.lease_seconds, lock, f"lease is {spec.lease_seconds:g} s"),
        "MaxDeliveryCount": (
            deliveries < spec.max_deliveries,
            deliveries,
            f"leveler delivers up to {spec.max_deliveries} times",
        ),
        "RequiresSession": (
            bool(found.requires_session) != spec.ordered,
            found.requires_session,
            f"ordered is {spec.ordered}",
        ),
        "DuplicateDetectionHistoryTimeWindow": (
            window < spec.dedup_seconds,
            window,
            f"dedup is {spec.dedup_seconds:g} s",
        ),
        "DefaultMessageTimeToLive": (_drops(found), found.default_message_time_to_live, "nothing may be thrown away"),
    }
    for setting, (is_wrong, value, wanted) in wrong.items():
        if is_wrong:
            raise ConfigError(
                f"queue {spec.name!r}: {setting} is {value} on the server, and {wanted}: change the one or the other "
                "(a queue of other settings has to be made anew)"
            )
    return Facts(lock_seconds=lock, sessions=bool(found.requires_session), dedup_seconds=window)


def _drops(found: QueueProperties) -> bool:
    """Whether what has waited too long is thrown away, and not even dead-lettered."""
    lives = found.default_message_time_to_live
    return isinstance(lives, timedelta) and lives < _FOR_EVER and not found.dead_lettering_on_message_expiration


def _seconds(given: timedelta | str | None) -> float:
    return given.total_seconds() if isinstance(given, timedelta) else 0.0


class _Elsewhere(AioHttpTransport):  # type: ignore[misc]
    """The client of the admin API only knows one place for it: HTTPS, on the port of its own. An emulator has another.

    Args:
        url: where it is.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = urlsplit(url)

    async def send(self, request: Any, **options: Any) -> Any:
        asked = urlsplit(request.url)
        request.url = asked._replace(scheme=self._url.scheme, netloc=self._url.netloc).geturl()
        return await super().send(request, **options)
