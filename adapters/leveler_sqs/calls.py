"""Calls: one client of SQS. Each request has a deadline, and nobody repeats it but the core."""

from __future__ import annotations

import asyncio
import logging
from functools import cache
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.loaders import Loader, create_loader

from leveler.errors import AccessDenied, ConfigError, NotStarted
from leveler_sqs.errors import translate
from leveler_sqs.line import Line
from leveler_sqs.location import Location
from leveler_sqs.options import SQSOptions

log: Final = logging.getLogger("leveler.sqs")

#: What SQS answers; botocore's own parsing has no types.
Answer = Any

#: For a receiver's polls at their most, and as many settlements and sends beside them.
_CONNECTIONS: Final = 128
#: Longer than any wait and deadline: each request is given up by its own.
_READ_SECONDS: Final = 3600


class Calls:
    """
    Args:
        location: where to.
        options: of the user.
        deadline_seconds: each request is answered or given up within it.
    """

    def __init__(self, location: Location, options: SQSOptions, deadline_seconds: float) -> None:
        self._location = location
        self._options = options
        self.deadline_seconds = deadline_seconds
        self._session: AioSession | None = None
        self._line: Line | None = None
        self._leaving = asyncio.Lock()
        self.place = str(location)

    async def open(self) -> None:
        """Make the client, and see that somebody answers who knows us."""
        try:
            self._line = await self._new_line()
        except Exception as error:
            raise translate(error, self.place, "open") from error
        try:
            await self.ask("list_queues", "look around", MaxResults=1)
        except AccessDenied as error:
            if "AccessDenied" not in str(error):
                raise
            # Least privilege: who may not list queues may still use some.

    async def close(self) -> None:
        async with self._leaving:
            line, self._line = self._line, None
            if line is not None:
                await line.retire()

    async def ask(self, operation: str, doing: str, *, within: float | None = None, **parameters: Any) -> Answer:
        """The answer to one request.

        Args:
            operation: as the client calls it.
            doing: the same for people, with the queue.
            within: how many seconds it may take; by default the deadline.
            parameters: of the operation.
        """
        if (line := self._line) is None:
            raise NotStarted(f"{self.place} is not open: use the adapter inside 'async with'")
        try:
            async with line.used() as client, asyncio.timeout(within or self.deadline_seconds):
                return await getattr(client, operation)(**parameters)
        except TimeoutError as error:
            await self._leave(line)
            raise translate(error, self.place, doing) from error
        except Exception as error:
            raise translate(error, self.place, doing) from error

    async def _leave(self, silent: Line) -> None:
        """A connection did not answer for so long. Its others may be as dead, and each of them, where it waits to be
        used again, would cost a deadline of its own: have new ones."""
        async with self._leaving:
            if self._line is not silent:  # somebody has done it, or all is over
                return
            try:
                self._line = await self._new_line()
            except Exception as error:  # what became of the request is what its caller must hear of
                log.warning("%s; the connections are kept", translate(error, self.place, "connect anew"))
            else:
                await silent.retire()

    async def _new_line(self) -> Line:
        session = self._session = self._session or await self._new_session()
        config = AioConfig(
            retries={"total_max_attempts": 1},
            max_pool_connections=_CONNECTIONS,
            connect_timeout=self.deadline_seconds,
            read_timeout=_READ_SECONDS,
            parameter_validation=False,  # they are made here, and their limits are looked at before
            # Else it is put together anew for every request, which is a fifth of what botocore does for one.
            user_agent=f"leveler {session.user_agent()}",
        )
        region, endpoint_url = self._region(session), self._location.endpoint_url
        line = Line()
        await line.connect(session.create_client("sqs", region_name=region, endpoint_url=endpoint_url, config=config))
        return line

    async def _new_session(self) -> AioSession:
        """Knows the region and the credentials, which it renews where they end."""
        session = AioSession(profile=self._options.profile or None)
        session.register_component("data_loader", _descriptions(session.get_config_variable("data_path")))
        region = self._region(session)
        if self._location.endpoint_url is None and region is not None:
            await _check_region(session, region)
        if await session.get_credentials() is None:
            raise AccessDenied(
                f"{self.place}: no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a "
                "profile=, or give this machine a role"
            )
        return session

    def _region(self, session: AioSession) -> str | None:
        return self._location.region or session.get_config_variable("region")


@cache
def _descriptions(path: str | None) -> Loader:
    """What botocore knows about services: large files, which need to be read only once."""
    return create_loader(path)


async def _check_region(session: AioSession, region: str) -> None:
    partitions = session.get_available_partitions()
    known = {name for partition in partitions for name in await session.get_available_regions("sqs", partition)}
    if region not in known:
        raise ConfigError(
            f"region {region!r} is none that botocore knows SQS in: correct it (for example sqs://eu-central-1), "
            "update botocore, or give endpoint_url="
        )
