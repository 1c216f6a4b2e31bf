"""The one seam where AMQP's errors become leveler's."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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

_LOGIN_REFUSED = "ACCESS_REFUSED - Login was refused"

#: Reply codes, AMQP 0-9-1 section 1.2 and RabbitMQ's own use of them.
ACCESS_REFUSED = 403
NOT_FOUND = 404
PRECONDITION_FAILED = 406
NOT_ALLOWED = 530


class ChannelClosed(Exception):
    """The broker has closed one of our channels: an answer to something that we did, and to nothing else."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code} {text}")


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
    match error.code:
        case 404 if "no queue" in error.text:
            return QueueNotFound(f"{what} does not exist: declare it with declare: create, or check its name")
        case 403:
            return AccessDenied(f"{what}: {_reason(error.text)}: give this user configure, write and read permissions")
        case 405:
            return ConfigError(f"{what}: {_reason(error.text)}: it is another connection's own; choose another name")
        case 406 if "timed out" in error.text:
            return ReceiverLost(
                f"{what}: {_reason(error.text)}: a delivery was held longer than the server's consumer_timeout; raise "
                "it, or tell us the lower value with the option consumer_timeout_seconds"
            )
        case _:
            return BrokerError(f"{what}: the broker refuses it: {error.code} {error.text}")


def not_connected(error: BaseException, where: str, vhost: str) -> LevelerError:
    """Why there is no connection. Raise it ``from error``."""
    text = " ".join(str(part) for part in error.args)
    if isinstance(error, LevelerError):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigError(
            f"{where}: its certificate cannot be trusted ({error.verify_message}): name who has signed it with the "
            "option ca_file, and connect to the host name that it was made for"
        )
    if isinstance(error, ssl.SSLError):
        return ConfigError(f"{where}: no TLS there ({error.reason}): use amqp:// for a port without TLS")
    if _LOGIN_REFUSED in text or "403" in text:
        return AccessDenied(f"{where}: the broker refuses this user name or password: correct them in the URL")
    if f"{NOT_ALLOWED}" in text and "not found" in text:
        return ConfigError(f"{where}: there is no vhost {vhost!r}: create it, or correct the end of the URL")
    if f"{NOT_ALLOWED}" in text:
        return AccessDenied(f"{where}: this user may not use the vhost {vhost!r}: set permissions on it")
    if isinstance(error, TimeoutError):
        return BrokerUnavailable(f"{where}: no answer in time: check host and port, and that a broker listens there")
    if isinstance(error, OSError) and not isinstance(error, AMQPError):
        return BrokerUnavailable(f"{where}: {error.strerror or error}: check host and port, and that the broker runs")
    return BrokerUnavailable(
        f"{where}: the connection ended before it was open ({text or type(error).__name__}): is it a broker, and does "
        "the port want TLS (amqps://)?"
    )


def _reason(text: str) -> str:
    return text.partition(" - ")[2] or text
