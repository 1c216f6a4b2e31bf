"""A tap on the line between a client and the emulator: every frame that passes, decoded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from leveler_servicebus.emulator.amqp.frames import HEADER_BYTES, Frame, FrameReader
from leveler_servicebus.emulator.amqp.message import read
from leveler_servicebus.emulator.amqp.performatives import Attach, Transfer


@dataclass
class Tap:
    """What has passed: (who, connection, frame) in order; who is "client" or "server"."""

    port: int = 0
    passed: list[tuple[str, int, Frame]] = field(default_factory=list[tuple[str, int, Frame]])
    headers: list[tuple[str, int, bytes]] = field(default_factory=list[tuple[str, int, bytes]])

    def said(self, who: str, kind: type[Any]) -> list[Any]:
        """All performatives of a kind, by the client or the server."""
        return [
            frame.performative for name, _, frame in self.passed if name == who and type(frame.performative) is kind
        ]

    def transfers(self, who: str, node: str) -> list[tuple[Transfer, dict[int, Any]]]:
        """Transfers on links to a node, with the sections of their messages."""
        handles = {
            (connection, frame.performative.handle)
            for name, connection, frame in self.passed
            if name == "client" and isinstance(frame.performative, Attach) and node == _node(frame.performative)
        }
        return [
            (frame.performative, read(frame.payload))
            for name, connection, frame in self.passed
            if name == who
            and isinstance(frame.performative, Transfer)
            and (connection, frame.performative.handle) in handles
        ]

    def attaches(self, who: str, node: str) -> list[Attach]:
        return [one for one in self.said(who, Attach) if _node(one) == node]


def _node(attach: Attach) -> str:
    """The last part of the address at the server's end, whichever that is."""
    for terminus in (attach.target, attach.source):
        address = terminus.value[0] if terminus else None
        if address and not str(address).startswith(("sender-link", "receiver-link")):
            return str(address)
    return ""


@asynccontextmanager
async def tapped(port: int) -> AsyncIterator[Tap]:
    """Pass everything on to `port`."""
    tap = Tap()
    numbers = iter(range(1_000_000))
    writers: set[asyncio.StreamWriter] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(numbers)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        writers.update((writer, server_writer))
        await asyncio.gather(
            _pump(tap, "client", number, reader, server_writer), _pump(tap, "server", number, server_reader, writer)
        )

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    tap.port = server.sockets[0].getsockname()[1]
    try:
        yield tap
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0.05)


async def _pump(tap: Tap, who: str, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    frames = FrameReader(2**31)
    buffered = b""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            buffered += data
            while len(buffered) >= HEADER_BYTES and buffered.startswith(b"AMQP"):
                tap.headers.append((who, number, buffered[:HEADER_BYTES]))
                buffered = buffered[HEADER_BYTES:]
                buffered = _frames(tap, who, number, frames, buffered)
            buffered = _frames(tap, who, number, frames, buffered)
    finally:
        writer.close()


def _frames(tap: Tap, who: str, number: int, frames: FrameReader, data: bytes) -> bytes:
    """Take whole frames; what is left of the data is not fed, for a protocol header may follow a frame."""
    while len(data) >= 4 and not data.startswith(b"AMQP"):
        size = int.from_bytes(data[:4], "big")
        if len(data) < size:
            break
        frames.feed(data[:size])
        if (frame := frames.frame()) is not None:
            tap.passed.append((who, number, frame))
        data = data[size:]
    return data
