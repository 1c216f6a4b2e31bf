"""Durations, sizes and rates: the words that people write, the plain numbers that the engine reads, and back.

    seconds("1h30m") == 5400.0       duration(5400.0) == "1h30m"
    size_bytes("64MiB") == 67108864  size(67108864) == "64MiB"
    per_second("500/min") == 8.33... rate(500 / 60) == "500/min"

What `duration`, `size` and `rate` write reads back as exactly the same number.
"""

from __future__ import annotations

import re
import reprlib
import sys
from decimal import Decimal
from fractions import Fraction
from typing import Final

from leveler.errors import ConfigError

#: What is expected, in the words of an error.
DURATION: Final = "a duration, for example '30s', '5m', '1h30m', '3d' or '250ms' (a plain number means seconds)"
SIZE: Final = "a size, for example '64MiB' or '256KB' (a plain number means bytes)"
RATE: Final = "a rate, for example '50/s', '500/min', '3/h' or '1000/day'"

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_PLAIN = re.compile(_NUMBER)

# Nobody writes a longer one; 5e-324 s has all these digits.
_MAX_CHARACTERS: Final = 400

# Longest first, as they are written.
_TIME_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DURATION = re.compile("".join(rf"(?:({_NUMBER}){unit}(?![a-z]))?" for unit in _TIME_MS))

# The first one that divides a size is the one it is written in.
_SIZE_BYTES: Final = {
    "TiB": 1024**4,
    "TB": 1000**4,
    "GiB": 1024**3,
    "GB": 1000**3,
    "MiB": 1024**2,
    "MB": 1000**2,
    "KiB": 1024,
    "KB": 1000,
    "B": 1,
}
_SIZE = re.compile(rf"({_NUMBER})({'|'.join(_SIZE_BYTES)})", re.IGNORECASE)
_SIZE_UNITS: Final = {unit.lower(): unit_bytes for unit, unit_bytes in _SIZE_BYTES.items()}

_PERIOD_SECONDS: Final = {"s": 1, "min": 60, "h": 3_600, "day": 86_400}
_RATE = re.compile(rf"({_NUMBER})/({'|'.join(_PERIOD_SECONDS)})")


def seconds(words: object) -> float:
    """A duration in seconds.

    Raises:
        ConfigError: it is none; says what one looks like.
    """
    number = _plain(words)
    return _float(_duration(words) if number is None else number, words, DURATION)


def size_bytes(words: object) -> int:
    """A size in bytes.

    Raises:
        ConfigError: it is none, or no whole number of bytes; says what one looks like.
    """
    number = _plain(words)
    if number is None and (match := _match(_SIZE, words)):
        number = Fraction(match[1]) * _SIZE_UNITS[match[2].lower()]
    if number is None or number.denominator != 1:
        raise _wrong(words, SIZE)
    return number.numerator


def per_second(words: object) -> float:
    """A rate per second. A plain number is none: it does not say per what.

    Raises:
        ConfigError: it is none; says what one looks like.
    """
    match = _match(_RATE, words)
    return _float(Fraction(match[1]) / _PERIOD_SECONDS[match[2]] if match else None, words, RATE)


def duration(seconds: float) -> str:
    """`seconds` in words; ``forever``, which no setting takes, where there is no end."""
    if seconds == float("inf"):
        return "forever"
    left = Fraction(repr(seconds)) * 1000
    if left.denominator != 1:
        return f"{_digits(seconds)}s"
    words = ""
    for unit, unit_ms in _TIME_MS.items():
        count, left = divmod(left, unit_ms)
        words += f"{count}{unit}" if count else ""
    return words or "0s"


def size(size_bytes: int) -> str:
    """`size_bytes` in words."""
    unit = next((unit for unit, n in _SIZE_BYTES.items() if size_bytes and size_bytes % n == 0), "B")
    return f"{size_bytes // _SIZE_BYTES[unit]}{unit}"


def rate(per_second: float) -> str:
    """`per_second` in words."""
    for period, period_seconds in _PERIOD_SECONDS.items():
        count = round(Fraction(repr(per_second)) * period_seconds)
        if count and count / period_seconds == per_second:
            return f"{count}/{period}"
    return f"{_digits(per_second)}/s"


def _plain(words: object) -> Fraction | None:
    """A number without a unit; None where it is something else."""
    if isinstance(words, str):
        return Fraction(match[0]) if (match := _match(_PLAIN, words)) else None
    if isinstance(words, bool) or not isinstance(words, int | float):
        return None
    return Fraction(repr(words)) if 0 <= words < float("inf") else None


def _duration(words: object) -> Fraction | None:
    match = _match(_DURATION, words)
    if match is None or not match[0]:
        return None
    counts = zip(match.groups(), _TIME_MS.values(), strict=True)
    return sum((Fraction(count) * unit_ms for count, unit_ms in counts if count), Fraction()) / 1000


def _match(pattern: re.Pattern[str], words: object) -> re.Match[str] | None:
    return pattern.fullmatch(words.strip()) if isinstance(words, str) and len(words) <= _MAX_CHARACTERS else None


def _float(number: Fraction | None, words: object, expected: str) -> float:
    if number is None or number > sys.float_info.max:
        raise _wrong(words, expected)
    return float(number)


def _digits(number: float) -> str:
    """Every digit of it, without an exponent."""
    return f"{Decimal(repr(number)):f}"


def _wrong(words: object, expected: str) -> ConfigError:
    return ConfigError(f"{reprlib.repr(words)}: expected {expected}")
