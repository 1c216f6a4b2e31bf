"""A queue's settings: what the service fills in, and what it refuses."""

from __future__ import annotations

from typing import Any, Final

from leveler_cloudtasks.emulator.protos import duration, seconds
from leveler_cloudtasks.emulator.refusal import invalid

MAX_RATE: Final = 500.0
MAX_CONCURRENT: Final = 5000

_DEFAULT_RATE: Final = 500.0
_DEFAULT_CONCURRENT: Final = 1000
_DEFAULT_ATTEMPTS: Final = 100
_DEFAULT_DOUBLINGS: Final = 16
_DEFAULT_MIN_SECONDS: Final = 0.1
_DEFAULT_MAX_SECONDS: Final = 3600.0


def complete(queue: Any) -> None:
    """Fill in what was left out, and round as the service does.

    Raises:
        Refused: a value is out of its range.
    """
    _limits(queue.rate_limits)
    retry = queue.retry_config
    retry.max_attempts = retry.max_attempts or _DEFAULT_ATTEMPTS
    if retry.max_attempts < -1:
        raise invalid(f"RetryConfig.max_attempts is {retry.max_attempts}; it must be -1 or more.")
    retry.max_doublings = retry.max_doublings or _DEFAULT_DOUBLINGS
    _whole_seconds(retry, "max_retry_duration", None)
    _whole_seconds(retry, "min_backoff", _DEFAULT_MIN_SECONDS)
    _whole_seconds(retry, "max_backoff", _DEFAULT_MAX_SECONDS)
    if seconds(retry.min_backoff) > seconds(retry.max_backoff):
        raise invalid("RetryConfig.min_backoff must not be greater than max_backoff.")


def _limits(limits: Any) -> None:
    limits.max_dispatches_per_second = limits.max_dispatches_per_second or _DEFAULT_RATE
    limits.max_concurrent_dispatches = limits.max_concurrent_dispatches or _DEFAULT_CONCURRENT
    if not 0 < limits.max_dispatches_per_second <= MAX_RATE:
        raise invalid(f"RateLimits.max_dispatches_per_second must be above 0 and at most {MAX_RATE:g}.")
    if not 0 < limits.max_concurrent_dispatches <= MAX_CONCURRENT:
        raise invalid(f"RateLimits.max_concurrent_dispatches must be between 1 and {MAX_CONCURRENT}.")
    # Output only. The service chooses: 100 at 500/s, 10 for slow queues, is what its console shows.
    limits.max_burst_size = max(10, min(100, int(limits.max_dispatches_per_second / 5)))


def _whole_seconds(retry: Any, name: str, default: float | None) -> None:
    """The service cuts to whole seconds; what is below one it keeps, as its own default of 0.1 s shows."""
    given = seconds(getattr(retry, name)) if retry.HasField(name) else default
    if given is None:
        return
    if given < 0:
        raise invalid(f"RetryConfig.{name} must not be negative.")
    getattr(retry, name).CopyFrom(duration(given if given < 1 else int(given)))
