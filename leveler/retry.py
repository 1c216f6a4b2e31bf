"""Retry policy: (attempt, age, error) -> how long to wait, or give up. Pure: chance is passed in, time is data."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from leveler.errors import ConfigError
from leveler.events import log
from leveler.fitting import check_fields

if TYPE_CHECKING:
    from tenacity import RetryCallState

DAY_SECONDS: Final = 86_400.0


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often and how soon a failed message is tried again.

    Args:
        max_attempts: how many times a message may be started in all; 3 means 3 runs.
        backoff: how the wait grows with the attempts.
        initial_seconds: the wait after the first failure.
        factor: growth of the exponential backoff.
        cap_seconds: the wait never grows beyond.
        jitter: ``full`` draws each wait between the floor and the full wait, so that what failed together does not
            come back together; ``none`` waits exactly.
        floor_seconds: the shortest wait there is: a failed message never comes back hot.
        max_age_seconds: a message older than this is given up whatever its attempts. It also bounds `Throttled`
            and `Snooze`, which count none.
        give_up_on: errors that never heal: dead-lettered at their first occurrence.
        wait: a tenacity wait strategy, instead of backoff and jitter (floor and cap still hold).
        stop: a tenacity stop strategy, besides `max_attempts`.
    """

    max_attempts: int = 5
    backoff: Literal["exponential", "linear", "constant"] = "exponential"
    initial_seconds: float = 1.0
    factor: float = 2.0
    cap_seconds: float = 300.0
    jitter: Literal["full", "none"] = "full"
    floor_seconds: float = 0.1
    max_age_seconds: float = 3 * DAY_SECONDS
    give_up_on: tuple[type[BaseException], ...] = ()
    wait: Any = None
    stop: Any = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.max_attempts < 1:
            raise ConfigError(f"retry.max_attempts is {self.max_attempts}: expected 1 or more (1 = never again)")
        if self.floor_seconds <= 0:
            raise ConfigError(f"retry.floor is {self.floor_seconds} s: expected more than 0, or retries would be hot")
        if self.cap_seconds < self.floor_seconds:
            raise ConfigError(f"retry.cap ({self.cap_seconds} s) is below retry.floor ({self.floor_seconds} s)")
        if self.initial_seconds <= 0 or self.factor < 1:
            raise ConfigError("retry.initial must be more than 0 and retry.factor at least 1")
        if self.max_age_seconds <= 0:
            raise ConfigError(f"retry.max_age is {self.max_age_seconds} s: expected more than 0, or all are too old")

    def gives_up(self, attempt: int, age_seconds: float, error: BaseException | None) -> str | None:
        """Why attempt number `attempt` was the last one, or None if there may be another."""
        if error is not None and isinstance(error, self.give_up_on):
            return "rejected"
        if age_seconds >= self.max_age_seconds:
            return "expired"
        if attempt >= self.max_attempts or self._stops(attempt, age_seconds, error):
            return "exhausted"
        return None

    def delay_seconds(self, attempt: int, age_seconds: float, error: BaseException | None, rng: random.Random) -> float:
        """How long to wait after attempt number `attempt` failed."""
        wait = self._strategy_wait(attempt, age_seconds, error)
        if wait is None:
            wait = min(self.cap_seconds, self._full_wait(attempt))
            if self.jitter == "full":
                wait = rng.uniform(self.floor_seconds, max(wait, self.floor_seconds))
        return min(max(wait, self.floor_seconds), self.cap_seconds)

    def _stops(self, attempt: int, age_seconds: float, error: BaseException | None) -> bool:
        if self.stop is None:
            return False
        try:
            return bool(self.stop(_call_state(attempt, age_seconds, error)))
        except Exception:  # it is the user's, and must not keep a message from being settled
            log.exception("retry.stop failed: only max_attempts and max_age decide")
            return False

    def _strategy_wait(self, attempt: int, age_seconds: float, error: BaseException | None) -> float | None:
        if self.wait is None:
            return None
        try:
            wait = float(self.wait(_call_state(attempt, age_seconds, error)))
        except Exception:
            log.exception("retry.wait failed: the backoff decides instead")
            return None
        return None if math.isnan(wait) else wait

    def _full_wait(self, attempt: int) -> float:
        if self.backoff == "constant":
            return self.initial_seconds
        if self.backoff == "linear":
            return self.initial_seconds * attempt
        try:
            return self.initial_seconds * float(self.factor) ** (attempt - 1)
        except OverflowError:
            return math.inf


def _call_state(attempt: int, age_seconds: float, error: BaseException | None) -> RetryCallState:
    """What tenacity's strategies look at, as tenacity itself would hand it to them."""
    from tenacity import RetryCallState, Retrying

    state = RetryCallState(retry_object=Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = attempt
    state.outcome_timestamp = state.start_time + age_seconds
    failure = RuntimeError("retry") if error is None else error
    state.set_exception((type(failure), failure, failure.__traceback__))
    state.outcome_timestamp = state.start_time + age_seconds
    return state
