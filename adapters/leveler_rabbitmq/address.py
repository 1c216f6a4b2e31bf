"""Address: where the broker is, and who we are there."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from leveler.errors import ConfigError

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_NODE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/,\s]+)(?::([0-9]{1,5}))?")
_FORM: Final = "write amqp://user:password@host:5672/vhost, and several nodes of one cluster as host1:5672,host2:5672"


class Node(NamedTuple):
    """One node of the cluster."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Address(NamedTuple):
    """A whole URL. Its text holds the password: show `nodes` instead."""

    nodes: tuple[Node, ...]
    user: str
    password: str
    vhost: str
    tls: bool

    def __repr__(self) -> str:
        return f"<Address {', '.join(map(str, self.nodes))}>"

    def url(self, node: Node) -> str:
        """What a client library wants to have for one node."""
        user, password, vhost = (quote(text, safe="") for text in (self.user, self.password, self.vhost))
        return f"{'amqps' if self.tls else 'amqp'}://{user}:{password}@{node}/{vhost}"


def address_of(url: str) -> Address:
    """The parts of a URL.

    Raises:
        ConfigError: it is none; shows nothing that may be a secret.
    """
    scheme, _, rest = url.partition("://")
    # From the last "@" on it is hosts and the vhost: whatever stands unescaped in a password is part of it.
    userinfo, at, rest = rest.rpartition("@")
    hosts, _, vhost = rest.partition("/")
    user, _, password = userinfo.partition(":")
    nodes = tuple(_node(scheme, text) for text in (hosts or "localhost").split(","))
    return Address(
        nodes,
        unquote(user) if at else "guest",
        unquote(password) if at else "guest",
        unquote(vhost) or "/",
        scheme == "amqps",
    )


def _node(scheme: str, text: str) -> Node:
    found = _NODE.fullmatch(text)
    port = int(found[2]) if found and found[2] else _PORTS[scheme]
    if found is None or not 0 < port < 65536:
        raise ConfigError(f"the URL {scheme}://... has a node that is no host and port: {_FORM}")
    return Node(found[1].strip("[]"), port)
