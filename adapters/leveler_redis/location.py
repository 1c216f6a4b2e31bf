"""Location: which server a URL means, and how to connect to it."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from leveler.errors import ConfigError
from leveler_redis.options import RedisOptions

_FORM: Final = "write redis://[user:password@]host[:port][/database], or rediss:// for TLS"


@dataclass(frozen=True)
class Location:
    """A server. The password never shows."""

    host: str
    port: int
    database: int
    username: str | None
    password: str | None = field(repr=False)
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"

    @property
    def is_plain_to_another_host(self) -> bool:
        """Whether credentials and messages cross a network as they are."""
        return not self.tls and not _is_loopback(self.host)

    def connection(self, options: RedisOptions) -> Connection:
        """A connection that is not made yet. It never tries anything twice: the core does, with its own patience."""
        given: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "db": self.database,
            "username": self.username,
            "password": self.password,
            "protocol": 2,
            "socket_timeout": None,  # every ask has a deadline of its own
            "socket_connect_timeout": None,
            "retry": Retry(NoBackoff(), 0),
            "socket_read_size": 256 * 1024,  # answers are large
        }
        if not self.tls:
            return Connection(**given)
        return SSLConnection(
            ssl_cert_reqs="required",
            ssl_check_hostname=True,
            ssl_min_version=ssl.TLSVersion.TLSv1_2,
            ssl_ca_certs=options.tls_ca_file or None,
            ssl_certfile=options.tls_cert_file or None,
            ssl_keyfile=options.tls_key_file or None,
            **given,
        )


def location_of(url: str) -> Location:
    """
    Raises:
        ConfigError: the URL means no server. The text does not hold it: it may have a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        raise ConfigError(f"the URL of the Redis server cannot be read: {_FORM}") from None
    if not parts.hostname:
        raise ConfigError(f"the URL of the Redis server names no host: {_FORM}")
    database = parts.path.strip("/") or "0"
    if not database.isascii() or not database.isdigit():
        raise ConfigError(f"the URL of the Redis server names no database by its number: {_FORM}")
    return Location(
        host=parts.hostname,
        port=port,
        database=int(database),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=parts.scheme == "rediss",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
