"""A client that says what a test wants it to say: whatever AMQP 1.0 allows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from leveler_servicebus.emulator.amqp.frames import AMQP_HEADER, SASL_HEADER, Frame, FrameReader, amqp_frame, sasl_frame
from leveler_servicebus.emulator.amqp.performatives import (
    Attach,
    Begin,
    Close,
    Flow,
    Open,
    Performative,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
)
from leveler_servicebus.emulator.amqp.values import Described, Symbol, UByte, UInt, ULong

from tests.servicebus.rig import KEY, NAME


class Raw:
    """A client that says what a test wants it to say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader(2**31)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def say(self, performative: Performative, payload: bytes = b"") -> None:
        channel = 0 if isinstance(performative, Open | Close) else 1
        self.write(amqp_frame(channel, performative, payload))

    async def header(self) -> bytes:
        return await self._reader.readexactly(8)

    async def frame(self) -> Frame:
        while (frame := self._frames.frame()) is None:
            self._frames.feed(await self._reader.readexactly(1))
        return frame

    async def hear(self, kind: type[Any]) -> Any:
        """The next performative of this kind."""
        while True:
            performative = (await self.frame()).performative
            if isinstance(performative, kind):
                return performative

    async def end(self) -> bytes:
        """What comes until the emulator hangs up."""
        return await self._reader.read()

    async def login(self, key: str = KEY) -> int:
        """With a name and a key, at once."""
        self.write(SASL_HEADER)
        assert await self.header() == SASL_HEADER
        assert "PLAIN" in (await self.hear(SaslMechanisms)).mechanisms
        self.write(sasl_frame(SaslInit(Symbol("PLAIN"), f"\0{NAME}\0{key}".encode())))
        outcome: int = (await self.hear(SaslOutcome)).code
        return outcome

    async def open(self, key: str = KEY, **said: Any) -> None:
        """A connection and a session."""
        assert await self.login(key) == 0
        self.write(AMQP_HEADER)
        assert await self.header() == AMQP_HEADER
        self.say(Open("raw", "host", UInt(65536), **said))
        self.say(Begin(None, UInt(0), UInt(1000), UInt(1000)))
        await self.hear(Begin)

    def attach_receiver(self, handle: int, node: str, filters: Any = None) -> None:
        source = Described(ULong(0x28), [node, *[None] * 6, filters])
        self.say(Attach(f"r{handle}", UInt(handle), True, UByte(0), UByte(1), source, Described(ULong(0x29), ["me"])))

    def attach_sender(self, handle: int, node: str) -> None:
        target = Described(ULong(0x29), [node])
        self.say(Attach(f"s{handle}", UInt(handle), False, UByte(0), UByte(0), Described(ULong(0x28), ["me"]), target))

    def flow(self, handle: int, credit: int, **said: Any) -> None:
        self.say(
            Flow(UInt(0), UInt(1000), UInt(0), UInt(1000), UInt(handle), UInt(0), link_credit=UInt(credit), **said)
        )


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
