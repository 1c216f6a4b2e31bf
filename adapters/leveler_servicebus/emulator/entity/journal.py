"""Who wants to know what changed, to keep it."""

from __future__ import annotations

from typing import Protocol

from leveler_servicebus.emulator.entity.stored import Stored


class Journal(Protocol):
    """One for each queue, and one for its dead letters."""

    def put(self, message: Stored) -> None:
        """It is new, or something about it has changed."""
        ...

    def drop(self, sequence: int) -> None:
        """It is gone."""
        ...

    def remember(self, message_id: bytes, until_ms: int) -> None:
        """An id that is a duplicate until then."""
        ...

    def session(self, session_id: str, state: bytes | None) -> None:
        """The state that has been set for a session."""
        ...


class Nothing:
    """Nobody: the queue lives in memory only."""

    def put(self, message: Stored) -> None: ...
    def drop(self, sequence: int) -> None: ...
    def remember(self, message_id: bytes, until_ms: int) -> None: ...
    def session(self, session_id: str, state: bytes | None) -> None: ...
