"""Wire: the bytes of one connection. Frames of our own channels go to their lanes, all others to aiormq.

aiormq awaits three times for a frame and makes a task for a delivery, which is most of what a message costs there.
Here frames are taken from what the socket gave as they stand, and what is written in one turn of the loop goes out in
one piece.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast

from leveler_rabbitmq import frames
from leveler_rabbitmq.frames import FRAME_BYTES, HEAD, HEAD_BYTES, METHOD, METHOD_ID

_METHOD_START: Final = HEAD_BYTES + METHOD_ID.size
#: reply code, after which comes the reply text
_CODE_END: Final = _METHOD_START + frames.CODE.size


class FrameTaker(Protocol):
    """One of our own channels."""

    def take(self, kind: int, data: bytes, start: int, end: int) -> None:
        """A frame of the channel: its payload is ``data[start:end]``."""
        ...

    def connection_lost(self, why: str) -> None: ...


class Wire(asyncio.StreamReaderProtocol):
    """
    Args:
        reader: what aiormq reads.
    """

    def __init__(self, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reader, loop=loop)
        self.lanes: dict[int, FrameTaker] = {}
        #: Why the broker takes nothing that is published here at the moment; empty when it does.
        self.blocked = ""
        #: The code and the text with which the broker has closed the connection, if it has.
        self.closed: tuple[int, str] | None = None
        #: Why the connection is gone; empty while it is not.
        self.lost = ""
        #: Whether anything has come since somebody set this to False.
        self.heard = True
        #: Set while the socket takes what we write.
        self.writable = asyncio.Event()
        self.writable.set()
        self._reader = reader
        self._event_loop = loop
        self._link: asyncio.Transport | None = None
        self._opened = False
        self._rest = b""
        self._out: list[bytes] = []

    def opened(self) -> None:
        """The handshake is over: from now on the end of the connection is told by us and not by aiormq."""
        self._opened = True

    def write(self, *parts: bytes) -> None:
        """Whole frames, to be sent in this turn of the loop. Nothing is kept once the connection is lost."""
        if self.lost or self._link is None:
            return
        if not self._out:
            self._event_loop.call_soon(self.flush)
        self._out += parts

    def flush(self) -> None:
        if self._out and self._link is not None:
            data = b"".join(self._out)
            self._out.clear()
            self._link.write(data)

    def keep_alive(self) -> None:
        """Tell aiormq, which sees few of the frames, that there are some."""
        if not self.lost:
            self._reader.feed_data(frames.HEARTBEAT)

    def abort(self, why: str) -> None:
        """Nobody is there any more."""
        self.lost = self.lost or why
        if self._link is not None:
            self._link.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link = cast(asyncio.Transport, transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        lanes = self.lanes
        while end - position >= FRAME_BYTES:
            kind, channel, size = HEAD.unpack_from(data, position)
            after = position + FRAME_BYTES + size
            if after > end:
                break
            if (lane := lanes.get(channel)) is not None:
                lane.take(kind, data, position + HEAD_BYTES, after - 1)
            else:
                self._pass_on(data[position:after])
            position = after
        self._rest = data[position:]
        if not self._opened and self._rest.startswith(b"AMQP"):  # eight bytes: it speaks another version
            self._reader.feed_data(self._rest)
            self._rest = b""

    def pause_writing(self) -> None:
        self.writable.clear()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.writable.set()
        super().resume_writing()

    def eof_received(self) -> bool | None:
        """Half a connection is of no use: `connection_lost` comes next."""
        return False if self._opened else super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.lost or (f"the connection is lost ({exc})" if exc else "the broker has closed the connection")
        self._out.clear()
        self.writable.set()
        lanes, self.lanes = list(self.lanes.values()), {}
        for lane in lanes:
            lane.connection_lost(self.lost)
        if self._opened:  # aiormq would write a traceback into the log: to it, this is a connection that was closed
            self._reader.feed_data(frames.CLOSE_OK)
            exc = None
        super().connection_lost(exc)

    def _pass_on(self, frame: bytes) -> None:
        if frame[0] == METHOD and frame[1:3] == b"\0\0":
            method = METHOD_ID.unpack_from(frame, HEAD_BYTES)[0]
            if method == frames.CONNECTION_BLOCKED:
                self.blocked = _short_text(frame, _METHOD_START) or "no reason given"
            elif method == frames.CONNECTION_UNBLOCKED:
                self.blocked = ""
            elif method == frames.CONNECTION_CLOSE:
                self.closed = frames.CODE.unpack_from(frame, _METHOD_START)[0], _short_text(frame, _CODE_END)
                if self._opened:
                    self._answer_close(self.closed[1])
                    return
        self._reader.feed_data(frame)

    def _answer_close(self, text: str) -> None:
        self.lost = f"the broker has closed the connection: {text}"
        if self._link is not None:
            self.flush()
            self._link.write(frames.CLOSE_OK)
            self._link.close()


def _short_text(frame: bytes, start: int) -> str:
    return str(frame[start + 1 : start + 1 + frame[start]], "utf-8", "replace")
