"""The proxy: one listener on the loopback address, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from tests.faults.wire.unit import Conversation, NewConversation, Unit
from tests.faults.wire.weather import CLEAR, Cut, Slow

T = TypeVar("T")

#: What was passed on before a cut arrives, and is read, before the cut does.
_ARRIVAL_SECONDS = 0.02

Split = Callable[[bytes], Iterator[Unit]]


class Proxy:
    """Passes everything on between its own port and the server's, until it is told otherwise.

    Its methods may be called from any thread.

    Args:
        port: its own.
        server_port: where the server listens.
        conversation: of which protocol.
    """

    def __init__(self, port: int, server_port: int, conversation: NewConversation) -> None:
        self.port = port
        self._server_port = server_port
        self._conversation = conversation
        self._slow = CLEAR
        self._cuts: list[Cut] = []
        self._swallows = False
        self._refuses = False
        #: Each with the task that serves it.
        self._links: dict[Link, asyncio.Task[Any]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._listener = self._do(asyncio.start_server(self._connected, "127.0.0.1", self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self, cut: Cut) -> Cut:
        """Let it happen at the next opportunity; `cut.done` tells when."""
        self._call(lambda: self._cuts.append(cut))
        return cut

    def forget(self, cut: Cut) -> None:
        """Let it not happen, unless it has."""
        self._call(lambda: setattr(self, "_cuts", [one for one in self._cuts if one is not cut]))

    def slow(self, slow: Slow) -> None:
        """From now on; `CLEAR` ends it."""
        self._call(lambda: setattr(self, "_slow", slow))

    def swallow(self, swallows: bool) -> None:
        """A black hole: connections stay open, or open, and nothing gets through; its end cuts all of them."""
        self._call(lambda: self._swallow(swallows))

    def refuse(self, refuses: bool) -> None:
        """Nobody is there: connections end, and none is taken."""
        self._call(lambda: setattr(self, "_refuses", refuses))
        if refuses:
            self.cut_all(reset=True)

    def half_open(self) -> None:
        """The server's side of every connection is gone, and nobody tells the client."""
        self._each(Link.lose_server)

    def cut_all(self, *, reset: bool) -> None:
        """All connections at once; returns when there are none."""
        self._do(self._cut_all(reset=reset))

    @property
    def silent(self) -> int:
        """How many clients are still waiting for somebody who says nothing any more. One that neither listens nor has
        asked anything since it last heard something does not wait."""
        return self._call(lambda: sum(link.is_silent for link in self._links))

    @property
    def connections(self) -> int:
        """How many clients there are now."""
        return self._call(lambda: len(self._links))

    # On the loop

    def _swallow(self, swallows: bool) -> None:
        self._swallows = swallows
        if not swallows:
            for link in self._links:
                link.cut(reset=True)

    async def _cut_all(self, *, reset: bool) -> None:
        for link in self._links:
            link.cut(reset=reset)
        await asyncio.gather(*self._links.values(), return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = (reader, writer)
        if self._refuses:
            writer.transport.abort()
            return
        try:
            server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        talk = self._conversation()
        link = Link(client, server, talk)
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        directions = [
            self._pass(link, client[0], server[1], talk.requests),
            self._pass(link, server[0], client[1], talk.replies),
        ]
        try:
            await asyncio.gather(*directions)
        finally:
            del self._links[link]
            link.cut(reset=False)

    async def _pass(self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, split: Split) -> None:
        """One direction, until its source ends; what is mute listens on and says nothing."""
        with suppress(ConnectionError):
            while data := await source.read(65536):
                units = list(split(data))
                link.comes(sink, units)
                if self._swallows or link.is_mute(sink):
                    link.mute(sink)
                    continue
                cut = await self._write(link, sink, units)
                if cut is not None:
                    await self._happen(cut, link, sink)
                else:
                    link.came(sink)
        if not link.is_mute(sink):
            link.cut(reset=False)

    async def _write(self, link: Link, sink: asyncio.StreamWriter, units: list[Unit]) -> Cut | None:
        """Pass the units on up to the first cut among them."""
        passed = bytearray()
        met = None
        for unit in units:
            met = next((cut for cut in self._cuts if cut.meets(unit)), None)
            passed += met.passes(unit) if met else unit.data
            if met:
                self._cuts.remove(met)
                break
        await self._send(sink, bytes(passed))
        return met

    async def _send(self, sink: asyncio.StreamWriter, data: bytes) -> None:
        slow = self._slow
        if slow.latency_seconds:
            await asyncio.sleep(slow.latency_seconds)
        piece = slow.piece_bytes or len(data) or 1
        for start in range(0, len(data), piece):
            if slow.bytes_per_second and self._slow is slow:
                await asyncio.sleep(piece / slow.bytes_per_second)
            sink.write(data[start : start + piece])
            await sink.drain()

    async def _happen(self, cut: Cut, link: Link, sink: asyncio.StreamWriter) -> None:
        if cut.place == "mute":
            link.mute(sink)
        else:
            await asyncio.sleep(_ARRIVAL_SECONDS)
            link.cut(reset=cut.reset)
        cut.done.set()

    async def _close(self) -> None:
        self._listener.close()
        await self._cut_all(reset=True)

    # From other threads

    def _each(self, what: Callable[[Link], None]) -> None:
        def each() -> None:
            for link in self._links:
                what(link)

        self._call(each)

    def _do(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    def _call(self, what: Callable[[], T]) -> T:
        async def call() -> T:
            return what()

        result: T = self._do(call())
        return result


Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Link:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(self, client: Side, server: Side, talk: Conversation) -> None:
        self._client = client[1]
        self._server = server[1]
        self._talk = talk
        self._mute: set[asyncio.StreamWriter] = set()
        #: Whether the client has asked something and nothing was said to it since.
        self._asks = False

    def is_mute(self, sink: asyncio.StreamWriter) -> bool:
        return sink in self._mute

    def mute(self, sink: asyncio.StreamWriter) -> None:
        """Nothing is said to that side any more."""
        self._mute.add(sink)

    @property
    def is_silent(self) -> bool:
        """Whether the client hears nothing any more, and waits for it."""
        return self._client in self._mute and (self._asks or self._talk.listens)

    def comes(self, sink: asyncio.StreamWriter, units: Sequence[Unit]) -> None:
        """They are on their way to that side."""
        self._asks = self._asks or (sink is self._server and any(unit.asks for unit in units))

    def came(self, sink: asyncio.StreamWriter) -> None:
        """All that was on its way has come."""
        self._asks = self._asks and sink is self._server

    def lose_server(self) -> None:
        """The server sees the end; the client goes on talking to nobody."""
        self._mute |= {self._client, self._server}
        _end(self._server, reset=True)

    def cut(self, *, reset: bool) -> None:
        """Both sides see the end."""
        for writer in (self._client, self._server):
            _end(writer, reset=reset)


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    raw: socket.socket | None = writer.get_extra_info("socket")
    if reset and raw is not None:
        with suppress(OSError):  # closed already
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
