"""What a user writes. The broker, the rate and the number of workers are configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec

from leveler import Context, Leveler, QueueSettings, RetryPolicy, Throttled
from leveler.demo.board import Board, Busy


class Departure(msgspec.Struct):
    """A flight that has left. One that was cancelled lacks `departed`, so it is no `Departure`."""

    id: str
    flight: str
    origin: str
    dest: str
    scheduled: datetime
    departed: datetime


@asynccontextmanager
async def lifespan(app: Leveler) -> AsyncIterator[Board]:
    with Board.from_environment() as board:
        yield board


app = Leveler(
    lifespan=lifespan,
    queues={"departures": QueueSettings(retry=RetryPolicy(max_attempts=3, initial_seconds=0.5, cap_seconds=2.0))},
)


@app.consumer("departures", downstream="board")
async def announce(departure: Departure, ctx: Context) -> None:
    late = departure.departed - departure.scheduled
    text = f"{departure.flight} {departure.origin}-{departure.dest} left {late.total_seconds() / 60:+.0f} min"
    try:
        await ctx.state.announce(departure.id, text)
    except Busy as busy:
        raise Throttled(after=busy.retry_after_seconds) from busy
