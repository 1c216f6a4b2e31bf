"""What the answer of an HTTP downstream means for the message. Works with httpx, aiohttp and requests; imports none.

    response = await client.post("https://bank.example/charges", json=...)
    http.check(response)          # 429 and 503 become Throttled, other errors Retry or Reject

The statuses are those of RFC 9110 and 6585, and so is Retry-After: seconds, or a date.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from leveler.outcome import Outcome, Reject, Retry, Throttled

#: The downstream has too much to do, or is about to come back.
_TOO_MUCH: Final = frozenset({429, 503})
#: Client errors that somebody else can mend, or that pass: credentials, a timeout, a conflict, a resource to come.
_MAY_PASS: Final = frozenset({401, 403, 404, 407, 408, 409, 421, 423, 424, 425})

_MAX_DIGITS: Final = 9


def check(response: Any, *, downstream: str | None = None) -> None:
    """Raise the outcome that `response` means; return if it is none: below 400.

    Args:
        response: of httpx, aiohttp or requests, or the error that these raise for one.
        downstream: which one it came from, where the handler uses several.

    Raises:
        Throttled: 429 or 503; after what its Retry-After asks for.
        Retry: any other 5xx, and the 4xx that may pass (401, 403, 404, 408, 409, ...); it counts an attempt.
        Reject: any other 4xx: the same request will fail again.
    """
    if (outcome := outcome_of(response, downstream=downstream)) is not None:
        raise outcome


def outcome_of(response: Any, *, downstream: str | None = None) -> Outcome | None:
    """The same as a value; None where the request has succeeded."""
    if (inner := getattr(response, "response", None)) is not None:  # of an error of httpx or requests
        response = inner
    status = int(response.status_code if hasattr(response, "status_code") else response.status)
    if status < 400:
        return None
    after = retry_after_seconds(getattr(response, "headers", None) or {})
    if status in _TOO_MUCH:
        return Throttled(after, downstream)
    if status >= 500 or status in _MAY_PASS:
        return Retry(after)
    return Reject(f"HTTP {status}: the same request will fail again")


def retry_after_seconds(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """What Retry-After asks for, in seconds from now; None where it is missing or makes no sense.

    Args:
        headers: of the response; their names in any case, as HTTP libraries have them.
        now: by whose clock a date is meant; by default the server's own (its Date), else ours.
    """
    words = headers.get("retry-after") or headers.get("Retry-After")
    if words is None:
        return None
    words = words.strip()
    if words.isascii() and words.isdigit():
        return float(words) if len(words) <= _MAX_DIGITS else None
    if (at := _date(words)) is None:
        return None
    now = now or _date(headers.get("date") or headers.get("Date") or "") or datetime.now(UTC)
    return max(0.0, (at - now).total_seconds())


def _date(words: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(words)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
