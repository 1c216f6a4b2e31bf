"""Connection: one client's bytes: the header, SASL, open; then frames, each to its session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, cast

from leveler_servicebus.emulator.amqp.frames import (
    AMQP_HEADER,
    EMPTY_FRAME,
    SASL_HEADER,
    Frame,
    FrameReader,
    amqp_frame,
    sasl_frame,
)
from leveler_servicebus.emulator.amqp.performatives import Begin, Close, End, Open, Performative, SaslMechanisms
from leveler_servicebus.emulator.amqp.values import Array, DecodeError, Symbol, UInt, UShort
from leveler_servicebus.emulator.entity.refusal import DECODE_ERROR, FRAMING_ERROR, NOT_ALLOWED
from leveler_servicebus.emulator.links import Link
from leveler_servicebus.emulator.sasl import MECHANISMS, answer_init
from leveler_servicebus.emulator.service import Service
from leveler_servicebus.emulator.session import SessionEnd
from leveler_servicebus.emulator.signature import Grant
from leveler_servicebus.emulator.terminus import error

#: As the service says it.
MAX_FRAME_BYTES: Final = 64 * 1024
CHANNEL_MAX: Final = 4999

#: Deliveries wait in the queue, rather than here, once so much is to be written.
MOST_OUT_BYTES: Final = 1024 * 1024

_LEAST_FRAME_BYTES: Final = 512
_LEAST_BEAT_SECONDS: Final = 0.1


class Connection(asyncio.Protocol):
    """One client.

    Args:
        service: what it shares with the others.
        done: called when the connection is gone.
    """

    def __init__(self, service: Service, done: Callable[[Connection], None]) -> None:
        self.service = service
        self.grants: list[Grant] = []
        self.remote_max_frame_bytes = _LEAST_FRAME_BYTES
        self.sessions: dict[int, SessionEnd] = {}
        self._done = done
        self._reader = FrameReader(MAX_FRAME_BYTES)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._paused = False
        self._understand: Callable[[], bool] = self._header
        self._closing = False
        self._heartbeat: asyncio.TimerHandle | None = None

    # ---- from asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while not self._closing and self._understand():
                pass
        except DecodeError as problem:
            self.close(DECODE_ERROR, str(problem))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        for session in list(self.sessions.values()):
            session.lost()
        self.sessions.clear()
        self._done(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.service.serve_all()

    # ---- to the client

    def send(self, data: bytes) -> None:
        """Write it with what else is to be written, after it has been kept."""
        self._out.append(data)
        self._out_bytes += len(data)
        self.service.flush_soon(self)

    def flush(self) -> None:
        out, self._out = self._out, []
        was_full, self._out_bytes = self._out_bytes >= MOST_OUT_BYTES, 0
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))
            if self._closing:
                self._transport.close()
        if was_full and not self._paused:
            self.service.serve_all()

    def takes_more(self) -> bool:
        """Whether the client reads as fast as we write: what it does not read is better left to others."""
        return not self._paused and self._out_bytes < MOST_OUT_BYTES

    def close(self, condition: str, description: str) -> None:
        """Say why, and hang up."""
        self.send(amqp_frame(0, Close(error(condition, description))))
        self._closing = True

    def abort(self) -> None:
        """Hang up without a word."""
        if self._transport is not None:
            self._transport.abort()

    def may(self, right: str, path: str) -> bool:
        """Whether the client has shown a token for it."""
        return any(grant.covers(path, right, time.time()) for grant in self.grants)

    # ---- the way up

    def _header(self) -> bool:
        header = self._reader.header()
        if header is None:
            return False
        if header == SASL_HEADER:
            self.send(SASL_HEADER + sasl_frame(SaslMechanisms(Array(map(Symbol, MECHANISMS)))))
            self._understand = self._sasl
        elif header == AMQP_HEADER:
            self.send(AMQP_HEADER)
            self._understand = self._open
        else:
            # As the standard wants it: say what we speak, and hang up.
            self.send(SASL_HEADER)
            self._closing = True
        return True

    def _sasl(self) -> bool:
        frame = self._reader.frame()
        if frame is None:
            return False
        answer, grant = answer_init(frame.performative, self.service.namespace.signatures)
        self.send(sasl_frame(answer))
        if grant is not None:
            self.grants.append(grant)
        self._closing = answer.code != 0
        self._understand = self._header
        return True

    def _open(self) -> bool:
        frame = self._reader.frame()
        if frame is None:
            return False
        opening = frame.performative
        if not isinstance(opening, Open):
            raise DecodeError("expected an open frame first")
        self.remote_max_frame_bytes = max(_LEAST_FRAME_BYTES, opening.max_frame_size or 2**32 - 1)
        ours = Open(
            "leveler-emulate-servicebus", opening.hostname, UInt(MAX_FRAME_BYTES), UShort(CHANNEL_MAX), UInt(240_000)
        )
        self.send(amqp_frame(0, ours))
        self._understand = self._frame
        if opening.idle_time_out:
            self._beat(max(_LEAST_BEAT_SECONDS, opening.idle_time_out / 2000))
        return True

    def _beat(self, interval_seconds: float) -> None:
        """Show that we live, where the client wants to see it."""
        self.send(EMPTY_FRAME)
        loop = asyncio.get_running_loop()
        self._heartbeat = loop.call_later(interval_seconds, self._beat, interval_seconds)

    # ---- frames

    def _frame(self) -> bool:
        frame = self._reader.frame()
        if frame is None:
            return False
        if frame.performative is not None:
            self._act(frame)
        return True

    def _act(self, frame: Frame) -> None:
        performative = frame.performative
        if isinstance(performative, Begin):
            self._begin(frame.channel, performative)
        elif isinstance(performative, Close):
            self.send(amqp_frame(0, Close()))
            self._closing = True
        elif (session := self.sessions.get(frame.channel)) is None:
            self.close(NOT_ALLOWED, f"there is no session on channel {frame.channel}")
        elif isinstance(performative, End):
            self._end(frame.channel, session)
        else:
            session.act(performative, frame.payload)

    def _begin(self, channel: int, begin: Begin) -> None:
        if channel in self.sessions or channel > CHANNEL_MAX:
            self.close(FRAMING_ERROR, f"channel {channel} is in use, or too high")
            return
        session = self.sessions[channel] = SessionEnd(self, channel, begin)
        self.reply(channel, session.begin())

    def _end(self, channel: int, session: SessionEnd) -> None:
        session.closed()
        del self.sessions[channel]
        self.reply(channel, End())

    def reply(self, channel: int, performative: Performative, payload: bytes = b"") -> None:
        self.send(amqp_frame(channel, performative, payload))

    def links(self) -> list[Link]:
        """All links of all sessions."""
        return [link for session in self.sessions.values() for link in session.links.values()]
