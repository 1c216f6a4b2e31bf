"""Sessions: the messages of one go to one receiver at a time, in order, and the session keeps a state."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from leveler_servicebus.emulator.entity.due import Due
from leveler_servicebus.emulator.entity.refusal import SESSION_CANNOT_BE_LOCKED, SESSION_LOCK_LOST, Refused


@dataclass(slots=True)
class Session:
    """One session of a queue."""

    session_id: str
    state: bytes | None = None
    updated_ms: int = 0
    #: Sequence numbers of what may be taken, the lowest first; some may be gone since.
    ready: list[int] = field(default_factory=list[int])
    #: What its receiver holds: tokens.
    held: set[bytes] = field(default_factory=set[bytes])
    #: Who has locked it: any object; and until when.
    owner: object | None = None
    locked_until_ms: int = 0


class Sessions:
    """All sessions of one queue."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}
        # Sessions with something to take that nobody has locked; who waits longest stands first.
        self._waiting: dict[str, None] = {}
        self._lock_ends = Due(self._locked_until)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_id.values())

    def get(self, session_id: str) -> Session:
        """The session of this name; every name is one."""
        session = self._by_id.get(session_id)
        if session is None:
            session = self._by_id[session_id] = Session(session_id)
        return session

    def ready(self, session_id: str, sequence: int) -> None:
        """A message of it can be taken."""
        session = self.get(session_id)
        heapq.heappush(session.ready, sequence)
        if session.owner is None:
            self._waiting[session_id] = None

    def accept(self, session_id: str | None, owner: object, until_ms: int) -> Session | None:
        """Lock this session, or the next one that has something to take; None if there is none.

        Raises:
            Refused: somebody else has locked it.
        """
        if session_id is None:
            session_id = self._next_waiting()
            if session_id is None:
                return None
        session = self.get(session_id)
        if session.owner is not None:
            raise Refused(
                SESSION_CANNOT_BE_LOCKED,
                f"The requested session '{session_id}' cannot be accepted. It may be locked by another receiver.",
            )
        session.owner = owner
        self.extend(session, until_ms)
        self._waiting.pop(session_id, None)
        return session

    def owned(self, session_id: str, owner: object, now_ms: int) -> Session:
        """The session, if `owner` has locked it.

        Raises:
            Refused: the lock has ended.
        """
        session = self.get(session_id)
        if session.owner is not owner or session.locked_until_ms <= now_ms:
            raise lost(session_id)
        return session

    def extend(self, session: Session, until_ms: int) -> None:
        session.locked_until_ms = until_ms
        self._lock_ends.add(until_ms, session.session_id)

    def unlock(self, session: Session) -> None:
        session.owner = None
        session.held.clear()
        if session.ready:
            self._waiting[session.session_id] = None

    def expired(self, now_ms: int) -> Iterator[Session]:
        """Sessions whose lock has ended; the caller unlocks them."""
        for session_id in self._lock_ends.pop(now_ms):
            yield self._by_id[session_id]

    def next_due_ms(self) -> int | None:
        return self._lock_ends.next_ms()

    def nothing_ready(self, session: Session) -> None:
        """What was said to be ready is gone."""
        self._waiting.pop(session.session_id, None)

    def _locked_until(self, session_id: str) -> int | None:
        session = self._by_id[session_id]
        return None if session.owner is None else session.locked_until_ms

    def _next_waiting(self) -> str | None:
        return next(iter(self._waiting), None)


def lost(session_id: str) -> Refused:
    return Refused(
        SESSION_LOCK_LOST,
        f"The session lock of '{session_id}' has expired on the receiver. Accept the session again.",
    )
