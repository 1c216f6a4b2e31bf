"""Broker: one kind of server, as data: how it is started, in a container and as a process, and how it shows that it is
ready."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Options of a server, in the broker's own words: lines of rabbitmq.conf, directives of redis.conf.
Options = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run, and with which environment."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    #: What must run beside it, for as long as it does.
    beside: Sequence[Sequence[str]] = ()


@dataclass(frozen=True, kw_only=True)
class Broker:
    """One kind of server."""

    #: As the adapter is called.
    name: str
    #: Where it listens in a container.
    port: int = 0
    #: The official image; empty if it runs as a process only.
    official: str = ""
    #: The program without which there is no local process.
    program: Callable[[], str | None]
    #: The URL for tests of the server that listens on a port of this machine.
    url: Callable[[int], str]
    #: Options, the folder for its files, its port.
    as_process: Callable[[Options, Path, int], Command]
    #: Its version, if it answers; raises anything if it does not.
    version: Callable[[str], str]
    #: How to get the program, in words.
    install: str
    in_container: Callable[[Options], Command] | None = None
    #: The command of its own tool, in the environment of the server, if it has one; the port is 0 in a container.
    admin: Callable[[int], Sequence[str]] = lambda port: ()
    #: What clients of a server of ours find in their environment, so that they may use it.
    credentials: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def kinds(self) -> Sequence[str]:
        """How it can run here."""
        return ("container", "process") if self.in_container else ("process",)

    @property
    def given(self) -> str:
        """The URL of a server of the user's own, or an empty text."""
        return os.environ.get(f"LEVELER_TEST_{self.name.upper()}_URL", "")
