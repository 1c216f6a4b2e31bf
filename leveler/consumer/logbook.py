"""Logbook: what a consumer writes to the log, in words for whoever runs it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from leveler.consumer.held import Held
from leveler.errors import LevelerError
from leveler.events import log
from leveler.message import Death
from leveler.outcome import Failed
from leveler.wording import in_one_line, told


class Logbook:
    """One consumer's."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._standing = False
        #: Since it last received: how often that failed, and with what.
        self._failures = 0
        self._failed_with = ""

    def lost(self, held: Held) -> None:
        message, attempt = held.delivery.message, held.delivery.attempt
        log.warning("%s: the lease of message %s (attempt %d) was lost", self._queue, message.id, attempt)

    def quarantined(self, held: Held) -> None:
        message, attempt = held.delivery.message, held.delivery.attempt
        log.warning("%s: message %s arrives for the %dth time and starts alone", self._queue, message.id, attempt)

    def settlement_failed(self, held: Held, verb: str, error: LevelerError) -> None:
        log.warning("%s: %s of message %s failed: %s", self._queue, verb, held.delivery.message.id, error)

    def run_failed(self, held: Held, error: BaseException, delay_seconds: float) -> None:
        """Whoever writes a handler sees what it raised, and where; at ``debug`` with the whole traceback."""
        if log.isEnabledFor(logging.INFO):
            log.info(
                "%s: attempt %d of message %s failed, the next is due in %.1f s: %s",
                self._queue, held.delivery.attempt, held.delivery.message.id, delay_seconds,
                told(error, _function(held)),
                exc_info=error if log.isEnabledFor(logging.DEBUG) else None,
            )  # fmt: skip

    def dead_lettered(self, held: Held, death: Death) -> None:
        log.warning(
            "%s: message %s dead-lettered after attempt %d: %s",
            self._queue, held.delivery.message.id, death.attempts, _last_words(held, death),
        )  # fmt: skip

    def stuck(self, held: Held, run_seconds: float) -> None:
        why = "it is a def handler" if held.task is None else "it does not let itself be cancelled"
        log.error(
            "%s: the handler of message %s runs past its timeout (%.1f s) and cannot be stopped: %s. Its slot is taken "
            "until it returns: let it look at ctx.cancelled",
            self._queue, held.delivery.message.id, run_seconds, why,
        )  # fmt: skip

    def blocked(self, blocked_seconds: float) -> None:
        log.error(
            "%s: the event loop stood still for %.1f s, so leases could not be renewed. Is there blocking code in an "
            "async def handler? Make it a def handler: those run in threads",
            self._queue, blocked_seconds,
        )  # fmt: skip

    def receiving(self) -> None:
        if self._failures:
            log.warning("%s: receiving again", self._queue)
            self._failures, self._failed_with = 0, ""

    def not_receiving(self, what: str, error: BaseException) -> None:
        """An outage of a night is one line for each power of two, not one for each try."""
        self._failures += 1
        if (said := f"{what}: {error}") != self._failed_with or not self._failures & (self._failures - 1):
            again = f" ({self._failures} times by now)" if said == self._failed_with else ""
            log.warning("%s: %s%s", self._queue, said, again)
        self._failed_with = said

    def standby(self, seconds: float, probing: bool) -> None:
        """Each turn once, and a probe not at all: whether it works is not known before it has ended."""
        if seconds and not self._standing:
            log.warning("%s: its downstream takes nothing, so nothing is received and nothing is held", self._queue)
        elif not seconds and not probing:
            log.warning("%s: its downstream takes work again", self._queue)
        self._standing = seconds > 0 or probing


def _last_words(held: Held, death: Death) -> str:
    """Why a message was given up, in one line."""
    outcome = held.outcome
    if isinstance(outcome, Failed):
        return f"{death.reason}: {told(outcome.error, _function(held))}"
    said = in_one_line(death.detail)
    return f"{death.reason}: {f'{death.error_type}: ' if death.error_type else ''}{said}".rstrip(": ")


def _function(held: Held) -> Callable[..., Any] | None:
    """The handler's, if one was chosen."""
    return None if held.handler is None else held.handler.handler.function
