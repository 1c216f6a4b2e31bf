"""A broker as a process of this machine, with files of its own in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.containers.broker import Broker, Options
from tests.containers.port import free_ports
from tests.containers.server import NoServer, Server

#: To save what it has.
_FAREWELL_SECONDS: Final = 10.0


class ProcessServer(Server):
    """Started from what is installed; listens on the loopback address only.

    Args:
        broker: which.
        options: in the broker's own words.
    """

    kind = "process"

    def __init__(self, broker: Broker, options: Options) -> None:
        if broker.program() is None:
            raise NoServer(f"{broker.install}, so that {broker.name} can run as a process")
        self._port = free_ports()
        super().__init__(broker, broker.url(self._port))
        self._folder = Path(tempfile.mkdtemp(prefix=f"leveler-{broker.name}-"))
        self._command = broker.as_process(options, self._folder, self._port)
        self._running: list[subprocess.Popen[bytes]] = []

    def launch(self) -> None:
        for words in [*self._command.beside, self._command.words]:
            with (self._folder / "output").open("ab") as output:
                self._running.append(
                    subprocess.Popen(
                        words,
                        env={**os.environ, **self._command.environment},
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )

    def kill(self) -> None:
        while self._running:
            process = self._running.pop()
            # Its children, too: the group is its own.
            with suppress(ProcessLookupError):  # it has ended, and so have they
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop(self) -> None:
        os.killpg(self._running[-1].pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._running[-1].wait(_FAREWELL_SECONDS)
        self.kill()

    def freeze(self) -> None:
        os.killpg(self._running[-1].pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self._running[-1].pid, signal.SIGCONT)

    def admin(self, *words: str) -> str:
        command = [*self.broker.admin(self._port), *words]
        environment = {**os.environ, **self._command.environment}
        answer = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if answer.returncode:
            raise RuntimeError(f"{' '.join(command)}: {answer.stdout}")
        return answer.stdout

    def log(self) -> str:
        output = self._folder / "output"
        return output.read_text(errors="replace")[-4000:] if output.exists() else ""

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
