"""Ports on the loopback address that nobody uses."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from itertools import chain
from pathlib import Path
from typing import Final

#: Below what systems hand out for outgoing connections: a client that tries a dead server would be given its port.
_RANGE: Final = range(20_000, 30_000, 10)
#: Says which were given last.
_GIVEN: Final = "leveler-test-ports-{user}"


def free_ports() -> int:
    """The first of ten in a row; a server that needs more than one takes those behind it.

    All processes of this machine take them in turn: what one was given comes to no other until all the rest have
    been given, although nobody listens there yet, or not while its server is down.
    """
    with (Path(tempfile.gettempdir()) / _GIVEN.format(user=os.getuid())).open("a+") as given:
        fcntl.flock(given, fcntl.LOCK_EX)
        given.seek(0)
        last = given.read()
        start = _RANGE.index(int(last)) + 1 if last else random.randrange(len(_RANGE))
        for first in chain(_RANGE[start:], _RANGE[:start]):
            if all(_is_free(port) for port in range(first, first + 10)):
                given.truncate(0)
                given.write(str(first))
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
