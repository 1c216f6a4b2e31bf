"""The one seam where AMQP's errors become leveler's."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiormq.exceptions import AMQPError

from leveler.errors import (
    AccessDenied,
    BrokerError,
    BrokerUnavailable,
    ConfigError,
    LevelerError,
    QueueNotFound,
    ReceiverLost,
)

#: Reply codes, AMQP 0-9-1 section 1.2 and RabbitMQ's own use of them.
ACCESS_REFUSED: Final = 403
NOT_FOUND: Final = 404
RESOURCE_LOCKED: Final = 405
PRECONDITION_FAILED: Final = 406
NOT_ALLOWED: Final = 530


class Closed(Exception):
    """The broker says why it ends something."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code} {text}")


class ChannelClosed(Closed):
    """It has closed one of our channels: an answer to something that we did, and to nothing else."""


class NotWelcome(Closed):
    """It does not let us connect."""


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Give up waiting for the broker after so long.

    Raises:
        BrokerUnavailable: it has not answered.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise BrokerUnavailable(f"{what}: the broker has not answered within {seconds:g} s") from error


def refused(error: ChannelClosed, what: str) -> LevelerError:
    """What the broker has against `what`. Raise it ``from error``."""
    reason = _reason(error.text)
    if error.code == NOT_FOUND and "no queue" in error.text:
        return QueueNotFound(f"{what} does not exist: declare it with declare: create, or check its name")
    if error.code == NOT_FOUND:  # it exists: its node is away, or somebody else is just declaring it
        return BrokerUnavailable(f"{what}: {reason}")
    if error.code == ACCESS_REFUSED:
        return AccessDenied(f"{what}: {reason}: give this user configure, write and read permissions")
    if error.code == RESOURCE_LOCKED:
        return ConfigError(f"{what}: {reason}: it is another connection's own; choose another name")
    if error.code == PRECONDITION_FAILED and "timed out" in error.text:
        return ReceiverLost(
            f"{what}: {reason}: a delivery was held longer than the server's consumer_timeout; raise it, or tell us "
            "the lower value with the option consumer_timeout_seconds"
        )
    return BrokerError(f"{what}: the broker refuses it: {error}")


def not_connected(error: BaseException, where: str, vhost: str) -> LevelerError:
    """Why there is no connection. Raise it ``from error``."""
    if isinstance(error, LevelerError):
        return error
    if isinstance(error, NotWelcome):
        return _not_welcome(error, where, vhost)
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigError(
            f"{where}: its certificate cannot be trusted ({error.verify_message}): name who has signed it with the "
            "option ca_file, and connect to the host name that it was made for"
        )
    if isinstance(error, ssl.SSLError):
        return ConfigError(f"{where}: no TLS there ({error.reason}): use amqp:// for a port without TLS")
    if isinstance(error, TimeoutError):
        return BrokerUnavailable(f"{where}: no answer in time: check host and port, and that a broker listens there")
    if isinstance(error, OSError) and not isinstance(error, AMQPError):
        known = error.errno and not isinstance(error, socket.gaierror)
        text = os.strerror(error.errno or 0) if known else error.strerror or str(error)
        return BrokerUnavailable(f"{where}: {text}: check host and port, and that the broker runs")
    return BrokerUnavailable(
        f"{where}: the connection ended before it was open ({error or type(error).__name__}): is it a broker, and does "
        "the port want TLS (amqps://)?"
    )


def _not_welcome(error: NotWelcome, where: str, vhost: str) -> LevelerError:
    if error.code == NOT_ALLOWED and "not found" in error.text:
        return ConfigError(f"{where}: there is no vhost {vhost!r}: create it, or correct the end of the URL")
    if error.code == NOT_ALLOWED and "access to vhost" in error.text:
        return AccessDenied(f"{where}: this user may not use the vhost {vhost!r}: give it permissions there")
    if error.code == ACCESS_REFUSED:
        return AccessDenied(f"{where}: the broker refuses this user name or password: correct them in the URL")
    return BrokerUnavailable(f"{where}: the broker refuses the connection: {error}")


def _reason(text: str) -> str:
    return text.partition(" - ")[2] or text
