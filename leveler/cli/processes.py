"""``leveler run --processes``: how a worker is called that is one of several, and whose a line of output is."""

from __future__ import annotations

import io
import os
import secrets
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from leveler.cli.source import runtime_of
from leveler.cli.terminal import say

if TYPE_CHECKING:
    from leveler.app import Leveler
    from leveler.settings import Settings
    from leveler.supervisor.supervisor import Recipe

#: Where workers show the figures that only their supervisor is to see: on loopback, at any port that is free.
_PRIVATE: Final = "127.0.0.1:0"
#: Of the token for it.
_TOKEN_BYTES: Final = 32


@dataclass(frozen=True)
class Words:
    """What ``leveler run`` was told, and each worker is told again."""

    app: str
    only: Sequence[str]
    broker: str | None
    config: Path | None
    log_level: str
    #: Where all of it holds: the app may have changed the directory since.
    folder: str

    def command(self, listen: str | None) -> list[str]:
        """Of one worker, which shows its figures at `listen`."""
        # -P: the current directory is for the app; what lies there under the name of a standard module is not for us.
        words = [sys.executable, "-P", "-m", "leveler", "run", self.app, "--processes", "1"]
        words += [word for queue in self.only for word in ("--only", queue)]
        said = {"--broker": self.broker, "--config": self.config, "--listen": listen, "--log-level": self.log_level}
        return words + [str(word) for pair in said.items() if pair[1] is not None for word in pair]


class Prefixed(io.TextIOWrapper):
    """`stream`, with `prefix` before each line, and each line written at once so that no other gets into it."""

    def __init__(self, stream: TextIO, prefix: str) -> None:
        super().__init__(stream.buffer, encoding=stream.encoding, errors=stream.errors)
        self._stream = stream  # which would close the file if nobody kept it
        self._prefix = prefix
        self._is_inside = False  # a line that has not ended yet

    def write(self, text: str, /) -> int:
        if text:
            begin, end = "" if self._is_inside else self._prefix, "\n" if text.endswith("\n") else ""
            self._is_inside = not end
            super().write(begin + text.removesuffix("\n").replace("\n", f"\n{self._prefix}") + end)
            if end:  # not at every line break: what stands behind it would be written without its own
                self.flush()
        return len(text)


async def supervise(app: Leveler, settings: Settings, queues: Collection[str], words: Words) -> int:
    """Keep the workers that there are to be until SIGTERM or SIGINT.

    Returns:
        The exit code.

    Raises:
        ConfigError: several processes cannot do this; nothing was started.
        BrokerUnavailable, AccessDenied: from the broker.
    """
    from leveler.settings import Processes
    from leveler.supervisor.sharing import check_sharing
    from leveler.supervisor.supervisor import Supervisor

    await check_sharing(runtime_of(settings, app.handlers), queues)
    supervisor = Supervisor(Processes.of(settings.processes), recipe(settings, words, os.environ), on_ready=_say_ready)
    return await supervisor.run()


def recipe(settings: Settings, words: Words, environment: Mapping[str, str]) -> Recipe:
    """How each worker is started."""
    from leveler.monitor.address import Address
    from leveler.settings import Processes
    from leveler.supervisor.supervisor import Recipe

    many = Processes.of(settings.processes)
    listen, token = settings.listen, settings.listen_token
    if listen is None and many.min < many.max:
        # Where no list of processes and no log shows it.
        listen, token = _PRIVATE, secrets.token_urlsafe(_TOKEN_BYTES)
        environment = {**environment, "LEVELER_LISTEN_TOKEN": token}

    def command(number: int) -> list[str]:
        return words.command(None if listen is None else str(Address.of(listen).further(number - 1)))

    return Recipe(command=command, environment=environment, folder=words.folder, token=token)


def _say_ready() -> None:
    with suppress(OSError):  # nobody reads that any more
        say("ready")
