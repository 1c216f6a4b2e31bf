"""ISO 8601 durations of days, hours, minutes and seconds."""

from __future__ import annotations

import re
from typing import Final

from leveler_servicebus.emulator.entity.settings import DAY_MS, FOREVER_MS, MINUTE_MS, SECOND_MS

_DURATION: Final = re.compile(
    r"P(?=.)(?:(?P<days>\d+)D)?(?:T(?=.)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)


def parse_duration(text: str) -> int:
    """Milliseconds; the longest that there is, if it is longer.

    Raises:
        ValueError: it is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no duration: expected one like PT30S, PT5M or P1DT12H")
    parts = {name: float(value or 0) for name, value in found.groupdict().items()}
    duration_ms = (
        parts["days"] * DAY_MS
        + parts["hours"] * 60 * MINUTE_MS
        + parts["minutes"] * MINUTE_MS
        + parts["seconds"] * SECOND_MS
    )
    return min(FOREVER_MS, round(duration_ms))


def format_duration(duration_ms: int) -> str:
    """As `parse_duration` reads it."""
    if duration_ms >= FOREVER_MS:
        return "P10675199DT2H48M5.4775807S"
    days, rest_ms = divmod(duration_ms, DAY_MS)
    seconds = f"{rest_ms / SECOND_MS:.3f}".rstrip("0").rstrip(".")
    return f"P{days}DT{seconds}S" if days else f"PT{seconds}S"
