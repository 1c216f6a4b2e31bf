"""Line: what a worker and its supervisor tell each other, over a pair of sockets whose one end the worker inherits.

    worker -> supervisor    ``begun`` and where it shows its figures, if it does; ``ready``
    supervisor -> worker    ``hurry``: everything back at once. When it is gone, however it ended, the line ends

That a worker is to drain, it hears as SIGTERM, which works while it starts, too. But it is not the second SIGTERM that
makes it hurry: a terminal or a process manager may say to each process what the supervisor passes on besides.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from leveler.errors import ConfigError

BEGUN: Final = "begun"
READY: Final = "ready"
HURRY: Final = "hurry"

_MOST_BYTES: Final = 4096

_WORDS = re.compile(r"([0-9]{1,9}):([0-9]{1,9})")


class Line:
    """The worker's end.

    Args:
        number: who of the workers this is.
        end: inherited from the supervisor.
    """

    def __init__(self, number: int, end: socket.socket) -> None:
        self.number = number
        self._end = end
        self._end.setblocking(False)
        self._end.set_inheritable(False)  # what a handler starts is no part of this

    @classmethod
    def of(cls, words: str) -> Self:
        """
        Raises:
            ConfigError: nobody but a supervisor can say this.
        """
        try:
            number, descriptor = map(int, _WORDS.fullmatch(words).groups())  # type: ignore[union-attr]
            return cls(number, socket.socket(fileno=descriptor))
        except (AttributeError, OSError):
            raise ConfigError("--worker is for leveler itself: give --processes instead") from None

    def begun(self, url: str | None) -> None:
        """The queues are declared, and the settings are right."""
        self._tell(f"{BEGUN} {url or ''}")

    def ready(self) -> None:
        """Every consumer is consuming."""
        self._tell(READY)

    def watch(self, *, gone: Callable[[], object], hurry: Callable[[], object]) -> None:
        """Call these on the running loop when it is time for it, and not those that were to be called before."""
        asyncio.get_running_loop().add_reader(self._end, self._read, gone, hurry)

    def _read(self, gone: Callable[[], object], hurry: Callable[[], object]) -> None:
        try:
            is_there = bool(self._end.recv(_MOST_BYTES))  # it has but one thing to say
        except BlockingIOError:
            return
        except OSError:
            is_there = False
        if is_there:
            hurry()
        else:
            asyncio.get_running_loop().remove_reader(self._end)
            gone()

    def _tell(self, words: str) -> None:
        with suppress(OSError):  # it is gone: `watch` says so
            self._end.sendall(f"{words}\n".encode())
