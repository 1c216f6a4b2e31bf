"""When a failed task is tried again, and whether: pure decisions over a queue's RetryConfig."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from leveler_cloudtasks.emulator.protos import seconds

#: A task that waits or fails for longer is deleted, whatever its queue says.
RETENTION_SECONDS: Final = 31 * 86_400.0


@dataclass(frozen=True)
class Backoff:
    """One RetryConfig. -1 attempts = no limit; a duration of 0 = no limit."""

    max_attempts: int
    max_retry_seconds: float
    min_seconds: float
    max_seconds: float
    doublings: int

    @classmethod
    def of(cls, config: Any) -> Backoff:
        return cls(
            config.max_attempts,
            seconds(config.max_retry_duration),
            seconds(config.min_backoff),
            seconds(config.max_backoff),
            config.max_doublings,
        )

    def delay_seconds(self, failures: int) -> float:
        """Before the next try, after so many failed ones: doubled `doublings` times, then linear, never above the most.

        10 s, 3 doublings and at most 300 s make 10, 20, 40, 80, 160, 240, 300, 300 ...
        """
        doubled = min(failures - 1, self.doublings)
        linear = max(0, failures - 1 - self.doublings)
        step: float = self.min_seconds * 2.0**doubled
        return min(self.max_seconds, step * (linear + 1))

    def gives_up(self, tries: int, since_first_seconds: float) -> bool:
        """After so many tries the task is deleted: where both limits are set, only when both are reached."""
        if since_first_seconds >= RETENTION_SECONDS:
            return True
        if self.max_attempts == -1 or tries < self.max_attempts:
            return False
        return since_first_seconds >= self.max_retry_seconds
