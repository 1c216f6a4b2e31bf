"""Server: a broker that was started for tests, and may be killed by them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import ClassVar, Final, Literal

from tests.containers.broker import Broker

Kind = Literal["given", "container", "process"]

#: RabbitMQ takes about seven seconds on two idle cores, and as long again for each thing that they do besides.
_START_SECONDS: Final = 90.0


class NoServer(Exception):
    """There is no such server here; the message says what would have to be there."""


class Server(ABC):
    """One server. Who started it stops it: use it as a context manager.

    Its address and its data stay the same while it is killed and started again.
    """

    kind: ClassVar[Kind]

    def __init__(self, broker: Broker, url: str) -> None:
        self.broker = broker
        self.url = url
        self.version = ""

    @property
    def label(self) -> str:
        """For tables: which broker, how it runs, which version."""
        return f"{self.broker.name}/{self.kind} {self.version}"

    @abstractmethod
    def launch(self) -> None:
        """Start it, or start it again, and do not wait."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL; returns when it is dead."""

    @abstractmethod
    def stop(self) -> None:
        """SIGTERM: it saves what it has, and ends; returns when it is dead."""

    @abstractmethod
    def freeze(self) -> None:
        """SIGSTOP: its connections stay open and nothing answers."""

    @abstractmethod
    def thaw(self) -> None:
        """SIGCONT."""

    @abstractmethod
    def admin(self, *words: str) -> str:
        """What the broker's own tool says, rabbitmqctl or redis-cli; raises what went wrong."""

    @abstractmethod
    def log(self) -> str:
        """The end of what it said."""

    @abstractmethod
    def close(self) -> None:
        """Kill it and remove what it left."""

    def start(self) -> None:
        """Start it, or start it again, and return when it answers."""
        self.launch()
        self.wait()

    def wait(self) -> None:
        """Until it answers."""
        give_up_at = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.version = self.broker.version(self.url)
                return
            except Exception as error:  # whatever a client says to a server that starts
                if time.monotonic() > give_up_at:
                    raise RuntimeError(f"{self.broker.name} does not answer: {error}\n{self.log()}") from error
            time.sleep(0.05)

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
