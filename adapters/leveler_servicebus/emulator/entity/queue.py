"""Queue: what the service does with messages, as verbs without I/O. The time is passed in, in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

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
from leveler_servicebus.emulator.entity.shelf import Counts, Shelf
from leveler_servicebus.emulator.entity.stored import State, Stored

DEAD_LETTER_SUFFIX: Final = "$DeadLetterQueue"

TOO_MANY_DELIVERIES: Final = "MaxDeliveryCountExceeded"
EXPIRED: Final = "TTLExpiredException"


class Queue:
    """One queue; its dead letters are a queue of their own that has none.

    Every verb that settles raises `Refused` if the lock is lost.

    Args:
        name: of the queue.
        settings: what it has been created with.
        new_token: makes the token of a lock, 16 bytes, new each time.
        journal: who keeps what changes; `dead_journal`: the same, for the dead letters.
        keeps_dead: whether this is the queue of some queue's dead letters.
    """

    def __init__(
        self,
        name: str,
        settings: QueueSettings,
        new_token: Callable[[], bytes],
        *,
        journal: Journal | None = None,
        dead_journal: Journal | None = None,
        keeps_dead: bool = False,
    ) -> None:
        self.name = name
        self.settings = settings
        self.sessions = Sessions()
        self.has_sessions = settings.requires_session and not keeps_dead
        self.dead: Queue | None = None
        if not keeps_dead:
            path = f"{name}/{DEAD_LETTER_SUFFIX}"
            self.dead = Queue(path, settings, new_token, journal=dead_journal, keeps_dead=True)
        self._new_token = new_token
        self._journal: Journal = journal or Nothing()
        self._shelf = Shelf(self._journal, self.sessions if self.has_sessions else None)
        self._recent = Recent(settings.duplicate_window_ms)

    @property
    def size_bytes(self) -> int:
        return self._shelf.size_bytes

    def change(self, settings: QueueSettings) -> None:
        """New settings, for the dead letters too; what is locked stays so as it was."""
        self.settings = settings
        self._recent.window_ms = settings.duplicate_window_ms
        if self.dead is not None:
            self.dead.change(settings)

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
        messages = self._shelf.find(sequences, State.SCHEDULED)
        if messages is None:
            raise Refused(
                MESSAGE_NOT_FOUND, "The scheduled message is not there: it has been cancelled, or its time has come."
            )
        for message in messages:
            self._shelf.remove(message)

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
        due_ms = content.scheduled_ms or 0
        state = State.SCHEDULED if due_ms > now_ms else State.ACTIVE
        return self._arrive(content, max(due_ms, now_ms), state)

    def _arrive(self, content: Content, enqueued_ms: int, state: State) -> int:
        """A life begins when the message can be taken."""
        ttl_ms = self.settings.default_ttl_ms
        if content.ttl_ms is not None:
            ttl_ms = min(ttl_ms, content.ttl_ms)
        forever = state is State.SCHEDULED or ttl_ms >= FOREVER_MS
        expires_ms = FOREVER_MS if forever else enqueued_ms + ttl_ms
        message = Stored(self._shelf.new_sequence(), content, enqueued_ms, expires_ms, state)
        self._shelf.add(message)
        return message.sequence

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
            self._shelf.remove(message)
            taken.append(message)
        return taken

    def take_deferred(
        self, sequences: Sequence[int], now_ms: int, session: Session | None = None, *, away: bool = False
    ) -> list[Stored]:
        """Lock the deferred messages of these numbers, or remove them.

        Raises:
            Refused: one of them is not deferred, or locked; none is taken.
        """
        messages = self._shelf.find(sequences, State.DEFERRED)
        if messages is None:
            raise Refused(
                MESSAGE_NOT_FOUND, "Failed to lock one or more specified messages. The message does not exist."
            )
        for message in messages:
            if away:
                self._shelf.remove(message)
            else:
                self._lock(message, now_ms, session)
        return messages

    def _next_ready(self, now_ms: int, session: Session | None) -> Stored | None:
        while (message := self._shelf.next_ready(session)) is not None:
            if message.expires_ms > now_ms:
                return message
            self._expire(message)
        if session is not None:
            self.sessions.nothing_ready(session)
        return None

    def _lock(self, message: Stored, now_ms: int, session: Session | None) -> None:
        until_ms = now_ms + self.settings.lock_ms if session is None else session.locked_until_ms
        self._shelf.lock(message, self._new_token(), until_ms, session)

    # ---- settling

    def complete(self, token: bytes, now_ms: int, owner: object = None) -> None:
        """It is done."""
        self._shelf.remove(self._held(token, now_ms, owner))

    def abandon(self, token: bytes, now_ms: int, owner: object = None) -> None:
        """It has failed: back to its place, one failure more."""
        self._give_back(self._held(token, now_ms, owner), counted=True)

    def release(self, token: bytes, now_ms: int, owner: object = None) -> None:
        """It has not been touched: back to its place."""
        self._give_back(self._held(token, now_ms, owner), counted=False)

    def defer(self, token: bytes, now_ms: int, owner: object = None) -> None:
        """It stays, and is only taken by its number."""
        message = self._held(token, now_ms, owner)
        message.state = State.DEFERRED
        self._shelf.unlock(message)

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
        until_ms = now_ms + self.settings.lock_ms
        self._shelf.extend(self._held(token, now_ms, None), until_ms)
        return until_ms

    def _held(self, token: bytes, now_ms: int, owner: object) -> Stored:
        message = self._shelf.locked.get(token)
        if self.has_sessions:
            return self._held_by_session(message, now_ms, owner)
        if message is None or message.locked_until_ms <= now_ms:
            raise Refused(
                MESSAGE_LOCK_LOST,
                "The lock supplied is invalid. Either the lock expired, or the message has already been removed from "
                "the queue.",
            )
        return message

    def _held_by_session(self, message: Stored | None, now_ms: int, owner: object) -> Stored:
        """Whoever names a token without an owner has it from the session's receiver: through its management link."""
        if message is None:
            raise Refused(SESSION_LOCK_LOST, "The session that held the message has been closed, or its lock is lost.")
        session = self.sessions.get(message.content.session_id or "")
        if session.owner is None or session.locked_until_ms <= now_ms or owner not in (None, session.owner):
            raise lost(session.session_id)
        return message

    def _give_back(self, message: Stored, *, counted: bool) -> None:
        """Failures among dead letters do not count: there is no further place for them."""
        if counted and self.dead is not None:
            message.delivery_count += 1
            most = self.settings.max_delivery_count
            if message.delivery_count >= most:
                detail = f"Message could not be consumed after {most} delivery attempts."
                self._bury(message, TOO_MANY_DELIVERIES, detail)
                return
        self._shelf.unlock(message)

    def _bury(self, message: Stored, reason: str | None, detail: str | None) -> None:
        self._shelf.remove(message)
        said = {"DeadLetterReason": reason, "DeadLetterErrorDescription": detail}
        message.content.application = with_application(
            message.content.application, {key: value for key, value in said.items() if value is not None}
        )
        message.state, message.expires_ms = State.ACTIVE, FOREVER_MS
        message.dead_letter_source = self.name
        if self.dead is not None:
            self.dead._shelf.add(message)

    # ---- time

    def advance(self, now_ms: int) -> None:
        """What has become due until now: ends of locks, scheduled messages, ends of lives."""
        for token in self._shelf.lock_ends.pop(now_ms):
            self._give_back(self._shelf.locked[token], counted=True)
        for session in self.sessions.expired(now_ms):
            self.end_session(session, counted=True)
        for sequence in self._shelf.scheduled.pop(now_ms):
            self._enqueue_scheduled(self._shelf[sequence])
        for sequence in self._shelf.lives.pop(now_ms):
            self._expire(self._shelf[sequence])
        if self.dead is not None:
            self.dead.advance(now_ms)

    def next_due_ms(self) -> int | None:
        """When `advance` will have something to do, at the earliest."""
        due = [self._shelf.next_due_ms(), self.sessions.next_due_ms(), self.dead.next_due_ms() if self.dead else None]
        return min((due_ms for due_ms in due if due_ms is not None), default=None)

    def _enqueue_scheduled(self, message: Stored) -> None:
        """As if it had been sent now: with a new sequence number."""
        self._shelf.remove(message)
        self._arrive(message.content, message.enqueued_ms, State.ACTIVE)

    def _expire(self, message: Stored) -> None:
        if self.settings.dead_letter_on_expiration:
            self._bury(message, EXPIRED, "The message expired and was dead lettered.")
        else:
            self._shelf.remove(message)

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
            self._shelf.locked[token].locked_until_ms = session.locked_until_ms
        return session.locked_until_ms

    def end_session(self, session: Session, *, counted: bool) -> None:
        """Nobody has it any more: counted if its lock ran out, not if its receiver closed it."""
        for message in [self._shelf.locked[token] for token in session.held]:
            self._give_back(message, counted=counted)
        self.sessions.unlock(session)

    def set_session_state(self, session_id: str, state: bytes | None, now_ms: int) -> None:
        session = self.sessions.get(session_id)
        session.state, session.updated_ms = state, now_ms
        self._journal.session(session_id, state)

    def session_names(self, since_ms: int | None) -> list[str]:
        """Sessions with messages or a state; or those whose state has been set since."""
        if since_ms is not None:
            return sorted(one.session_id for one in self.sessions if one.state and one.updated_ms >= since_ms)
        with_messages = {message.content.session_id or "" for message in self._shelf}
        return sorted(with_messages | {one.session_id for one in self.sessions if one.state})

    # ---- looking

    def peek(self, start: int, limit: int, session_id: str | None = None) -> list[Stored]:
        """Up to `limit` messages in whatever state, from this sequence number on."""
        return self._shelf.peek(start, limit, session_id)

    def counts(self) -> Counts:
        return self._shelf.counts()

    # ---- from a file

    def restore(self, message: Stored) -> None:
        """The lock of a session does not survive its receiver's connection; others do."""
        if self.has_sessions:
            message.token = b""
        self._shelf.restore(message)

    def remembered(self, message_id: bytes, until_ms: int) -> None:
        """An id that is a duplicate until then."""
        self._recent.restore(message_id, until_ms)

    def skip_to(self, sequence: int) -> None:
        """Give no number again that has been given before a restart."""
        self._shelf.last_sequence = max(self._shelf.last_sequence, sequence)
