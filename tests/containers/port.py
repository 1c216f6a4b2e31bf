"""Ports on the loopback address that nobody uses."""

from __future__ import annotations

import random
import socket
from typing import Final

#: Below what systems hand out for outgoing connections: a client that tries a dead server would be given its port.
_RANGE: Final = range(20_000, 30_000, 10)


def free_ports() -> int:
    """The first of ten in a row; a server that needs more than one takes those behind it."""
    for first in random.sample(_RANGE, len(_RANGE)):
        if all(_is_free(port) for port in range(first, first + 10)):
            return first
    raise RuntimeError(f"no ten free ports in a row between {_RANGE[0]} and {_RANGE[-1]}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
