"""The keeper: one process that owns the servers of a test run, however many processes the tests run in.

It starts a server when one of them asks for it the first time, tells every other the same, and stops all of them when
its standard input ends: that is when the test run is over, in whatever way it ended.

    python -m tests.containers.keeper SOCKET
"""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from tests.containers.brokers import BROKERS
from tests.containers.find import Wish, server
from tests.containers.server import Kind, NoServer


@dataclass(frozen=True)
class Kept:
    """A server that somebody else owns."""

    broker: str
    kind: Kind
    version: str
    url: str
    #: Why there is none; the other fields but the first are empty then.
    missing: str = ""

    @property
    def label(self) -> str:
        """For tables: which broker, how it runs, which version."""
        return f"{self.broker}/{self.kind} {self.version}"


class Keeper:
    """Starts each server once."""

    def __init__(self) -> None:
        self._life = ExitStack()
        self._locks: defaultdict[tuple[str, Wish], threading.Lock] = defaultdict(threading.Lock)
        self._kept: dict[tuple[str, Wish], Kept] = {}

    def get(self, name: str, wish: Wish) -> Kept:
        with self._locks[name, wish]:
            if (name, wish) not in self._kept:
                self._kept[name, wish] = self._find(name, wish)
            return self._kept[name, wish]

    def all(self) -> list[Kept]:
        """What was started, or was there."""
        return [kept for kept in self._kept.values() if not kept.missing]

    def close(self) -> None:
        self._life.close()

    def _find(self, name: str, wish: Wish) -> Kept:
        try:
            return self._given(name) if BROKERS[name].given else self._start(name, wish)
        except NoServer as error:
            return Kept(name, "given", "", "", missing=str(error))
        except Exception as error:  # the tests say it, each of them
            return Kept(name, "given", "", "", missing=f"{name} does not start: {error!r}")

    def _given(self, name: str) -> Kept:
        broker = BROKERS[name]
        return Kept(name, "given", broker.version(broker.given), broker.given)

    def _start(self, name: str, wish: Wish) -> Kept:
        if wish == "any":
            for first in ("container", "process"):
                kept = self.get(name, first)
                if not kept.missing:
                    return kept
            return kept
        started = self._life.enter_context(server(name, wish))
        return Kept(name, started.kind, started.version, started.url)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, keeper: Keeper) -> None:
        super().__init__(path, _Handler)
        self.keeper = keeper


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        name, _, wish = self.rfile.readline().decode().strip().partition(" ")
        keeper = cast(_Server, self.server).keeper
        answer = [keeper.get(name, cast(Wish, wish))] if name else keeper.all()
        self.wfile.write(json.dumps([asdict(kept) for kept in answer]).encode() + b"\n")


def ask(keeper: Path, words: str) -> list[Kept]:
    """What the keeper at that socket answers to "BROKER WISH", or to an empty line: all that it has."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(keeper))
        line.sendall(words.encode() + b"\n")
        with line.makefile() as answer:
            return [Kept(**kept) for kept in json.loads(answer.readline())]


def main() -> None:
    keeper = Keeper()
    with _Server(sys.argv[1], keeper) as at:
        threading.Thread(target=at.serve_forever, daemon=True).start()
        sys.stdin.read()  # until whoever started it is gone
        at.shutdown()
    keeper.close()


if __name__ == "__main__":
    main()
