"""Doubt: which settlements a fault may undo although the worker was told that they were taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Doubt:
    """What is true of a broker; by default, what it has said is so."""

    #: What is retried, returned or dead-lettered is a copy, whose source is acknowledged afterwards with no answer to
    #: that: a fault between the two leaves both.
    copies: bool = False
    #: It is told of a completion and does not say when that is carried out: one that was told a moment before its
    #: SIGKILL, or before the end of the connection that it was told over, may come back.
    completions: bool = False
    #: A completion is itself an answer, which nobody confirms: a fault on its way leaves the message, and a process
    #: that was frozen answers requests that nobody waits for any more. For so many seconds after; 0 = it is no answer.
    answers_seconds: float = 0.0


NO_DOUBT: Final = Doubt()
