"""Child: one worker process, from outside."""

from __future__ import annotations

import asyncio
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Self

from leveler.supervisor.line import HURRY

_MOST_BYTES: Final = 4096


class Child:
    """A process that has been started; its output is its own.

    Args:
        process: runs.
        line: our end.
        hear: is called with each line that it tells.
    """

    def __init__(self, process: Process, line: socket.socket, hear: Callable[[str], None]) -> None:
        self._process = process
        self._line = line
        self._hear = hear
        self._heard = b""
        asyncio.get_running_loop().add_reader(line, self._read)
        #: Where it shows its figures; None where it does not, or has not said so yet.
        self.url: str | None = None

    @classmethod
    async def start(
        cls,
        number: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        hear: Callable[[str], None],
    ) -> Self:
        """
        Args:
            number: who it is.
            command: of a worker.
            environment: its own.
            folder: where it is started.
            hear: see `Child`.

        Raises:
            OSError: no process can be started now.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                # A session of its own: a terminal speaks to us, and no worker reads from it or is stopped by it.
                process = await asyncio.create_subprocess_exec(
                    *(*command, "--worker", f"{number}:{theirs.fileno()}"),
                    env=environment,
                    cwd=folder,
                    stdin=DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        return cls(process, ours, hear)

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """SIGTERM, whatever we were told: while it starts, SIGINT would end it with a traceback."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def hurry(self) -> None:
        """What a second signal is to a worker by itself."""
        with suppress(OSError):  # it has just ended
            self._line.send(f"{HURRY}\n".encode())

    async def ended(self) -> int:
        """Its exit code, when it has ended and all that it told was heard. Where this is cancelled it drains first."""
        try:
            code = await self._process.wait()
            self._read()
            return code
        finally:
            asyncio.get_running_loop().remove_reader(self._line)
            self._line.close()
            await self._process.wait()

    def _read(self) -> None:
        try:
            while data := self._line.recv(_MOST_BYTES):
                self._heard += data
            asyncio.get_running_loop().remove_reader(self._line)
        except OSError:  # nothing more for now, or ever
            pass
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            self._hear(line.decode(errors="replace"))
