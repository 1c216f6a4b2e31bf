"""Connections that are kept: one a call, as many as calls at once."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from tests.benchmarks.leveling.real.server import Counts


class _Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Connections:
    """To the downstream at `port` of this host."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Connection] = []

    async def call(self) -> bool:
        """Whether the call was served; else it was refused."""
        status, _ = await self._get(b"/")
        return status == 200

    async def counts(self) -> Counts:
        _, body = await self._get(b"/counts")
        return msgspec.json.decode(body, type=Counts)

    def close(self) -> None:
        for connection in self._idle:
            connection.writer.close()

    async def _get(self, path: bytes) -> tuple[int, bytes]:
        connection = self._idle.pop() if self._idle else _Connection(*await asyncio.open_connection(port=self._port))
        connection.writer.write(b"GET %s HTTP/1.1\r\nHost: downstream\r\n\r\n" % path)
        head = await connection.reader.readuntil(b"\r\n\r\n")
        length = int(head.rpartition(b"Content-Length: ")[2])
        body = await connection.reader.readexactly(length)
        self._idle.append(connection)
        return int(head.split(b" ", 2)[1]), body
