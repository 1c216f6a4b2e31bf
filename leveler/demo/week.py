"""The week of departures, and when each of them arrives if the week takes only a few seconds."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from datetime import datetime
from importlib import resources

import msgspec


@dataclass(frozen=True, slots=True)
class Arrival:
    """One departure as it stands in the data."""

    id: str
    #: When it arrives, in seconds from the beginning of the week as it is replayed.
    due_seconds: float
    #: The JSON line, byte for byte.
    line: bytes


def week(seconds: float) -> list[Arrival]:
    """The whole week, in order, squeezed into `seconds`. Rushes and holes keep their proportions."""
    data = gzip.decompress(resources.files("leveler.demo").joinpath("departures.jsonl.gz").read_bytes())
    lines = data.splitlines()
    times = [_TIMES(line) for line in lines]
    moments = [(time.departed or time.scheduled).timestamp() for time in times]
    first, span = moments[0], moments[-1] - moments[0]
    return [
        Arrival(time.id, (moment - first) / span * seconds, line)
        for time, moment, line in zip(times, moments, lines, strict=True)
    ]


def id_of(line: bytes) -> str:
    """Which departure a line, or the body of a message, is about."""
    return _TIMES(line).id


class _Times(msgspec.Struct):
    id: str
    scheduled: datetime
    departed: datetime | None = None


_TIMES = msgspec.json.Decoder(_Times).decode
