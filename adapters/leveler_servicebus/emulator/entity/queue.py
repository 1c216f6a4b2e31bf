"""Queue: what the service does with messages, as verbs without I/O. The time is passed in, in milliseconds."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from leveler_servicebus.emulator.amqp.message import Content, with_application
from leveler_servicebus.emulator.entity.journal import Journal, Nothing
from leveler_servicebus.emulator.entity.recent import Recent
from leveler_servicebus.emulator.entity.refusal import (
    FULL,
    MESSAGE_LOCK_LOST,
    MESSAGE_NOT_FOUND,
    NOT_ALLOWED,
    SESSION_LOCK_LOST,
    TOO_LARGE,
    Refused,
)
from leveler_servicebus.emulator.entity.sessions import Session, Sessions, lost
from leveler_servicebus.emulator.entity.settings import FOREVER_MS, QueueSettings
from leveler_servicebus.emulator.entity.stored import State, Stored

DEAD_LETTER_SUFFIX: Final = "$DeadLetterQueue"

TOO_MANY_DELIVERIES: Final = "MaxDeliveryCountExceeded"
EXPIRED: Final = "TTLExpiredException"


class Counts(NamedTuple):
    """How many messages are in which state."""

    active: int
    scheduled: int
    deferred: int
    locked: int


class Queue:
    """One queue; its dead letters are a queue of their own that has none.

    Args:
        name: of the queue.
        settings: what it has been created with.
        new_token: makes the token of a lock, 16 bytes, new each time.
        journal: who keeps what changes.
        dead_of: the queue whose dead letters this one keeps.
    """

    def __init__(
        self,
        name: str,
        settings: QueueSettings,
        new_token: Callable[[], bytes],
        *,
        journal: Journal | None = None,
        dead_journal: Journal | None = None,
        dead_of: Queue | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.size_bytes = 0
        self._new_token = new_token
        self._journal: Journal = journal or Nothing()
        self._dead_of = dead_of
        self.dead: Queue | None = None
        if dead_of is None:
            path = f"{name}/{DEAD_LETTER_SUFFIX}"
            self.dead = Queue(path, settings, new_token, journal=dead_journal, dead_of=self)
        self._last_sequence = 0
        self._messages: dict[int, Stored] = {}
        self._ready: list[int] = []
        self._locked: dict[bytes, Stored] = {}
        self._lock_ends: list[tuple[int, bytes]] = []
        self._scheduled: list[tuple[int, int]] = []
        self._expiry: list[tuple[int, int]] = []
        self._recent = Recent(settings.duplicate_window_ms)
        self.sessions = Sessions()

    @property
    def has_sessions(self) -> bool:
        return self.settings.requires_session and self._dead_of is None

    # ---- sending

    def send(self, contents: Sequence[Content], now_ms: int) -> list[int]:
        """Take all of them, or none; the sequence number of each, 0 for a duplicate that has been dropped.

        Raises:
            Refused: one is too large, lacks a session, or the queue is full.
        """
        for content in contents:
            self._check(content)
        incoming_bytes = sum(content.size_bytes for content in contents)
        if self.size_bytes + incoming_bytes > self.settings.max_size_bytes:
            raise Refused(FULL, f"The maximum entity size has been reached or exceeded for '{self.name}'.")
        return [self._accept(content, now_ms) for content in contents]

    def cancel(self, sequences: Iterable[int]) -> None:
        """Drop what is scheduled.

        Raises:
            Refused: one of them is not; none is dropped.
        """
        found = [self._messages.get(sequence) for sequence in sequences]
        messages = [one for one in found if one is not None and one.state is State.SCHEDULED]
        if len(messages) < len(found):
            raise _not_found("The scheduled message is not there: it has been cancelled, or its time has come.")
        for message in messages:
            self._remove(message)

    def _check(self, content: Content) -> None:
        if content.size_bytes > self.settings.max_message_bytes:
            raise Refused(
                TOO_LARGE,
                f"The received message of {content.size_bytes} bytes exceeds the limit "
                f"({self.settings.max_message_bytes} bytes) on the link.",
            )
        if self.has_sessions and content.session_id is None:
            raise Refused(
                NOT_ALLOWED,
                f"The SessionId was not set on a message, and it cannot be sent to the entity '{self.name}', which "
                "requires sessions.",
            )

    def _accept(self, content: Content, now_ms: int) -> int:
        if self.settings.duplicate_window_ms and content.message_id:
            if self._recent.has(content.message_id, now_ms):
                return 0
            self._journal.remember(content.message_id, self._recent.add(content.message_id, now_ms))
        if content.scheduled_ms is not None and content.scheduled_ms > now_ms:
            message = Stored(self._next_sequence(), content, content.scheduled_ms, state=State.SCHEDULED)
            heapq.heappush(self._scheduled, (content.scheduled_ms, message.sequence))
        else:
            message = Stored(self._next_sequence(), content, now_ms)
            self._arrive(message)
        self._messages[message.sequence] = message
        self.size_bytes += content.size_bytes
        self._journal.put(message)
        return message.sequence

    def _arrive(self, message: Stored) -> None:
        """It can be taken from now on, and its life begins."""
        ttl_ms = self.settings.default_ttl_ms
        if message.content.ttl_ms is not None:
            ttl_ms = min(ttl_ms, message.content.ttl_ms)
        if ttl_ms < FOREVER_MS:
            message.expires_ms = message.enqueued_ms + ttl_ms
            heapq.heappush(self._expiry, (message.expires_ms, message.sequence))
        self._make_ready(message)

    def _make_ready(self, message: Stored) -> None:
        if self.has_sessions:
            self.sessions.ready(message.content.session_id or "", message.sequence)
        else:
            heapq.heappush(self._ready, message.sequence)

    def _next_sequence(self) -> int:
        self._last_sequence += 1
        return self._last_sequence

    # ---- receiving

    def take(self, limit: int, now_ms: int, session: Session | None = None) -> list[Stored]:
        """Lock up to `limit` messages, the oldest first."""
        taken: list[Stored] = []
        while len(taken) < limit and (message := self._next_ready(now_ms, session)) is not None:
            self._lock(message, now_ms, session)
            taken.append(message)
        return taken

    def take_away(self, limit: int, now_ms: int, session: Session | None = None) -> list[Stored]:
        """Remove up to `limit` messages, the oldest first: receive-and-delete."""
        taken: list[Stored] = []
        while len(taken) < limit and (message := self._next_ready(now_ms, session)) is not None:
            self._remove(message)
            taken.append(message)
        return taken

    def take_deferred(
        self, sequences: Sequence[int], now_ms: int, session: Session | None = None, *, away: bool = False
    ) -> list[Stored]:
        """Lock the deferred messages of these numbers, or remove them.

        Raises:
            Refused: one of them is not deferred, or locked; none is taken.
        """
        found = [self._messages.get(sequence) for sequence in sequences]
        messages = [one for one in found if one is not None and one.state is State.DEFERRED and not one.token]
        if len(messages) < len(found):
            raise _not_found("Failed to lock one or more specified messages. The message does not exist.")
        for message in messages:
            if away:
                self._remove(message)
            else:
                self._lock(message, now_ms, session)
        return messages

    def peek(self, start: int, limit: int, session_id: str | None = None) -> list[Stored]:
        """Up to `limit` messages in whatever state, from this sequence number on."""
        numbers = heapq.nsmallest(limit, self._peekable(start, session_id))
        return [self._messages[number] for number in numbers]

    def _peekable(self, start: int, session_id: str | None) -> Iterator[int]:
        for number, message in self._messages.items():
            if number >= start and session_id in (None, message.content.session_id):
                yield number

    def _next_ready(self, now_ms: int, session: Session | None) -> Stored | None:
        ready = self._ready if session is None else session.ready
        while ready:
            message = self._messages.get(heapq.heappop(ready))
            if message is None or message.token or message.state is not State.ACTIVE:
                continue
            if message.expires_ms <= now_ms:
                self._expire(message, now_ms)
                continue
            return message
        if session is not None:
            self.sessions.nothing_ready(session)
        return None

    def _lock(self, message: Stored, now_ms: int, session: Session | None) -> None:
        message.token = self._new_token()
        self._locked[message.token] = message
        if session is None:
            message.locked_until_ms = now_ms + self.settings.lock_ms
            heapq.heappush(self._lock_ends, (message.locked_until_ms, message.token))
        else:
            message.locked_until_ms = session.locked_until_ms
            session.held.add(message.token)
        self._journal.put(message)

    # ---- settling

    def complete(self, token: bytes, now_ms: int, owner: object = None) -> None:
        """It is done. This and every other verb here raises `Refused` if the lock is lost."""
        self._remove(self._held(token, now_ms, owner))

    def abandon(self, token: bytes, now_ms: int, owner: object = None) -> None:
        """It has failed: back to its place, one failure more."""
        self._give_back(self._held(token, now_ms, owner), now_ms, counted=True)

    def release(self, token: bytes, now_ms: int, owner: object = None) -> None:
        """It has not been touched: back to its place."""
        self._give_back(self._held(token, now_ms, owner), now_ms, counted=False)

    def defer(self, token: bytes, now_ms: int, owner: object = None) -> None:
        """It stays, and is only taken by its number."""
        message = self._held(token, now_ms, owner)
        self._unlock(message)
        message.state = State.DEFERRED
        self._journal.put(message)

    def dead_letter(
        self, token: bytes, now_ms: int, owner: object = None, *, reason: str | None = None, detail: str | None = None
    ) -> None:
        """It will never work."""
        message = self._held(token, now_ms, owner)
        if self.dead is None:
            raise Refused(NOT_ALLOWED, f"'{self.name}' keeps dead letters: there is no further place for them.")
        self._bury(message, reason, detail)

    def renew(self, token: bytes, now_ms: int) -> int:
        """Start the lock anew; until when it lasts."""
        message = self._held(token, now_ms, None)
        message.locked_until_ms = now_ms + self.settings.lock_ms
        heapq.heappush(self._lock_ends, (message.locked_until_ms, token))
        self._journal.put(message)
        return message.locked_until_ms

    def _held(self, token: bytes, now_ms: int, owner: object) -> Stored:
        message = self._locked.get(token)
        if self.has_sessions and message is not None:
            # Whoever names the token has it from the session's receiver: a management link is none itself.
            session = self.sessions.get(message.content.session_id or "")
            if session.owner is None or session.locked_until_ms <= now_ms or owner not in (None, session.owner):
                raise lost(session.session_id)
            return message
        if message is None and self.has_sessions:
            raise Refused(SESSION_LOCK_LOST, "The session that held the message has been closed, or its lock is lost.")
        if message is None or message.locked_until_ms <= now_ms:
            raise Refused(
                MESSAGE_LOCK_LOST,
                "The lock supplied is invalid. Either the lock expired, or the message has already been removed from "
                "the queue.",
            )
        return message

    def _give_back(self, message: Stored, now_ms: int, *, counted: bool) -> None:
        self._unlock(message)
        if counted and self._dead_of is None:
            message.delivery_count += 1
            if message.delivery_count >= self.settings.max_delivery_count:
                attempts = self.settings.max_delivery_count
                self._bury(
                    message,
                    TOO_MANY_DELIVERIES,
                    f"Message could not be consumed after {attempts} delivery attempts.",
                )
                return
        self._journal.put(message)
        if message.expires_ms <= now_ms:
            self._expire(message, now_ms)
        elif message.state is State.ACTIVE:
            self._make_ready(message)

    def _unlock(self, message: Stored) -> None:
        del self._locked[message.token]
        if self.has_sessions:
            self.sessions.get(message.content.session_id or "").held.discard(message.token)
        message.token = b""

    def _remove(self, message: Stored) -> None:
        if message.token:
            self._unlock(message)
        del self._messages[message.sequence]
        self.size_bytes -= message.content.size_bytes
        self._journal.drop(message.sequence)

    def _bury(self, message: Stored, reason: str | None, detail: str | None) -> None:
        self._remove(message)
        said = {"DeadLetterReason": reason, "DeadLetterErrorDescription": detail}
        message.content.application = with_application(
            message.content.application, {key: value for key, value in said.items() if value is not None}
        )
        message.state, message.expires_ms = State.ACTIVE, FOREVER_MS
        message.dead_letter_source = self.name
        if self.dead is not None:
            self.dead.bring(message)

    def bring(self, message: Stored) -> None:
        """Keep a message that has been in another queue; its number stays."""
        self.restore(message)
        self._journal.put(message)

    def restore(self, message: Stored) -> None:
        """Keep a message that a file has kept. The lock of a session does not survive its receiver's connection."""
        self._messages[message.sequence] = message
        self.skip_to(message.sequence)
        self.size_bytes += message.content.size_bytes
        if message.token and self.has_sessions:
            message.token = b""
        if message.token:
            self._locked[message.token] = message
            heapq.heappush(self._lock_ends, (message.locked_until_ms, message.token))
        elif message.state is State.SCHEDULED:
            heapq.heappush(self._scheduled, (message.enqueued_ms, message.sequence))
        elif message.state is State.ACTIVE:
            self._make_ready(message)
        if message.expires_ms < FOREVER_MS:
            heapq.heappush(self._expiry, (message.expires_ms, message.sequence))

    # ---- time

    def advance(self, now_ms: int) -> None:
        """What has become due until now: ends of locks, scheduled messages, ends of lives."""
        while self._lock_ends and self._lock_ends[0][0] <= now_ms:
            message = self._locked.get(heapq.heappop(self._lock_ends)[1])
            if message is not None and message.locked_until_ms <= now_ms:
                self._give_back(message, now_ms, counted=True)
        for session in self.sessions.expired(now_ms):
            self.end_session(session, now_ms, counted=True)
        while self._scheduled and self._scheduled[0][0] <= now_ms:
            self._enqueue_scheduled(heapq.heappop(self._scheduled)[1])
        while self._expiry and self._expiry[0][0] <= now_ms:
            expired = self._messages.get(heapq.heappop(self._expiry)[1])
            if expired is not None and not expired.token and expired.expires_ms <= now_ms:
                self._expire(expired, now_ms)
        if self.dead is not None:
            self.dead.advance(now_ms)

    def next_due_ms(self) -> int | None:
        """When `advance` will have something to do, at the earliest."""
        while self._lock_ends and self._lock_ends[0][1] not in self._locked:
            heapq.heappop(self._lock_ends)
        while self._expiry and self._expiry[0][1] not in self._messages:
            heapq.heappop(self._expiry)
        heads = [heap[0][0] for heap in (self._lock_ends, self._scheduled, self._expiry) if heap]
        if (session_ms := self.sessions.next_due_ms()) is not None:
            heads.append(session_ms)
        if self.dead is not None and (dead_ms := self.dead.next_due_ms()) is not None:
            heads.append(dead_ms)
        return min(heads, default=None)

    def _enqueue_scheduled(self, sequence: int) -> None:
        """As if it had been sent now: with a new sequence number."""
        message = self._messages.get(sequence)
        if message is None or message.state is not State.SCHEDULED:
            return
        self._remove(message)
        message.sequence, message.state = self._next_sequence(), State.ACTIVE
        self._messages[message.sequence] = message
        self.size_bytes += message.content.size_bytes
        self._arrive(message)
        self._journal.put(message)

    def _expire(self, message: Stored, now_ms: int) -> None:
        if self.settings.dead_letter_on_expiration:
            self._bury(message, EXPIRED, "The message expired and was dead lettered.")
        else:
            self._remove(message)

    # ---- sessions

    def accept_session(self, session_id: str | None, owner: object, now_ms: int) -> Session | None:
        """Lock this session, or the next one that has messages; None: there is none now.

        Raises:
            Refused: somebody else has locked it.
        """
        return self.sessions.accept(session_id, owner, now_ms + self.settings.lock_ms)

    def renew_session(self, session_id: str, owner: object, now_ms: int) -> int:
        """Start the lock of the session anew; until when it lasts."""
        session = self.sessions.owned(session_id, owner, now_ms)
        self.sessions.extend(session, now_ms + self.settings.lock_ms)
        for token in session.held:
            self._locked[token].locked_until_ms = session.locked_until_ms
        return session.locked_until_ms

    def end_session(self, session: Session, now_ms: int, *, counted: bool) -> None:
        """Nobody has it any more: counted if its lock ran out, not if its receiver closed it."""
        for token in sorted(session.held, key=lambda token: self._locked[token].sequence):
            self._give_back(self._locked[token], now_ms, counted=counted)
        self.sessions.unlock(session)

    def set_session_state(self, session_id: str, state: bytes | None, now_ms: int) -> None:
        session = self.sessions.get(session_id)
        session.state, session.updated_ms = state, now_ms
        self._journal.session(session_id, state)

    def session_names(self, since_ms: int | None) -> list[str]:
        """Sessions with messages or a state; or those whose state has been set since."""
        if since_ms is not None:
            return sorted(one.session_id for one in self.sessions if one.state and one.updated_ms >= since_ms)
        with_messages = {message.content.session_id or "" for message in self._messages.values()}
        return sorted(with_messages | {one.session_id for one in self.sessions if one.state})

    # ---- looking

    def change(self, settings: QueueSettings) -> None:
        """New settings, for the dead letters too; what is locked stays so as it was."""
        self.settings = settings
        self._recent.window_ms = settings.duplicate_window_ms
        if self.dead is not None:
            self.dead.change(settings)

    def counts(self) -> Counts:
        states = [message.state for message in self._messages.values()]
        scheduled, deferred = states.count(State.SCHEDULED), states.count(State.DEFERRED)
        return Counts(len(states) - scheduled - deferred, scheduled, deferred, len(self._locked))

    def remembered(self, message_id: bytes, until_ms: int) -> None:
        """An id from a file."""
        self._recent.restore(message_id, until_ms)

    def skip_to(self, sequence: int) -> None:
        """Give no number again that has been given before a restart."""
        self._last_sequence = max(self._last_sequence, sequence)


def _not_found(description: str) -> Refused:
    return Refused(MESSAGE_NOT_FOUND, description)
