"""Address: where the endpoint listens."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple, Self

from leveler.errors import ConfigError

EXPECTED = "an address, for example '127.0.0.1:9464', '9464' for the same, or '0.0.0.0:9464' for all networks"

_ADDRESS = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]/@\s]*)):(?P<port>[0-9]{1,5})|(?P<only>[0-9]{1,5})"
)
_MOST: int = 65_535


class Address(NamedTuple):
    """A host and a port; loopback where no host is named."""

    host: str
    port: int

    @classmethod
    def of(cls, words: object) -> Self:
        """
        Raises:
            ConfigError: it is none; says what one looks like.
        """
        match = _ADDRESS.fullmatch(str(words).strip()) if isinstance(words, str | int) else None
        port = int(match["port"] or match["only"]) if match else _MOST + 1
        if match is None or port > _MOST:
            raise ConfigError(f"{str(words)[:60]!r}: expected {EXPECTED}")
        return cls(match["ipv6"] or match["host"] or "127.0.0.1", port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can reach it."""
        return names_this_host(self.host)

    def further(self, count: int) -> Self:
        """So many ports on, where the next workers listen; any that is free is so for each of them.

        Raises:
            ConfigError: there are no more.
        """
        port = self.port + count if self.port else 0
        if port > _MOST:
            raise ConfigError(f"the last port would be {port}: expected {_MOST} or less")
        return self._replace(port=port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def names_this_host(host: str) -> bool:
    """Whether `host` can mean nothing but the host that it is said on."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
