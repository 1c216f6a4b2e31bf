"""Shelf: where the messages of one queue are: which can be taken, which are locked, and what falls due when."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from leveler_servicebus.emulator.entity.due import Due
from leveler_servicebus.emulator.entity.journal import Journal
from leveler_servicebus.emulator.entity.sessions import Session, Sessions
from leveler_servicebus.emulator.entity.settings import FOREVER_MS
from leveler_servicebus.emulator.entity.stored import State, Stored


class Counts(NamedTuple):
    """How many messages are in which state."""

    active: int
    scheduled: int
    deferred: int
    locked: int


class Shelf:
    """Messages by number and by token; every message in one place at a time.

    Args:
        journal: who keeps what changes.
        sessions: where messages are taken by session; None: they are taken from one line.
    """

    def __init__(self, journal: Journal, sessions: Sessions | None) -> None:
        self.size_bytes = 0
        self.last_sequence = 0
        self.locked: dict[bytes, Stored] = {}
        #: Tokens whose locks end, numbers of messages whose time has come, and of those whose life is over.
        self.lock_ends = Due(self._locked_until)
        self.scheduled = Due(self._scheduled_for)
        self.lives = Due(self._expires)
        self._journal = journal
        self._sessions = sessions
        self._messages: dict[int, Stored] = {}
        self._ready: list[int] = []

    def __iter__(self) -> Iterator[Stored]:
        return iter(self._messages.values())

    def __getitem__(self, sequence: int) -> Stored:
        return self._messages[sequence]

    def find(self, sequences: Iterable[int], state: State) -> list[Stored] | None:
        """The messages of these numbers in this state, none of them locked; None: one is not."""
        found = [self._messages.get(sequence) for sequence in sequences]
        good = [one for one in found if one is not None and one.state is state and not one.token]
        return good if len(good) == len(found) else None

    def new_sequence(self) -> int:
        self.last_sequence += 1
        return self.last_sequence

    # ---- there and gone

    def add(self, message: Stored) -> None:
        """It is new here."""
        self.restore(message)
        self._journal.put(message)

    def restore(self, message: Stored) -> None:
        """It is here already, says a file."""
        self._messages[message.sequence] = message
        self.last_sequence = max(self.last_sequence, message.sequence)
        self.size_bytes += message.content.size_bytes
        if message.token:
            self.locked[message.token] = message
            self.lock_ends.add(message.locked_until_ms, message.token)
        else:
            self._lay_down(message)

    def remove(self, message: Stored) -> None:
        if message.token:
            self._take_lock(message)
        del self._messages[message.sequence]
        self.size_bytes -= message.content.size_bytes
        self._journal.drop(message.sequence)

    # ---- locked and free

    def lock(self, message: Stored, token: bytes, until_ms: int, session: Session | None) -> None:
        """Somebody has it; the lock of a session is kept by the session."""
        message.token, message.locked_until_ms = token, until_ms
        self.locked[token] = message
        if session is None:
            self.lock_ends.add(until_ms, token)
        else:
            session.held.add(token)
        self._journal.put(message)

    def extend(self, message: Stored, until_ms: int) -> None:
        message.locked_until_ms = until_ms
        self.lock_ends.add(until_ms, message.token)
        self._journal.put(message)

    def unlock(self, message: Stored) -> None:
        """Nobody has it: back to the place that its number and its state give it."""
        self._take_lock(message)
        self._lay_down(message)
        self._journal.put(message)

    def next_ready(self, session: Session | None) -> Stored | None:
        """The oldest message that can be taken; whoever asks must take it."""
        ready = self._ready if session is None else session.ready
        while ready:
            message = self._messages.get(heapq.heappop(ready))
            if message is not None and not message.token and message.state is State.ACTIVE:
                return message
        return None

    # ---- looking

    def peek(self, start: int, limit: int, session_id: str | None) -> list[Stored]:
        """Up to `limit` messages from this number on, in the order of their numbers."""
        numbers = (
            number
            for number, message in self._messages.items()
            if number >= start and session_id in (None, message.content.session_id)
        )
        return [self._messages[number] for number in heapq.nsmallest(limit, numbers)]

    def counts(self) -> Counts:
        states = [message.state for message in self]
        scheduled, deferred = states.count(State.SCHEDULED), states.count(State.DEFERRED)
        return Counts(len(states) - scheduled - deferred, scheduled, deferred, len(self.locked))

    def next_due_ms(self) -> int | None:
        due = (self.lock_ends.next_ms(), self.scheduled.next_ms(), self.lives.next_ms())
        return min((due_ms for due_ms in due if due_ms is not None), default=None)

    # ---- inside

    def _lay_down(self, message: Stored) -> None:
        if message.state is State.SCHEDULED:
            self.scheduled.add(message.enqueued_ms, message.sequence)
        elif message.state is State.ACTIVE and self._sessions is not None:
            self._sessions.ready(message.content.session_id or "", message.sequence)
        elif message.state is State.ACTIVE:
            heapq.heappush(self._ready, message.sequence)
        if message.expires_ms < FOREVER_MS:
            self.lives.add(message.expires_ms, message.sequence)

    def _take_lock(self, message: Stored) -> None:
        del self.locked[message.token]
        if self._sessions is not None:
            self._sessions.get(message.content.session_id or "").held.discard(message.token)
        message.token = b""

    def _locked_until(self, token: bytes) -> int | None:
        message = self.locked.get(token)
        return None if message is None else message.locked_until_ms

    def _scheduled_for(self, sequence: int) -> int | None:
        message = self._messages.get(sequence)
        return None if message is None or message.state is not State.SCHEDULED else message.enqueued_ms

    def _expires(self, sequence: int) -> int | None:
        """What is locked does not expire before it is given back."""
        message = self._messages.get(sequence)
        return None if message is None or message.token else message.expires_ms
